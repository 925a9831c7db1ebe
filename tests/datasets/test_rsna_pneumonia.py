"""RSNA pneumonia folders, tidy and untidy, as records."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.rsna_pneumonia import (
    CLASSES,
    DATASET_FOLDER,
    DETAILS_FILE,
    FINDINGS,
    IMAGES_FOLDER,
    LABELS_FILE,
    PUBLISHED_COUNTS,
    _within,
    looks_like_rsna_pneumonia,
    parse_boxes,
    read_rsna_pneumonia,
    summary,
)
from radimagenet_monai.datasets.records.table import read_records, write_records
from radimagenet_monai.datasets.registry import READERS
from radimagenet_monai.phantoms.rsna_pneumonia import write_rsna_pneumonia_phantom

PATIENTS, SIZE = 30, 48


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pneumonia")
    return write_rsna_pneumonia_phantom(root, patients=PATIENTS, seed=1, size=SIZE, progress=False)


@pytest.fixture
def challenge(tidy: Path, tmp_path: Path) -> Path:
    """The challenge's folder in a copy to spoil."""
    shutil.copytree(tidy / DATASET_FOLDER, tmp_path / "copy")
    return tmp_path / "copy"


def read(root: Path, **options: object) -> pd.DataFrame:
    return read_rsna_pneumonia(root, progress=False, **{"folds": 0, **options})


def identities(folder: Path, target: str) -> list[str]:
    """patientIds with that Target, in the table's order."""
    rows = (line.split(",") for line in (folder / LABELS_FILE).read_text().splitlines()[1:])
    return list(dict.fromkeys(row[0] for row in rows if row[-1] == target))


def append(path: Path, *lines: str) -> None:
    with path.open("a") as stream:
        stream.write("\n".join(lines) + "\n")


def change_rows(path: Path, identity: str, *replacement: str) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith(identity)]
    path.write_text("\n".join([*lines, *replacement]) + "\n")


def notes_of(frame: pd.DataFrame) -> str:
    return "\n".join(frame.attrs["notes"])


def test_a_tidy_folder(tidy: Path, tmp_path: Path) -> None:
    frame = read(tidy, folds=3)
    assert frame.attrs["notes"] == []
    assert len(frame) == PATIENTS
    assert tuple(TASKS["pneumonia_cxr_classification"].classes) == CLASSES
    table = pd.read_csv(tidy / DATASET_FOLDER / LABELS_FILE)
    assert (frame["label"] == "lung opacity").sum() == table.loc[table["Target"] == 1, "patientId"].nunique()
    assert ((frame["label"] == "lung opacity") == (frame["finding"] == "Lung Opacity")).all()
    assert frame["boxes"].map(lambda text: len(parse_boxes(text))).sum() == (table["Target"] == 1).sum()
    assert frame["image"][0] == f"{DATASET_FOLDER}/{IMAGES_FOLDER}/{frame['patient_id'][0]}.dcm"
    header = pydicom.dcmread(tidy / frame["image"][3])
    assert [frame[name][3] for name in ("sex", "view")] == [header.PatientSex, header.ViewPosition]
    assert int(frame["age"][3]) == int(header.PatientAge[:-1])
    several = table[table["patientId"].duplicated()].iloc[0]
    row = frame[frame["patient_id"] == several["patientId"]].iloc[0]
    boxes = table.loc[table["patientId"] == several["patientId"], ["x", "y", "width", "height"]]
    assert parse_boxes(row["boxes"]) == [tuple(box) for box in boxes.to_numpy()]
    write_records(frame, tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv", CLASSES).equals(frame)


def test_the_split_is_about_that_of_the_paper(tidy: Path) -> None:
    shares = read(tidy)["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.76, abs=0.05)
    assert shares["test"] == pytest.approx(0.15, abs=0.05)


def test_root_is_the_folder_or_its_parent(tidy: Path) -> None:
    assert read(tidy / DATASET_FOLDER)["image"].str.startswith(IMAGES_FOLDER).all()
    assert looks_like_rsna_pneumonia(tidy)
    assert READERS["rsna_pneumonia"].looks_like(str(tidy / DATASET_FOLDER))


def test_conflicting_targets_are_left_out(challenge: Path) -> None:
    opaque, clear = identities(challenge, "1")[0], identities(challenge, "0")[0]
    append(challenge / LABELS_FILE, f"{opaque},,,,,0", f"{clear},1,1,5,5,0")
    frame = read(challenge)
    assert not {opaque, clear} & set(frame["patient_id"])
    assert "2 patients were left out: they have Target 0 and 1, or Target 0 and a box" in notes_of(frame)


def test_boxes_are_held_to_the_image(challenge: Path) -> None:
    first, second, third = identities(challenge, "1")[:3]
    change_rows(challenge / LABELS_FILE, first, f"{first},-4,40,10.5,20,1")
    change_rows(challenge / LABELS_FILE, second, f"{second},60,2,5,5,1", f"{second},1,2,0,5,1", f"{second},1,2,3,4,1")
    change_rows(challenge / LABELS_FILE, third, f"{third},1,2,x,4,1", f"{third},1,nan,3,4,1", f"{third},,,,,1")
    frame = read(challenge).set_index("patient_id")
    assert frame.loc[[first, second, third], "boxes"].tolist() == ["0,40,6.5,8", "1,2,3,4", ""]
    notes = "\n".join(read(challenge).attrs["notes"])
    assert "4 boxes were left out: no area within the image" in notes
    assert "1 boxes reach beyond their image and were cut" in notes
    assert "1 images with lung opacity have no box" in notes
    unbounded = read(challenge, headers=False).set_index("patient_id")
    assert unbounded.loc[[first, second], "boxes"].tolist() == ["0,40,6.5,20", "60,2,5,5;1,2,3,4"]


def test_strange_rows_and_files_are_named(challenge: Path) -> None:
    images = challenge / IMAGES_FOLDER
    gone, unlisted, damaged = identities(challenge, "0")[:3]
    (images / f"{gone}.dcm").unlink()
    change_rows(challenge / LABELS_FILE, unlisted)
    (images / f"{damaged}.dcm").write_bytes(b"")
    (challenge / "stage_2_test_images").mkdir()
    for name in ("Thumbs.db", "._x.dcm", "desktop.ini", "readme"):
        (images / name).touch()
    append(challenge / LABELS_FILE, "somebody,,,,,2", f"{damaged},,,,,0")
    frame = read(challenge)
    notes = notes_of(frame)
    for part in (
        f"{LABELS_FILE}: 1 rows are there twice: counted once",
        f"{LABELS_FILE}: 1 rows were left out: their Target is neither 0 nor 1",
        f"1 patients of {LABELS_FILE} have no image, first '{gone}'",
        f"1 images were left out: {LABELS_FILE} does not list them, first '{unlisted}'",
        "1 images have no readable header, first",
        "1 files of 'stage_2_train_images' are not .dcm and were left out, first 'readme'",
    ):
        assert part in notes
    assert len(frame) == PATIENTS - 2
    assert frame.set_index("patient_id").loc[damaged, ["sex", "age", "view", "boxes"]].tolist() == [""] * 4


def test_findings_are_checked(challenge: Path) -> None:
    opaque, clear = identities(challenge, "1")[0], identities(challenge, "0")[0]
    change_rows(challenge / DETAILS_FILE, opaque, f"{opaque},{FINDINGS[0]}")
    append(challenge / DETAILS_FILE, f"{clear},Fracture", f"{clear},Normal")
    frame = read(challenge)
    assert frame.set_index("patient_id").loc[clear, "finding"] == ""
    assert "1 patients have several classes: no finding" in notes_of(frame)
    assert "1 images have a label that their finding contradicts" in notes_of(frame)
    (challenge / DETAILS_FILE).unlink()
    frame = read(challenge)
    assert (frame["finding"] == "").all()
    assert f"{DETAILS_FILE} is missing" in notes_of(frame)


@pytest.mark.parametrize(("stated", "years"), [("58", "58"), ("058Y", "58"), ("009M", "0"), ("148", ""), ("old", "")])
def test_ages(challenge: Path, stated: str, years: str) -> None:
    path = challenge / IMAGES_FOLDER / f"{identities(challenge, '1')[0]}.dcm"
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        dataset.PatientAge = stated
        dataset.save_as(path)
    frame = read(challenge).set_index("patient_id")
    assert frame.loc[path.stem, "age"] == years
    assert ("ages above 120" in "\n".join(read(challenge).attrs["notes"])) == (stated == "148")


def test_radiographs_of_one_person_stay_together(tidy: Path, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (tidy / DATASET_FOLDER / IMAGES_FOLDER).iterdir())
    entries = [
        {"subset_img_id": name, "img_id": f"{index // 2:08d}_{index % 2:03d}.png"}
        for index, name in enumerate(names[:-1])
    ]
    (tmp_path / "mapping.json").write_text(json.dumps(entries))
    frame = read(tidy, mapping=str(tmp_path / "mapping.json"))
    assert frame["patient_id"][:3].tolist() == ["00000000", "00000000", "00000001"]
    assert frame.groupby("patient_id")["split"].nunique().max() == 1
    assert frame["patient_id"].iloc[-1] == names[-1]
    assert "1 images are not in the mapping" in notes_of(frame)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"img_id": "1"}]', "[" * 100_000])
def test_another_file_is_no_mapping(tidy: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "mapping.json").write_text(content)
    if content == "{}":
        assert "30 images are not in the mapping" in notes_of(read(tidy, mapping=str(tmp_path / "mapping.json")))
        return
    with pytest.raises(RecordsError, match="cannot be read as the challenge's mapping"):
        read(tidy, mapping=str(tmp_path / "mapping.json"))


def test_the_authors_csv_chooses_labels_and_splits(tidy: Path, tmp_path: Path) -> None:
    frame = read(tidy)
    opaque = (frame["label"] == "lung opacity").to_numpy()
    for part, rows in (("train", range(20)), ("val", range(20, 24)), ("test", range(24, 28))):
        lines = [
            f"{row},{frame['patient_id'][row]}.png,{int(opaque[row])},{'yes' if opaque[row] else 'no'}" for row in rows
        ]
        (tmp_path / f"rsna_{part}.csv").write_text("\n".join([",filename,Target,label", *lines, ""]))
    chosen = read(tidy, authors_csv=str(tmp_path))
    assert chosen["split"].value_counts().to_dict() == {"train": 20, "validation": 4, "test": 4}
    again = frame.set_index("image").loc[chosen["image"]]
    for column in ("label", "patient_id", "finding", "boxes", "sex"):
        assert chosen[column].tolist() == again[column].tolist()


def test_other_folders_are_not_the_challenge(tmp_path: Path, challenge: Path) -> None:
    with pytest.raises(RecordsError, match="is not a folder"):
        read(tmp_path / "none")
    with pytest.raises(RecordsError, match=f"does not hold the RSNA pneumonia challenge; expected {LABELS_FILE}"):
        read(tmp_path)
    assert not looks_like_rsna_pneumonia(tmp_path)
    (challenge / LABELS_FILE).write_text("patientId,Target\na,1\n")
    with pytest.raises(RecordsError, match="no column 'x'; expected the challenge's own file"):
        read(challenge)
    (challenge / LABELS_FILE).write_text("patientId,x,y,width,height,Target\na,,,,,0\n")
    with pytest.raises(RecordsError, match="none of the 30 images has a label"):
        read(challenge)


def test_summary_compares_with_the_published_counts(tidy: Path) -> None:
    frame = read(tidy)
    facts = summary(frame)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["differences"]["images"] == PATIENTS - 26_684
    assert facts["found"]["Lung Opacity"] == facts["images_with_box"] == (frame["label"] == "lung opacity").sum()
    assert sum(PUBLISHED_COUNTS[finding] for finding in FINDINGS) == PUBLISHED_COUNTS["images"]


NUMBERS = st.one_of(st.floats(-50, 150), st.sampled_from([math.nan, math.inf, 0.0]))


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_a_cut_box_lies_in_the_image_and_in_the_box(box: tuple[float, float, float, float]) -> None:
    cut = _within([repr(number) for number in box], (100, 80))
    x, y, width, height = box
    if cut is None:
        inside = width > 1e-6 and height > 1e-6 and -width < x < 80 and -height < y < 100
        assert not (inside and all(map(math.isfinite, box)) and x + width > 1e-6 and y + height > 1e-6)
        return
    assert cut[0] >= max(0, x)
    assert cut[1] >= max(0, y)
    assert cut[2] > 0
    assert cut[3] > 0
    assert cut[0] + cut[2] <= min(80, x + width) + 1e-9
    assert cut[1] + cut[3] <= min(100, y + height) + 1e-9
