"""Folds and training sets of a comparison: what the bundles themselves would take, and smaller ones within larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import TWO, made_records
from hypothesis import given
from hypothesis import strategies as st

from radimagenet_monai.comparison.plan import Choices, Plan, make_plan
from radimagenet_monai.comparison.training_sets import (
    RECORDS_FOLDER,
    check_classes,
    describe_folds,
    fewer_training_patients,
    part_of,
    records_path,
    with_folds,
    write_training_sets,
)
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.table import check_records, load_datalist, read_records, write_records

pytestmark = pytest.mark.slow

BREAST = "breast_mass_us_classification"


def planned(folds: int = 5, protocol: str = "quick", fractions: tuple[float, ...] = (1.0,)) -> Plan:
    return make_plan(BREAST, protocol, TWO, "0" * 64, Choices(folds=folds, fractions=fractions))


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Patients with one to four images, of one class or (rarely) of two, in any order."""
    rows = []
    classes = ("benign", "malignant")
    patients = draw(st.integers(12, 30))
    for patient in range(patients):
        first = patient % 2 if patient < 10 else draw(st.integers(0, 1))
        for image in range(draw(st.integers(1, 4))):
            other = draw(st.integers(0, 9)) == 0
            label = classes[1 - first if other else first]
            rows.append({"image": f"{patient}-{image}.png", "label": label, "patient_id": f"p{patient}"})
    return check_records(pd.DataFrame(draw(st.permutations(rows))))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("train", "the train part holds only 'benign'"),
        ("validation", "the validation part holds only 'benign'"),
        ("test", "no test part holds two classes"),
    ],
)
def test_a_part_of_one_class_is_refused_before_anything_is_run(part: str, message: str) -> None:
    plan = planned(folds=1)
    frame = made_records(60)
    frame["split"] = np.repeat(["train", "validation", "test"], 20)
    check_classes(frame, plan)
    frame.loc[frame["split"] == part, "label"] = "benign"
    with pytest.raises(RecordsError, match=message):
        check_classes(frame, plan)


@pytest.mark.long
@given(frame=tables(), shares=st.lists(st.floats(0.05, 1), min_size=2, max_size=4), seed=st.integers(0, 5))
def test_smaller_training_sets_are_nested_and_by_patient(frame: pd.DataFrame, shares: list[float], seed: int) -> None:
    frame = with_folds(frame, planned(3))
    patients = frame["patient_id"].to_numpy(dtype=str)
    labels = frame["label"].to_numpy(dtype=str)
    for fold in range(3):
        parts = part_of(frame, fold, 3)
        training = parts == "train"
        larger = np.ones(len(frame), dtype=bool)
        for share in sorted(shares, reverse=True):
            kept = fewer_training_patients(frame, parts, share, seed)
            assert kept[~training].all(), "validation and test stay whole"
            assert not (kept & ~larger).any(), "a smaller training set is a part of the larger"
            assert not set(patients[training & kept]) & set(patients[training & ~kept]), "patients stay whole"
            assert set(labels[training & kept]) == set(labels[training]), "no class is lost"
            assert set(patients[kept & training]).isdisjoint(patients[~training])
            larger = kept


@given(frame=tables(), seed=st.integers(0, 3))
def test_a_smaller_training_set_does_not_depend_on_the_order_of_rows(frame: pd.DataFrame, seed: int) -> None:
    frame = with_folds(frame, planned(3))
    turned = frame.iloc[::-1].reset_index(drop=True)
    kept = fewer_training_patients(frame, part_of(frame, 0, 3), 0.5, seed)
    assert (fewer_training_patients(turned, part_of(turned, 0, 3), 0.5, seed)[::-1] == kept).all()


def test_half_of_the_patients_are_half_of_the_patients() -> None:
    frame = with_folds(made_records(200, images=2), planned(5))
    parts = part_of(frame, 2, 5)
    training = frame[(parts == "train") & fewer_training_patients(frame, parts, 0.5, 0)]
    assert training["patient_id"].nunique() == 60
    assert training.groupby("label")["patient_id"].nunique().tolist() == [30, 30]


def test_parts_are_those_that_the_bundles_take(tmp_path: Path) -> None:
    frame = with_folds(made_records(60, images=2), planned(5))
    write_records(frame, tmp_path / "records.csv")
    for fold in range(5):
        parts = part_of(frame, fold, 5)
        for split in ("train", "validation", "test"):
            items = load_datalist(
                tmp_path / "records.csv", tmp_path, ("benign", "malignant"), split, fold, check_files=False
            )
            assert [item["record"] for item in items] == np.flatnonzero(parts == split).tolist()


def test_parts_of_the_own_split_are_those_that_the_bundles_take(tmp_path: Path) -> None:
    frame = made_records(30)
    frame["split"] = np.repeat(["train", "validation", "test", ""], [12, 6, 9, 3])
    write_records(frame, tmp_path / "records.csv")
    parts = part_of(frame, None, 1)
    for split in ("train", "validation", "test"):
        items = load_datalist(tmp_path / "records.csv", tmp_path, ("benign", "malignant"), split, check_files=False)
        assert [item["record"] for item in items] == np.flatnonzero(parts == split).tolist()


def test_folds_of_the_table_are_kept_where_they_are_as_many() -> None:
    frame = made_records(30)
    frame["fold"] = pd.array(np.arange(30) % 3, dtype="Int64")
    assert with_folds(frame, planned(3))["fold"].tolist() == frame["fold"].tolist()
    anew = with_folds(frame, planned(5))
    assert sorted(anew["fold"].unique()) == [0, 1, 2, 3, 4]
    assert frame["fold"].max() == 2, "the table given stays as it is"
    frame.loc[0, "fold"] = pd.NA
    assert with_folds(frame, planned(3))["fold"].notna().all()


def test_an_own_split_must_have_its_parts() -> None:
    frame = made_records(30)
    with pytest.raises(RecordsError, match=r"no row of the records table is in split 'train'.*--folds 5"):
        with_folds(frame, planned(1))
    frame["split"] = np.repeat(["train", "test"], 15)
    with pytest.raises(RecordsError, match="split 'validation'"):
        with_folds(frame, planned(1))
    assert with_folds(frame, planned(1, "probe")) is frame, "a probe needs no validation"


def test_fewer_patients_need_patients() -> None:
    frame = made_records(30)
    frame["patient_id"] = ""
    frame["fold"] = pd.array(np.arange(30) % 3, dtype="Int64")
    with pytest.raises(RecordsError, match="rows without patient_id"):
        fewer_training_patients(frame, part_of(frame, 0, 3), 0.5, 0)


def test_the_tables_of_all_runs_are_written_once(tmp_path: Path) -> None:
    plan = planned(3, fractions=(0.5, 1))
    frame = with_folds(made_records(60), plan)
    write_training_sets(plan, frame, tmp_path)
    written = sorted(path.name for path in (tmp_path / RECORDS_FOLDER).iterdir())
    assert written == ["all.csv", "fold0-0.5.csv", "fold1-0.5.csv", "fold2-0.5.csv"]
    half = read_records(records_path(tmp_path, 1, 0.5))
    assert (half["fold"] == 1).sum() == (frame["fold"] == 1).sum()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / RECORDS_FOLDER).iterdir()}
    write_training_sets(plan, frame, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / RECORDS_FOLDER).iterdir()} == times


def test_folds_are_described_by_images_patients_and_positives() -> None:
    plan = planned(3)
    frame = with_folds(made_records(60, images=2), plan)
    described = describe_folds(plan, frame)
    assert [fold["fold"] for fold in described] == [0, 1, 2]
    for fold in described:
        assert sum(fold[part]["images"] for part in ("train", "validation", "test")) == 120
        assert sum(fold[part]["patients"] for part in ("train", "validation", "test")) == 60
        assert sum(fold[part]["positives"] for part in ("train", "validation", "test")) == 60
    frame.loc[0, "patient_id"] = ""
    assert None in [fold["train"]["patients"] for fold in describe_folds(plan, frame)]
