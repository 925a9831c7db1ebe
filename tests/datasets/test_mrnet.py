"""MRNet folders, tidy and untidy, as records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.mrnet import (
    CLASSES,
    DATASET_FOLDER,
    PLANES,
    PUBLISHED_COUNTS,
    TARGETS,
    looks_like_mrnet,
    read_mrnet,
    summary,
)
from radimagenet_monai.datasets.records.table import load_datalist, read_records
from radimagenet_monai.datasets.registry import prepare

pytestmark = pytest.mark.slow


def make_mrnet(root: Path, train: int = 40, valid: int = 10, slices: int = 11) -> Path:
    """A folder of small arrays whose every value is the exam's number."""
    folder = root / DATASET_FOLDER
    for part, exams in (("train", range(train)), ("valid", range(1130, 1130 + valid))):
        for plane in PLANES:
            (folder / part / plane).mkdir(parents=True)
            for exam in exams:
                # Slice counts differ between the planes and exams, as in MRNet.
                count = slices + exam % 3 + len(plane) % 2
                np.save(
                    folder / part / plane / f"{exam:04d}.npy",
                    np.full((count, 256, 256), exam % 256, np.uint8)[:, :4, :4],
                )
        for target, every in (("acl", 3), ("meniscus", 2), ("abnormal", 1)):
            lines = [f"{exam:04d},{int(exam % every == 0 and exam % 7 != 1)}\n" for exam in exams]
            (folder / f"{part}-{target}.csv").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mrnet(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def mrnet(clean: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(clean, tmp_path / "mrnet")
    return tmp_path / "mrnet"


def expected_labels(root: Path, target: str) -> dict[str, str]:
    """Read with pandas alone."""
    tables = [
        pd.read_csv(path, header=None, dtype={0: str}) for path in (root / DATASET_FOLDER).glob(f"*-{target}.csv")
    ]
    table = pd.concat(tables)
    return dict(zip(table[0], table[1].map(dict(enumerate(CLASSES[target]))), strict=True))


@pytest.mark.parametrize(("target", "count"), [("acl", 5), ("meniscus", 9), ("abnormal", 9)])
def test_a_tidy_folder(clean: Path, target: str, count: int) -> None:
    frame = read_mrnet(clean, target=target, progress=False)
    assert frame.attrs["notes"] == ["50 series have slices of another size than 256 x 256"]
    assert len(frame) == 50 * count
    assert frame.groupby("exam")["label"].first().to_dict() == expected_labels(clean, target)
    assert (frame["patient_id"] == frame["exam"]).all()
    for exam, rows in frame.groupby("exam"):
        slices = np.load(clean / rows["image"].iloc[0]).shape[0]
        assert rows["image"].iloc[0].endswith(f"/sagittal/{exam}.npy")
        # As many slices on both sides, or one more before the middle.
        assert 0 <= rows["frame"].min() - (slices - 1 - rows["frame"].max()) <= 1
        assert rows["frame"].tolist() == list(range(rows["frame"].min(), rows["frame"].min() + count))
    valid = frame["image"].str.contains("/valid/")
    assert set(frame.loc[valid, "split"]) == {"test"}
    assert set(frame.loc[~valid, "split"]) == {"train", "validation"}
    for column in ("split", "fold"):
        assert pd.crosstab(frame[column], frame["label"]).to_numpy().min() > 0
    assert frame["fold"].nunique() == 5


def test_other_labels_come_along(clean: Path) -> None:
    frame = read_mrnet(clean, progress=False).drop_duplicates("exam").set_index("exam")
    for target in TARGETS:
        expected = {exam: str(CLASSES[target].index(label)) for exam, label in expected_labels(clean, target).items()}
        assert frame[target].to_dict() == expected


def test_one_division_for_all_planes_and_slices(clean: Path) -> None:
    def divided(**options: object) -> pd.DataFrame:
        return read_mrnet(clean, progress=False, **options).groupby("exam")[["split", "fold"]].first()

    first = divided()
    pd.testing.assert_frame_equal(first, divided(plane="coronal", slices="all"))
    pd.testing.assert_frame_equal(first, divided(plane="axial", slices="every:4"))
    assert not first.equals(divided(seed=1))


def test_all_exams_may_be_divided_alike(clean: Path) -> None:
    frame = read_mrnet(clean, progress=False, official=False).drop_duplicates("exam")
    valid = frame["image"].str.contains("/valid/")
    assert frame.loc[valid, "split"].nunique() > 1
    counts = frame["split"].value_counts()
    assert abs(counts - pd.Series({"train": 35, "test": 10, "validation": 5})).max() <= 1


def test_fractions_divide_the_training_exams(clean: Path) -> None:
    frame = read_mrnet(clean, progress=False, fractions=(0.5, 0.3, 0.2)).drop_duplicates("exam")
    counts = frame["split"].value_counts()
    assert counts["test"] == 10
    assert abs(counts - pd.Series({"train": 25, "validation": 15, "test": 10})).max() <= 1


def test_the_table_reaches_the_datalist(clean: Path, tmp_path: Path) -> None:
    task = TASKS["meniscal_tear_mri_classification"]
    table, facts = prepare("mrnet", clean, tmp_path, **task.reader_options, progress=False)
    assert facts["exams"] == facts["patients"] == 50
    items = load_datalist(table, clean, task.classes, "test")
    assert {item["label"] for item in items} == {0, 1}
    for item in items[::7]:
        assert np.load(item["image"])[item["frame"]].max() == int(item["exam"]) % 256
    pd.testing.assert_frame_equal(
        read_records(table, task.classes), read_mrnet(clean, target="meniscus", progress=False), check_like=False
    )


def test_root_is_the_folder_or_its_parent(clean: Path) -> None:
    inner = read_mrnet(clean / DATASET_FOLDER, progress=False)
    assert inner["image"][0] == "train/sagittal/0000.npy"
    outer = read_mrnet(clean, progress=False)
    assert (DATASET_FOLDER + "/" + inner["image"] == outer["image"]).all()
    assert inner["split"].equals(outer["split"])


def test_odd_files_are_named_and_left_out(mrnet: Path) -> None:
    folder = mrnet / DATASET_FOLDER
    series = folder / "train/sagittal"
    (series / "0001.npy").unlink()
    (series / "0002.npy").write_bytes(b"no array")
    np.save(series / "0003.npy", np.zeros((4, 4), np.uint8))
    np.save(series / "0004.npy", np.array([{}], dtype=object))
    np.save(series / "0005.npy", np.zeros((0, 4, 4), np.uint8))
    np.save(series / "0006.npy", np.zeros((12, 4, 4), np.float32))
    whole = (series / "0007.npy").read_bytes()
    (series / "0007.npy").write_bytes(whole[:-20])
    (series / "0008.npy").rename(series / "8.npy")
    np.save(series / "0999.npy", np.zeros((5, 4, 4), np.uint8))
    for name in ("Thumbs.db", "._0000.npy", ".DS_Store", "notes.txt"):
        (series / name).write_bytes(b"x")
    lines = (folder / "train-acl.csv").read_text().splitlines()
    lines[9] = "9,1"
    lines += ["0010,1", "0010,0", "0011,0", "what,ever", ""]
    (folder / "train-acl.csv").write_bytes(("\ufeffexam,label\r\n" + "\r\n".join(lines)).encode())
    frame = read_mrnet(mrnet, progress=False)
    notes = "\n".join(frame.attrs["notes"])
    for part in (
        "1 exams with a label have no sagittal series and were left out, first 0001",
        "sagittal/0002.npy' was left out: it is not a readable NPY file",
        "sagittal/0003.npy' was left out: it holds uint8 of shape (4, 4), not numbers of (slices, rows, columns)",
        "sagittal/0004.npy' was left out: it is not a readable NPY file",
        "sagittal/0005.npy' was left out: it holds uint8 of shape (0, 4, 4)",
        "sagittal/0007.npy' was left out: it is not a readable NPY file",
        "exam 0999 has no acl label: it was left out",
        "'train/sagittal/notes.txt' was left out",
        "train-acl.csv: 1 rows are not of the form 0000,1 and were left out, first 'what,ever'",
        "train-acl.csv: exam 0010 has two labels and was left out",
        "exam 0010 has no acl label",
    ):
        assert part in notes
    assert len(frame.attrs["notes"]) == 12  # and the one on sizes
    exams = set(frame["exam"])
    assert not exams & {"0001", "0002", "0003", "0004", "0005", "0007", "0010", "0999"}
    assert {"0006", "0008", "0009"} <= exams
    assert frame.loc[frame["exam"] == "0009", "label"].iloc[0] == "tear"
    assert frame.loc[frame["exam"] == "0008", "image"].iloc[0].endswith("/8.npy")


def test_a_part_alone_is_divided_into_three(mrnet: Path) -> None:
    shutil.rmtree(mrnet / DATASET_FOLDER / "valid")
    frame = read_mrnet(mrnet, progress=False)
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert any("only one of train and valid is there" in note for note in frame.attrs["notes"])


def write_authors_fold(folder: Path, number: int, exams: list[int], label: str = "acl_label") -> None:
    lines = [
        f"{exam}_sagittal_{exam % 5}.000000.png,{'yes' if exam % 3 == 0 and exam % 7 != 1 else 'no'}" for exam in exams
    ]
    (folder / f"test_fold{number}.csv").write_text("\n".join([f"filename,{label}", *lines]))


def test_the_authors_choose_slices_and_folds(clean: Path, tmp_path: Path) -> None:
    for number in range(5):
        write_authors_fold(tmp_path, number + 1, list(range(number, 40, 5)))
    frame = read_mrnet(clean, authors_csv=str(tmp_path), progress=False)
    assert len(frame) == 40
    assert (frame["frame"] == frame["exam"].astype(int) % 5).all()
    assert (frame["fold"] == frame["exam"].astype(int) % 5).all()
    assert frame["label"].tolist() == [expected_labels(clean, "acl")[exam] for exam in frame["exam"]]


def test_what_the_authors_list_may_be_missing_or_contradict(clean: Path, tmp_path: Path) -> None:
    table = tmp_path / "listed.csv"
    rows = [f"{exam}_sagittal_1.000000.png,{'p' if exam % 2 else 'n'}" for exam in range(30)]
    rows += ["0_axial_2.000000.png,n", "0_sagittal_99.000000.png,p", "9999_sagittal_1.000000.png,p", "knee.png,n"]
    table.write_text("\n".join(["img_dir,label", *rows]))
    frame = read_mrnet(clean, target="meniscus", authors_csv=str(table), progress=False)
    assert len(frame) == 31
    assert frame.loc[frame["image"].str.contains("/axial/"), "frame"].tolist() == [2]
    notes = "\n".join(frame.attrs["notes"])
    assert (
        "2 rows of the authors' CSV name a series or slice that is not there and were left out, first '0_sag" in notes
    )
    assert "1 rows of the authors' CSV are not named like 1054_sagittal_19.000000.png" in notes
    expected = expected_labels(clean, "meniscus")
    other = sum(expected[f"{exam:04d}"] != ("tear" if exam % 2 else "no tear") for exam in range(30))
    other += expected["0000"] != "no tear"
    assert f"the authors' label of {other} slices is not the label of their exam: theirs was taken" in notes
    assert set(frame["split"]) == {"train", "validation", "test"}


def test_authors_folds_that_divide_an_exam_are_made_anew(clean: Path, tmp_path: Path) -> None:
    for number in range(5):
        write_authors_fold(tmp_path, number + 1, list(range(number, 40, 5)))
    with (tmp_path / "test_fold1.csv").open("a") as stream:
        stream.write("\n1_sagittal_4.000000.png,no\n")
    frame = read_mrnet(clean, authors_csv=str(tmp_path), progress=False)
    assert "have slices of 1 exams, first 0001, on two sides of a fold: the fold was assigned again" in "\n".join(
        frame.attrs["notes"]
    )
    assert frame.groupby("exam")["fold"].nunique().max() == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "pcl"}, ConfigurationError, "target 'pcl' was given; expected one of acl, meniscus, abnormal"),
        ({"plane": "oblique"}, ConfigurationError, "plane 'oblique' was given"),
        ({"slices": "middle"}, ConfigurationError, "slices 'middle' is unknown"),
        ({"slices": "all", "authors_csv": "x.csv"}, ConfigurationError, "the CSV files choose the slices"),
    ],
)
def test_impossible_requests_are_refused(clean: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_mrnet(clean, progress=False, **options)


def test_other_folders_are_not_mrnet(mrnet: Path, tmp_path: Path) -> None:
    assert looks_like_mrnet(mrnet)
    assert looks_like_mrnet(mrnet / DATASET_FOLDER)
    assert not looks_like_mrnet(tmp_path / "none")
    with pytest.raises(RecordsError, match=r"does not hold MRNet; expected MRNet-v1\.0 with train and valid"):
        read_mrnet(tmp_path)
    with pytest.raises(RecordsError, match="is not a folder"):
        read_mrnet(tmp_path / "none")
    for path in (mrnet / DATASET_FOLDER).glob("*-acl.csv"):
        path.unlink()
    with pytest.raises(RecordsError, match=r"no table train-acl\.csv or valid-acl\.csv"):
        read_mrnet(mrnet, progress=False)
    for part in ("train", "valid"):
        shutil.rmtree(mrnet / DATASET_FOLDER / part / "coronal")
    with pytest.raises(RecordsError, match="no exam has both a coronal series and a label of meniscus"):
        read_mrnet(mrnet, target="meniscus", plane="coronal", progress=False)


def test_summary_compares_with_the_published_counts(clean: Path) -> None:
    counts = summary(read_mrnet(clean, progress=False))
    assert json.loads(json.dumps(counts)) == counts
    assert counts["found"]["train exams"] == 40
    assert counts["differences"]["valid exams"] == 10 - PUBLISHED_COUNTS["valid exams"]
    assert counts["found"]["acl exams"] == list(expected_labels(clean, "acl").values()).count("tear")


cells = st.one_of(
    st.sampled_from(["0000", "0001", "3", "12", "0", "1", "1.0", "-1", "", " 1 ", "yes", '"', "0000.npy"]),
    st.text(max_size=5),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(cells, max_size=3), max_size=8), end=st.sampled_from(["\n", "\r\n"]))
def test_any_label_table_is_read_or_refused(tiny: Path, rows: list[list[str]], end: str) -> None:
    text = end.join(",".join(row) for row in rows)
    (tiny / DATASET_FOLDER / "train-acl.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        frame = read_mrnet(tiny, progress=False, hash_files=False)
    except RecordsError:
        return
    assert set(frame["label"]) <= set(CLASSES["acl"])
    assert frame["exam"].str.fullmatch(r"\d{4}").all()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mrnet(tmp_path_factory.mktemp("tiny"), train=14, valid=7, slices=2)
