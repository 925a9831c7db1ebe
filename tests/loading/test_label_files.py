"""Images and label files of a labelling client become records."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_series import dicom_slice, save, write_nifti

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.masks import item_mask
from radimagenet_monai.loading.label_files import (
    are_label_files,
    read_class,
    read_findings,
    records_of_label_files,
)

CLASSES = ["benign", "malignant"]
FINDINGS = ["any", "epidural", "subdural"]
BLEEDING = ["no hemorrhage", "hemorrhage"]


def pictures(folder: Path, names: str) -> list[dict[str, str]]:
    """A picture and a JSON label for each letter, b or m."""
    records = []
    for number, letter in enumerate(names):
        image, label = folder / f"{number}.png", folder / f"{number}.json"
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(image)
        label.write_text(json.dumps({"label": {"b": "benign", "m": "malignant"}[letter]}))
        records.append({"image": str(image), "label": str(label)})
    return records


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", '{"label": "benign"}'), ("a.json", '"BENIGN"'), ("a.json", '["benign"]'), ("a.txt", " benign\n")],
)
def test_a_class_is_text_or_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_class(tmp_path / name, CLASSES) == "benign"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"label": "normal"}', "names the class 'normal'; this bundle knows 'benign', 'malignant'"),
        ('["benign", "malignant"]', "names 2 classes"),
        ("{}", "names no class"),
        ("{", "is no JSON"),
        ('{"label": 1}', "names no class"),
    ],
)
def test_other_labels_are_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordsError, match=f"'a.json' {problem}"):
        read_class(tmp_path / "a.json", CLASSES)


def test_a_mask_is_no_class(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", np.zeros((99, 99, 9), np.int16), np.eye(4))
    with pytest.raises(RecordsError, match="is no label"):
        read_class(tmp_path / "a.nii", CLASSES)


def test_findings_are_listed(tmp_path: Path) -> None:
    label = tmp_path / "a.json"
    known = {
        "[]": [0, 0, 0],
        '"no hemorrhage"': [0, 0, 0],
        '["subdural"]': [1, 0, 1],
        '{"label": ["epidural", "subdural"]}': [1, 1, 1],
        '["hemorrhage", "epidural"]': [1, 1, 0],
    }
    for text, expected in known.items():
        label.write_text(text)
        assert read_findings(label, BLEEDING, FINDINGS) == expected, text
    for text in ('"hemorrhage"', '"any"'):
        label.write_text(text)
        first, *others = read_findings(label, BLEEDING, FINDINGS)
        assert first == 1
        assert all(map(math.isnan, others))
    label.write_text('["no hemorrhage", "subdural"]')
    with pytest.raises(RecordsError, match="leave one out"):
        read_findings(label, BLEEDING, FINDINGS)


def test_only_lists_of_label_files_are_taken(tmp_path: Path) -> None:
    assert are_label_files(pictures(tmp_path, "bm"))
    for other in ("@train::records", [], [{"image": "a.png", "label": 1}], [{"image": "a.png", "mask": ["b.png"]}]):
        assert not are_label_files(other)


def test_a_division_that_can_be_used_is_kept(tmp_path: Path) -> None:
    records = pictures(tmp_path, "bmbmbm")
    parts = records_of_label_files(records[:4], records[4:], CLASSES)
    assert [item["label"] for item in parts["train"]] == [0, 1, 0, 1]
    assert [Path(item["image"]).stem for item in parts["validation"]] == ["4", "5"]


@pytest.mark.parametrize("taken", [0, 2])
def test_a_validation_part_with_one_class_or_none_is_divided_again(tmp_path: Path, taken: int) -> None:
    records = pictures(tmp_path, "bbbbbbmmmm")
    end = len(records) - taken
    parts = records_of_label_files(records[:end], records[end:], CLASSES)
    for items in parts.values():
        assert {item["label"] for item in items} == {0, 1}
    assert sum(map(len, parts.values())) == 10
    assert len(parts["validation"]) <= 4


def test_a_patient_is_in_one_part(tmp_path: Path) -> None:
    records = []
    for number in range(12):
        pixels = np.full((8, 8), number, np.int16)
        image = save(
            dicom_slice(pixels, PatientID=f"P{number // 2}", SeriesInstanceUID=f"1.2.{number}"),
            tmp_path / f"{number}.dcm",
        )
        label = tmp_path / f"{number}.txt"
        label.write_text(CLASSES[number // 2 % 2])
        records.append({"image": str(image), "label": str(label)})
    parts = records_of_label_files(records[:9], records[9:], CLASSES)
    train, validation = ({item["patient_id"] for item in parts[part]} for part in ("train", "validation"))
    assert len(train) + len(validation) == 6
    assert not train & validation
    assert not any("P" in name for name in train | validation), "an identifier"


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="class 'malignant' has 1 patients"):
        records_of_label_files(pictures(tmp_path, "bbbm"), [], CLASSES)


def test_every_slice_of_a_volume_has_its_part_of_the_mask(tmp_path: Path) -> None:
    records = []
    affine = np.diag([-0.8, -0.8, 3.0, 1.0])
    rng = np.random.default_rng(0)
    masks = []
    for number in range(4):
        voxels = rng.integers(-900, 900, (9, 8, 5)).astype(np.int16)
        mask = (rng.random(voxels.shape) < 0.3).astype(np.uint8)
        masks.append(mask)
        image = write_nifti(tmp_path / f"{number}.nii.gz", voxels, affine)
        records.append(
            {"image": str(image), "label": str(write_nifti(tmp_path / f"{number}_mask.nii.gz", mask, affine))}
        )
    parts = records_of_label_files(records[:3], records[3:], None)
    assert len(parts["train"]) == 15
    for item in [*parts["train"], *parts["validation"]]:
        found = item_mask(item, (8, 9))
        assert found.any()
        assert any(np.array_equal(found, view) for view in (masks[item["record"]][:, :, item["frame"]].T == 1,))
