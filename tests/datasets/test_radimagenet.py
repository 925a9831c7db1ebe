"""RadImageNet folders and CSV files, tidy and untidy, as records; and that 1.35 million rows fit into little memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.radimagenet import (
    CLASSES,
    PUBLISHED_COUNTS,
    class_folder,
    looks_like_radimagenet,
    read_radimagenet,
    summary,
)
from radimagenet_monai.datasets.records.table import load_datalist, read_records
from radimagenet_monai.datasets.registry import prepare

pytestmark = pytest.mark.slow

NAMES = ("train", "val", "test")


def make_radimagenet(root: Path, images: int = 7) -> Path:
    """Files of a few bytes, none a picture: the reader has no business with pixels. Folders are spelled out by hand."""
    rows: dict[str, list[str]] = {name: [] for name in NAMES}
    for label in LABELS:
        folder = f"{label.modality}/{label.class_name}"
        if label.modality != "US":
            folder = f"{label.modality}/{label.region_code}/{label.class_name}"
        (root / "radiology_ai" / folder).mkdir(parents=True)
        for number in range(images):
            path = f"radiology_ai/{folder}/{label.region_code}{number:06d}.png"
            (root / path).write_bytes(f"{label.key} {number}".encode())
            rows[NAMES[number % 3]].append(f"{path},{label.region_code}-{label.class_name}")
    for name, lines in rows.items():
        (root / f"RadiologyAI_{name}.csv").write_text("\n".join(["filename,label", *lines, ""]))
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_radimagenet(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """One to spoil."""
    return make_radimagenet(tmp_path / "untidy", images=3)


def append(root: Path, name: str, *lines: str) -> None:
    with (root / f"RadiologyAI_{name}.csv").open("a") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def test_a_tidy_folder(clean: Path) -> None:
    frame = read_radimagenet(clean, progress=False)
    assert frame.attrs["notes"] == []
    assert len(frame) == 165 * 7
    assert frame["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 7)
    assert (frame["patient_id"] == "").all()
    assert frame["fold"].isna().all()
    listed = pd.concat(
        pd.read_csv(clean / f"RadiologyAI_{name}.csv").assign(split=split)
        for name, split in (("train", "train"), ("val", "validation"), ("test", "test"))
    )
    assert frame["image"].tolist() == listed["filename"].tolist()
    assert frame["split"].tolist() == listed["split"].tolist()
    row = frame.set_index("image").loc["radiology_ai/CT/lung/Nodule/lung000001.png"]
    assert (row["label"], row["modality"], row["region"], row["split"]) == (
        "CT_lung_Nodule",
        "CT",
        "lung",
        "validation",
    )
    row = frame.set_index("image").loc["radiology_ai/US/gb/usabd000002.png"]
    assert (row["label"], row["modality"], row["region"], row["split"]) == ("US_usabd_gb", "US", "usabd", "test")
    for key in ("MR_shoulder_ca++_tendinosis", "MR_af_achilles_pathology_"):
        assert (frame["label"] == key).sum() == 7


def test_root_is_the_folder_or_its_parent(clean: Path, tmp_path: Path) -> None:
    inner = read_radimagenet(clean / "radiology_ai", progress=False)
    assert inner["image"][0] == "CT/abd/abnormal_entire_organ/abd000000.png"
    outer = read_radimagenet(clean, progress=False)
    assert ("radiology_ai/" + inner["image"] == outer["image"]).all()
    assert inner["split"].equals(outer["split"])
    for name in NAMES:
        (tmp_path / f"RadiologyAI_{name}.csv").write_bytes((clean / f"RadiologyAI_{name}.csv").read_bytes())
    assert looks_like_radimagenet(tmp_path)
    alone = read_radimagenet(tmp_path, missing="keep", progress=False)
    pd.testing.assert_frame_equal(alone, outer)


def test_the_table_reaches_the_datalist(clean: Path, tmp_path: Path) -> None:
    task = TASKS["radimagenet_resnet50_pretraining"]
    table, facts = prepare("radimagenet", clean, tmp_path, progress=False)
    assert facts["found"]["classes"] == 165
    items = load_datalist(table, clean, task.classes, "validation")
    assert sorted({item["label"] for item in items}) == list(range(165))
    assert {item["modality"] for item in items} == {"CT", "MR", "US"}
    for item in items[::50]:
        assert Path(item["image"]).read_text().startswith(task.classes[item["label"]])
    pd.testing.assert_frame_equal(read_records(table, CLASSES), read_radimagenet(clean, progress=False))


def test_hashes_on_request(clean: Path) -> None:
    assert (read_radimagenet(clean, progress=False)["sha256"] == "").all()
    frame = read_radimagenet(clean, progress=False, hash_files=True)
    for index in (0, 500, len(frame) - 1):
        content = (clean / frame["image"][index]).read_bytes()
        assert frame["sha256"][index] == hashlib.sha256(content).hexdigest()


def test_files_that_are_not_there(untidy: Path) -> None:
    (untidy / "radiology_ai/CT/lung/Nodule/lung000000.png").unlink()
    append(untidy, "test", "radiology_ai/US/gb/usabd999999.png,usabd-gb")
    with pytest.raises(
        RecordsError, match=r"2 of 496 images .* not there, first 'CT/lung/Nodule/lung000000.png', 'US/gb"
    ):
        read_radimagenet(untidy, progress=False)
    frame = read_radimagenet(untidy, progress=False, missing="skip")
    assert len(frame) == 165 * 3 - 1
    assert "2 of 496 images that the CSV files list are not there" in frame.attrs["notes"][0]
    assert len(read_radimagenet(untidy, progress=False, missing="keep")) == 496


def test_the_folder_decides_over_the_label_in_the_csv(untidy: Path) -> None:
    path = untidy / "RadiologyAI_train.csv"
    text = path.read_text()
    text = text.replace("abd000000.png,abd-normal", "abd000000.png,lung-normal")  # in CT/abd and in MR/mriabd
    text = text.replace("usabd000000.png,usabd-ovary", "usabd000000.png,an ovary")
    text = text.replace("lung000000.png,lung-Nodule", "lung000000.png,LUNG nodule")
    path.write_text(text)
    frame = read_radimagenet(untidy, progress=False).set_index("image")
    assert frame.loc["radiology_ai/CT/abd/normal/abd000000.png", "label"] == "CT_abd_normal"
    notes = frame.attrs["notes"]
    assert len(notes) == 2
    assert "the label of 1 images in the CSV files is another class than the folder, first 'lung-normal'" in notes[0]
    assert "the label of 1 images in the CSV files is no spelling of a class, first 'an ovary'" in notes[1]


def test_other_spellings_of_folders(untidy: Path) -> None:
    """On disk, in the CSV files, or in both; junk beside the images."""
    folder = untidy / "radiology_ai"
    (folder / "MR/af/achilles_pathology_").rename(folder / "MR/af/Achilles pathology")
    (folder / "CT/lung/normal").rename(folder / "CT/lung/Normal")
    train = untidy / "RadiologyAI_train.csv"
    text = train.read_text().replace("radiology_ai/CT/lung/normal/", "./radiology_ai\\CT\\lung\\Normal\\")
    train.write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    for name in ("Thumbs.db", "._x.png", ".DS_Store"):
        (folder / "US/gb" / name).write_bytes(b"x")
    frame = read_radimagenet(untidy, progress=False)
    assert frame["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 3)
    assert (untidy / frame.loc[frame["label"] == "MR_af_achilles_pathology_", "image"].iloc[0]).exists()
    assert frame["image"].map(lambda image: (untidy / image).exists()).all()
    assert frame.attrs["notes"] == [
        "folders spelled in another way were taken for a class: 'CT/lung/Normal' for CT_lung_normal, "
        "'MR/af/Achilles pathology' for MR_af_achilles_pathology_"
    ]


def test_unknown_folders_and_unlisted_files(untidy: Path) -> None:
    folder = untidy / "radiology_ai"
    for name in ("CT/abd/other_finding", "US/heart", "PET/abd/normal"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.png").write_bytes(b"x")
    append(untidy, "train", "radiology_ai/US/heart/x.png,usheart-heart", "radiology_ai/CT/abd/other_finding/x.png,?")
    (folder / "US/liver/extra.png").write_bytes(b"x")
    (folder / "US/liver/readme.txt").write_bytes(b"x")
    frame = read_radimagenet(untidy, progress=False)
    assert len(frame) == 165 * 3
    notes = "\n".join(frame.attrs["notes"])
    assert "2 images in 2 folders that are none of the 165 classes were left out: 'US/heart' (1), 'CT/abd/" in notes
    assert "1 images in class folders are in no CSV file and were left out" in notes


def test_repeated_rows(untidy: Path) -> None:
    """An image in two splits stays in the training set, so that no test image has been trained on."""
    append(untidy, "test", "radiology_ai/US/gb/usabd000000.png,usabd-gb", "radiology_ai/US/gb/usabd000002.png,usabd-gb")
    frame = read_radimagenet(untidy, progress=False)
    assert len(frame) == 165 * 3
    assert frame.set_index("image").loc["radiology_ai/US/gb/usabd000000.png", "split"] == "train"
    assert "2 rows list an image again" in frame.attrs["notes"][0]
    assert "1 of these images are in more than one split" in frame.attrs["notes"][0]


def test_a_missing_table_is_named(untidy: Path) -> None:
    (untidy / "RadiologyAI_val.csv").unlink()
    frame = read_radimagenet(untidy, progress=False)
    assert set(frame["split"]) == {"train", "test"}
    assert frame.attrs["notes"] == [
        "no CSV file gives the validation split: the table has no such images",
        "165 images in class folders are in no CSV file and were left out",
    ]


def test_without_tables_the_split_is_a_loud_makeshift(clean: Path, tmp_path: Path) -> None:
    root = make_radimagenet(tmp_path, images=10)
    for name in NAMES:
        (root / f"RadiologyAI_{name}.csv").unlink()
    frame = read_radimagenet(root, progress=False)
    assert "no RadiologyAI_train.csv" in frame.attrs["notes"][0]
    assert "the same patient is on both sides" in frame.attrs["notes"][0]
    assert frame["image"].is_monotonic_increasing
    counts = frame.groupby("label")["split"].value_counts().unstack()
    assert (counts[["train", "validation", "test"]] == [7, 1, 2]).all(axis=None)
    inner = read_radimagenet(root / "radiology_ai", progress=False)
    assert inner["split"].equals(frame["split"])
    assert not read_radimagenet(root, seed=1, progress=False)["split"].equals(frame["split"])
    folds = read_radimagenet(clean, folds=5, progress=False)
    assert "folds were assigned image by image" in folds.attrs["notes"][-1]
    assert (folds.groupby("label")["fold"].nunique() == 5).all()


def test_summary_counts_classes_and_regions(clean: Path) -> None:
    frame = read_radimagenet(clean, progress=False)
    counts = summary(frame)
    assert json.loads(json.dumps(counts)) == counts
    assert counts["classes_without_images"] == []
    assert counts["classes_of_split"] == {"train": 165, "validation": 165, "test": 165}
    assert counts["regions"]["MR knee"] == 18 * 7
    assert counts["differences"]["CT images"] == 34 * 7 - PUBLISHED_COUNTS["CT images"]
    some = summary(frame[frame["modality"] == "US"])
    assert len(some["classes_without_images"]) == 150
    assert some["differences"]["classes"] == -150


def test_other_folders_are_not_radimagenet(clean: Path, tmp_path: Path) -> None:
    assert looks_like_radimagenet(clean)
    assert looks_like_radimagenet(str(clean / "radiology_ai"))
    assert not looks_like_radimagenet(tmp_path)
    with pytest.raises(
        RecordsError, match="does not hold RadImageNet; expected radiology_ai with folders CT, MR or US"
    ):
        read_radimagenet(tmp_path)
    with pytest.raises(RecordsError, match="is not a folder"):
        read_radimagenet(tmp_path / "none")
    (tmp_path / "CT/heart/normal").mkdir(parents=True)
    (tmp_path / "CT/heart/normal/x.png").write_bytes(b"x")
    assert looks_like_radimagenet(tmp_path)
    with pytest.raises(
        RecordsError, match="no image lies in a folder of one of the 165 classes, such as radiology_ai/CT/abd"
    ):
        read_radimagenet(tmp_path)
    with pytest.raises(ConfigurationError, match="missing 'drop' was given; expected one of stop, skip, keep"):
        read_radimagenet(clean, missing="drop")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line is ''"),
        (b"path,label\nx,y\n", "the first line is 'path,label'; expected the columns filename,label"),
        (b"filename,label\n\xff\xfe,x\n", "is not UTF-8"),
        (b"filename,label\n", "no image lies in a folder"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "RadiologyAI_train.csv").write_bytes(content)
    with pytest.raises(RecordsError, match=message):
        read_radimagenet(tmp_path, missing="keep", progress=False)


parts = st.sampled_from(["radiology_ai", "CT", "abd", "normal", "US", "gb", "x.png", "..", ".", "", "Normal ", '"'])
filenames = st.one_of(st.lists(parts, max_size=6).map("/".join), st.text(max_size=12))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(filenames, st.text(max_size=6)), max_size=6), quote=st.booleans())
def test_any_table_is_read_or_refused(tmp_path: Path, rows: list[tuple[str, str]], quote: bool) -> None:
    pair = '"{}","{}"' if quote else "{},{}"
    text = "\n".join(["filename,label", "CT/abd/normal/first.png,abd-normal", *(pair.format(*row) for row in rows)])
    (tmp_path / "RadiologyAI_test.csv").write_bytes(text.encode())
    try:
        frame = read_radimagenet(tmp_path, missing="keep", progress=False)
    except RecordsError:
        return
    assert set(frame["label"]) <= {"CT_abd_normal", "US_usabd_gb"}
    assert not frame["image"].str.contains("..", regex=False).any()


MEASURE = """
import json, re, sys
from pathlib import Path
from radimagenet_monai.datasets import registry as readers
from radimagenet_monai.datasets.readers import radimagenet
from radimagenet_monai.datasets.records import table as records

images, root = int(sys.argv[1]), Path(sys.argv[2])
folders = [radimagenet.class_folder(label) for label in radimagenet.LABELS]
code_of = {folder: code for code, folder in enumerate(folders)}
on_disk = radimagenet._names_in

def injected(folder):
    # Every class folder "holds" its share of the images; no file is made.
    code = code_of.get(Path(folder).as_posix().rpartition("radiology_ai/")[2])
    return on_disk(folder) if code is None else [f"image{n:07d}.png" for n in range(code, images, len(folders))]

radimagenet._names_in = injected
radimagenet._class_folders = lambda folder: ((name, radimagenet._label_of_folder(name)) for name in folders)

def peak():
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before = peak()
table, facts = readers.prepare("radimagenet", root, root / "out")
figures = {"before": before, "peak": peak(), "images": facts["images"],
           "notes": facts["notes"], "bytes": table.stat().st_size}
records.read_records(table, radimagenet.CLASSES)
print(json.dumps(figures | {"peak_with_reading_back": peak()}))
"""


def measured(root: Path, images: int) -> dict:
    """Peak memory of a whole ``prepare`` of so many rows, in a process of its own, from CSV files without images."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory of a process is read from Linux' /proc")
    (root / "radiology_ai" / "CT").mkdir(parents=True)
    folders = [class_folder(label) for label in LABELS]
    texts = [f"{label.region_code}-{label.class_name}" for label in LABELS]
    for part, name in enumerate(NAMES):
        with (root / f"RadiologyAI_{name}.csv").open("w") as stream:
            stream.write("filename,label\n")
            stream.writelines(
                f"radiology_ai/{folders[n % 165]}/image{n:07d}.png,{texts[n % 165]}\n"
                for n in range(images)
                if max(0, n // 165 % 10 - 7) == part
            )
    run = subprocess.run([sys.executable, "-c", MEASURE, str(images), str(root)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    figures: dict = json.loads(run.stdout)
    assert figures["images"] == images
    assert figures["notes"] == []
    return figures


@pytest.mark.long
def test_memory_for_a_row_is_small(tmp_path: Path) -> None:
    """From 20 000 to 60 000 rows the peak grows so little a row that 1.35 million stay below 1 GB."""
    few, many = measured(tmp_path / "few", 20_000), measured(tmp_path / "many", 60_000)
    a_row = (many["peak"] - few["peak"]) / 40_000
    assert a_row > 100  # less than the text of a row takes: nothing was measured
    assert few["before"] + 1_350_000 * a_row < 1e9, f"{a_row:.0f} bytes a row"


@pytest.mark.long
def test_radimagenet_in_full_length_stays_below_1_gb(tmp_path: Path) -> None:
    figures = measured(tmp_path, 1_350_000)
    assert figures["peak_with_reading_back"] < 1e9  # no less than the peak of prepare alone
    assert figures["bytes"] > 1e8
