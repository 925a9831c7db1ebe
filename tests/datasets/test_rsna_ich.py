"""RSNA hemorrhage folders, tidy and untidy, as records."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.rsna_ich import (
    ANY,
    CLASSES,
    DATASET_FOLDER,
    IMAGE_FOLDERS,
    LABELS_FILE,
    PUBLISHED_COUNTS,
    SUBTYPES,
    _read_labels,
    looks_like_rsna_ich,
    read_rsna_ich,
    summary,
)
from radimagenet_monai.datasets.records.table import read_records, write_records
from radimagenet_monai.datasets.registry import READERS
from radimagenet_monai.phantoms.ct_dicom import SCANNERS, Series, write_slice

pytestmark = pytest.mark.slow

PATIENTS, SLICES = 12, 3
COLUMNS = (*SUBTYPES, ANY)


def slice_name(patient: int, index: int) -> str:
    return f"ID_{patient:05x}{index:04x}"


def rows(name: str, **labels: int) -> list[str]:
    """The six rows of a slice."""
    values = {subtype: labels.get(subtype, 0) for subtype in SUBTYPES}
    values[ANY] = labels.get(ANY, max(values.values()))
    return [f"{name}_{column},{values[column]}" for column in COLUMNS]


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 patients, 3 slices each; every second patient bleeds in its last slice."""
    root = tmp_path_factory.mktemp("ich")
    images = root / DATASET_FOLDER / IMAGE_FOLDERS[0]
    images.mkdir(parents=True)
    lines = ["ID,Label"]
    for patient in range(PATIENTS):
        series = Series(
            *(f"test/{patient}", f"ID_{patient:08x}", "F", 50, "HEAD", "test"),
            *(SCANNERS[1], ((40, 80),), ("BRAIN",), 1, 5, 5),
        )
        for index in range(SLICES):
            write_slice(images / f"{slice_name(patient, index)}.dcm", np.zeros((4, 4)), series, index)
            bleeds = int(patient % 2 and index == SLICES - 1)
            lines += rows(slice_name(patient, index), **{SUBTYPES[patient % 5]: bleeds})
    (root / DATASET_FOLDER / LABELS_FILE).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def ich(tidy: Path, tmp_path: Path) -> Path:
    """The challenge's folder in a copy to spoil."""
    shutil.copytree(tidy, tmp_path / "copy")
    return tmp_path / "copy" / DATASET_FOLDER


def read(root: Path, **options: object) -> pd.DataFrame:
    return read_rsna_ich(root, progress=False, **{"folds": 0, **options})


def append(folder: Path, *lines: str) -> None:
    with (folder / LABELS_FILE).open("a") as stream:
        stream.write("\n".join(lines) + "\n")


def drop(folder: Path, *ids: str) -> None:
    lines = (folder / LABELS_FILE).read_text().splitlines()
    (folder / LABELS_FILE).write_text("\n".join(line for line in lines if line.split(",")[0] not in ids) + "\n")


def replace(folder: Path, old: str, new: str) -> None:
    text = (folder / LABELS_FILE).read_text()
    assert old in text
    (folder / LABELS_FILE).write_text(text.replace(old, new))


def test_a_tidy_folder(tidy: Path, tmp_path: Path) -> None:
    frame = read(tidy, folds=3)
    assert frame.attrs["notes"] == []
    assert len(frame) == PATIENTS * SLICES
    assert frame["label"].value_counts().to_dict() == {"no hemorrhage": 30, "hemorrhage": 6}
    assert tuple(TASKS["intracranial_hemorrhage_ct_classification"].classes) == CLASSES
    assert (frame["label"] == "hemorrhage").equals(frame["any"] == "1")
    assert frame["patient_id"].nunique() == frame["exam"].nunique() == PATIENTS
    assert frame.groupby("patient_id")[["split", "fold", "exam"]].nunique().to_numpy().max() == 1
    header = pydicom.dcmread(tidy / frame["image"][7], stop_before_pixels=True)
    assert frame["patient_id"][7] == header.PatientID
    assert header.SeriesInstanceUID not in frame["exam"].tolist(), "a UID may lead back to a patient"
    assert (frame["sha256"] == "").all()
    write_records(frame, tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv", CLASSES).equals(frame)


def test_root_is_the_folder_or_its_parent(tidy: Path) -> None:
    inner = read(tidy / DATASET_FOLDER)
    assert inner["image"][0] == f"stage_2_train/{slice_name(0, 0)}.dcm"
    assert (DATASET_FOLDER + "/" + inner["image"]).equals(read(tidy)["image"])
    assert looks_like_rsna_ich(tidy)
    assert looks_like_rsna_ich(str(tidy / DATASET_FOLDER))
    assert READERS["rsna_ich"].looks_like(tidy)


def test_repeated_rows_count_once(ich: Path) -> None:
    before = read(ich)
    append(ich, *rows(slice_name(0, 0)), *rows(slice_name(1, 0)))
    frame = read(ich)
    assert frame.attrs["notes"] == [f"{LABELS_FILE}: 12 rows repeat another and count once"]
    assert frame.equals(before)


def test_an_id_with_two_labels_has_none(ich: Path) -> None:
    bleeding, healthy = slice_name(1, 2), slice_name(0, 0)
    append(ich, f"{bleeding}_epidural,1", f"{healthy}_epidural,1", f"{bleeding}_any,0")
    frame = read(ich).set_index(read(ich)["image"].str[-16:-4])
    assert frame.loc[bleeding, ["any", "epidural", "intraparenchymal"]].tolist() == ["1", "", "1"], (
        "any follows a subtype"
    )
    assert frame.loc[healthy, ["any", "epidural"]].tolist() == ["0", ""], "any itself is not in doubt"
    assert "3 IDs have Label 0 and 1" in " ".join(read(ich).attrs["notes"])
    append(ich, f"{healthy}_any,1")
    frame = read(ich)
    assert len(frame) == PATIENTS * SLICES - 1
    assert f"1 slices were left out: whether they show hemorrhage is unknown, first '{healthy}'" in frame.attrs["notes"]


def test_any_follows_from_the_subtypes_where_missing(ich: Path) -> None:
    drop(
        ich,
        f"{slice_name(1, 2)}_any",
        f"{slice_name(0, 0)}_any",
        f"{slice_name(0, 1)}_any",
        f"{slice_name(0, 1)}_subdural",
    )
    frame = read(ich).set_index(read(ich)["image"].str[-16:-4])
    assert frame.loc[slice_name(1, 2), "label"] == "hemorrhage"
    assert frame.loc[slice_name(0, 0), "label"] == "no hemorrhage"
    assert slice_name(0, 1) not in frame.index
    assert "3 slices lack some of the six labels" in " ".join(read(ich).attrs["notes"])


def test_any_that_contradicts_the_subtypes(ich: Path) -> None:
    replace(ich, f"{slice_name(1, 2)}_any,1", f"{slice_name(1, 2)}_any,0")
    replace(ich, f"{slice_name(2, 0)}_any,0", f"{slice_name(2, 0)}_any,1")
    whole = read(ich)
    frame = whole.set_index(whole["image"].str[-16:-4])
    assert len(frame) == PATIENTS * SLICES, "none is left out"
    assert frame.loc[slice_name(1, 2), ["label", "any"]].tolist() == ["hemorrhage", "1"], "the larger of both"
    assert frame.loc[slice_name(2, 0), "label"] == "hemorrhage"
    assert READERS["rsna_ich"].summary(whole)["raised_any"] == 1
    notes = " ".join(whole.attrs["notes"])
    assert f"1 slices have a subtype but 'any' is 0, first '{slice_name(1, 2)}': 'any' counts as 1" in notes
    assert f"1 slices have 'any' but no subtype, first '{slice_name(2, 0)}': kept" in notes


def test_strange_rows_and_files_are_named(ich: Path) -> None:
    images = ich / IMAGE_FOLDERS[0]
    (images / f"{slice_name(3, 0)}.dcm").unlink()
    shutil.copy(images / f"{slice_name(3, 1)}.dcm", images / "ID_fffffffff.dcm")
    (images / f"{slice_name(4, 0)}.dcm").write_bytes((images / f"{slice_name(4, 0)}.dcm").read_bytes()[:200])
    for name in ("Thumbs.db", "._x.dcm", ".DS_Store"):
        (images / name).touch()
    append(ich, "ID_0_other,1", "stranger,0", f"{slice_name(5, 0)}_epidural,maybe", "")
    frame = read(ich)
    notes = "\n".join(frame.attrs["notes"])
    for part in (
        "2 rows were left out: their ID does not end in a subtype or 'any'",
        "1 labels are neither 0 nor 1",
        f"1 slices of {LABELS_FILE} have no image, first '{slice_name(3, 0)}'",
        f"1 images were left out: {LABELS_FILE} does not list them, first 'ID_fffffffff'",
        "1 slices have no readable header, first",
        "1 slices were left out: their patient is unknown",
    ):
        assert part in notes
    assert len(frame) == PATIENTS * SLICES - 2
    assert "Thumbs" not in notes


def test_wrapped_values_are_noticed(ich: Path) -> None:
    path = ich / IMAGE_FOLDERS[0] / f"{slice_name(6, 1)}.dcm"
    dataset = pydicom.dcmread(path)
    dataset.RescaleIntercept = "1"
    dataset.save_as(path)
    assert "1 slices hold unsigned values with a Rescale Intercept near 0, first" in read(ich).attrs["notes"][0]


def test_without_headers_the_warning_is_loud(tidy: Path) -> None:
    frame = read(tidy, headers=False)
    assert frame["patient_id"].is_unique
    assert "exam" not in frame.columns
    assert frame.attrs["notes"][0].startswith("PATIENTS ARE UNKNOWN")


def test_headers_without_patients_are_refused(ich: Path) -> None:
    for path in (ich / IMAGE_FOLDERS[0]).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientID = ""
        dataset.save_as(path)
    with pytest.raises(RecordsError, match=r"no header names a patient.*--headers false"):
        read(ich)


def test_headers_are_read_once(ich: Path, tmp_path: Path) -> None:
    cache = tmp_path / "headers.csv"
    before = read(ich, header_cache=str(cache))
    for path in (ich / IMAGE_FOLDERS[0]).iterdir():
        path.write_bytes(b"")
    assert read(ich, header_cache=str(cache)).equals(before)


def test_the_authors_csv_chooses_labels_and_splits(tidy: Path, tmp_path: Path) -> None:
    authors = tmp_path / "csv"
    authors.mkdir()
    for part, patients in (("train", (0, 1, 2, 3)), ("val", (4, 5)), ("test", (6, 7))):
        lines = [
            f"p{patient},{'yes' if patient % 2 and index == 2 else 'no'},/data/png/{slice_name(patient, index)}.png"
            for patient in patients
            for index in range(SLICES)
        ]
        (authors / f"ich_{part}.csv").write_text("\n".join(["pid,label,dir", *lines, ""]))
    frame = read(tidy, authors_csv=str(authors))
    assert frame["split"].value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6}
    assert set(frame["patient_id"]) == {f"p{patient}" for patient in range(8)}
    assert (frame["label"] == "hemorrhage").sum() == 4
    assert frame["exam"].nunique() == 8
    assert (frame["any"] == "1").equals(frame["label"] == "hemorrhage")
    assert "exam" not in read(tidy, authors_csv=str(authors), headers=False).columns


def test_other_folders_are_not_the_challenge(tmp_path: Path, ich: Path) -> None:
    with pytest.raises(RecordsError, match="is not a folder"):
        read(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordsError, match=r"does not hold the RSNA hemorrhage challenge; expected stage_2_train\.csv"):
        read(tmp_path / "empty")
    assert not looks_like_rsna_ich(tmp_path / "empty")
    for content in ("", "ID,Label\n", "a,b\n1,2\n", "ID,Label\n\xff\n"):
        (ich / LABELS_FILE).write_text(content, encoding="latin-1")
        with pytest.raises(RecordsError, match=LABELS_FILE):
            read(ich)


def test_summary_compares_with_the_challenge(tidy: Path) -> None:
    facts = summary(read(tidy))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["differences"]["images"] == PATIENTS * SLICES - PUBLISHED_COUNTS["images"]
    assert facts["found"]["any"] == 6


LABEL_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ID_0a", "ID_0b", "ID_1_c"]),
        st.sampled_from(COLUMNS),
        st.sampled_from(["0", "1", "1.0", "", "?"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(LABEL_ROWS)
def test_labels_are_settled_as_the_rules_say(drawn: list[tuple[str, str, str]]) -> None:
    """Against the rules spelled out with sets, one slice at a time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LABELS_FILE
        path.write_text("\n".join(["ID,Label", *(f"{name}_{column},{label}" for name, column, label in drawn), ""]))
        labels = _read_labels(path, [])
    assert set(labels.names) == {name for name, _, _ in drawn}
    for name, values in zip(labels.names, labels.values.tolist(), strict=True):
        said = {
            column: {
                label[0]
                for other, kind, label in drawn
                if (other, kind) == (name, column) and label in ("0", "1", "1.0")
            }
            for column in COLUMNS
        }
        expected = {column: int(min(found)) if len(found) == 1 else -1 for column, found in said.items()}
        subtypes = [expected[subtype] for subtype in SUBTYPES]
        if expected[ANY] == -1:
            expected[ANY] = 1 if 1 in subtypes else 0 if set(subtypes) == {0} else -1
        elif expected[ANY] == 0 and 1 in subtypes:
            expected[ANY] = -1
        assert dict(zip((ANY, *SUBTYPES), values, strict=True)) == expected


@pytest.mark.long
def test_a_table_of_full_size_fits_in_memory(tmp_path: Path) -> None:
    """752 803 slices, headers from the cache, no files."""
    count = PUBLISHED_COUNTS["images"]
    names = [f"ID_{number:09x}" for number in range(count)]
    (tmp_path / IMAGE_FOLDERS[0]).mkdir()
    with (tmp_path / LABELS_FILE).open("w") as table, (tmp_path / "cache.csv").open("w") as cache:
        table.write("ID,Label\n")
        cache.write("name,PatientID,StudyInstanceUID,SeriesInstanceUID,PixelRepresentation,RescaleIntercept,fault\n")
        for number, name in enumerate(names):
            patient = number // 40
            table.write("\n".join(rows(name, subdural=int(number % 7 == 0))) + "\n")
            cache.write(f"{name}.dcm,ID_{patient:08x},ID_{patient + 7:010x},ID_{patient + 9:010x},1,-1024,\n")
    code = (
        "import radimagenet_monai.datasets.readers.rsna_ich as ich\n"
        f"ich.list_dicom_files = lambda folder, notes: [f'ID_{{number:09x}}.dcm' for number in range({count})]\n"
        f"frame = ich.read_rsna_ich({str(tmp_path)!r}, header_cache={str(tmp_path / 'cache.csv')!r}, progress=False)\n"
        # The peak of this process alone: getrusage begins with that of the process it was forked from.
        "status = open('/proc/self/status').read()\n"
        "print(len(frame), status.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    length, kilobytes = map(int, done.stdout.split())
    assert length == count
    assert kilobytes / 1024**2 < 1.5
