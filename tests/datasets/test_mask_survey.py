"""What ``prepare`` and the audit say of the masks of a table."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets import prepare, read_records
from radimagenet_monai.datasets.audit import audit_records

SIZE = 40
LESION = np.zeros((SIZE, SIZE), np.uint8)
LESION[10:20, 12:30] = 1
OTHER = np.zeros((SIZE, SIZE), np.uint8)
OTHER[25:30, 5:9] = 1


def write(root: Path, masks: list[np.ndarray]) -> Path:
    """A table with one image a mask."""
    rng = np.random.default_rng(0)
    rows = []
    for number, mask in enumerate(masks):
        image = rng.integers(20, 220, mask.shape).astype(np.uint8)
        Image.fromarray(image).save(root / f"i{number}.png")
        Image.fromarray(mask).save(root / f"m{number}.png")
        rows.append((f"i{number}.png", f"m{number}.png", f"p{number}"))
    pd.DataFrame(rows, columns=["image", "mask", "patient"]).to_csv(root / "t.csv", index=False)
    return root


def prepared(root: Path, **options: object) -> tuple[pd.DataFrame, dict]:
    table, facts = prepare("csv", root, root / "out", csv="t.csv", progress=False, **options)
    assert json.loads((root / "out" / "summary.json").read_text())["masks"] == facts["masks"]
    return read_records(table, require_label=False), facts


def test_values_and_counts_are_in_the_summary(tmp_path: Path) -> None:
    masks = [LESION * 255] * 5 + [LESION] * 3 + [LESION * 0] * 2 + [LESION * 0 + 255] + [(1 - LESION) * 255]
    _, facts = prepared(write(tmp_path, masks))
    assert facts["masks"] == {
        "masks": 12,
        "lesion_values": {"1": 3, "255": 6},
        "inverted": 1,
        "full": 1,
        "empty": 2,
    }
    notes = " ".join(facts["notes"])
    for words in (
        r"1 of 12 masks look inverted: lesion all around the border; their images are left out of packing",
        "1 of 12 masks mark the whole image (first 'm10.png')",
        "2 of 12 masks are empty (first 'm8.png', 'm9.png')",
        "the lesion has different values: 1 in 3, 255 in 6 masks",
    ):
        assert words in notes


def test_several_labels_need_a_decision(tmp_path: Path) -> None:
    root = write(tmp_path, [LESION + 2 * OTHER] * 6 + [LESION] * 4)
    with pytest.raises(RecordsError, match=r"6 of 10 masks hold several labels, first 'm0.png': .* --mask_values 1,2"):
        prepared(root)
    frame, facts = prepared(root, mask_values="tumor=2")
    assert set(frame["mask"]) == {f"m{number}.png#values=2" for number in range(10)}
    assert facts["masks"]["lesion_values"] == {"2": 10}
    assert facts["masks"]["names"] == {"2": "tumor"}
    assert facts["masks"]["empty"] == 4
    frame, _ = prepared(root, mask_values=(1, 2))
    assert frame["mask"][0] == "m0.png#values=1+2"
    with pytest.raises(RecordsError, match="no mask holds the value 3; they hold 0, 1, 2; check --mask_values"):
        prepared(root, mask_values="3")
    with pytest.raises(ConfigurationError, match=r"mask_values 'tumor': expected numbers"):
        prepared(root, mask_values="tumor")


def test_labels_that_differ_between_masks_need_a_decision(tmp_path: Path) -> None:
    """Each file looks binary."""
    root = write(tmp_path, [LESION] * 5 + [LESION * 2] * 5)
    with pytest.raises(RecordsError, match="the masks have different labels: 1 in 5, 2 in 5 of 10 masks"):
        prepared(root)


def test_what_the_table_says_of_a_mask_stays(tmp_path: Path) -> None:
    root = write(tmp_path, [LESION + 2 * OTHER] * 10)
    table = pd.read_csv(root / "t.csv", dtype=str)
    table.loc[0, "mask"] = "m0.png#values=1"
    table.to_csv(root / "t.csv", index=False)
    frame, _ = prepared(root, mask_values="2")
    assert frame["mask"].tolist()[:2] == ["m0.png#values=1", "m1.png#values=2"]


def test_masks_of_single_frames_get_the_frame_of_their_row(tmp_path: Path) -> None:
    rows = []
    for number in range(10):
        np.save(tmp_path / f"i{number}.npy", np.random.default_rng(number).random((5, SIZE, SIZE)))
        Image.fromarray(LESION * 255).save(tmp_path / f"m{number}.png")
        rows.append((f"i{number}.npy", f"m{number}.png", f"p{number}", number % 5))
    table = pd.DataFrame(rows, columns=["image", "mask", "patient", "frame"])
    table.to_csv(tmp_path / "t.csv", index=False)
    frame, facts = prepared(tmp_path)
    assert frame["mask"].tolist() == [f"m{number}.png#frame={number % 5}" for number in range(10)]
    assert "unusable" not in facts["masks"]
    # Without a column of frames nobody says which slice it was.
    table.drop(columns="frame").to_csv(tmp_path / "t.csv", index=False)
    _, facts = prepared(tmp_path)
    assert facts["masks"]["unusable"] == 10
    assert "it has 1 frame(s), its image 5" in " ".join(facts["notes"])


def test_other_grids_are_counted(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1, 3, 1])
    rows = []
    for number in range(9):
        image = np.random.default_rng(number).integers(0, 200, (20, 22, 6)).astype(np.int16)
        mask = np.zeros((20, 22, 6), np.uint8)
        mask[5:9, 6:12, 2:4] = 1
        if number == 1:  # cropped
            mask, of_mask = mask[2:15, 3:15, 1:5], affine.copy()
            of_mask[:3, 3] = (affine @ [2, 3, 1, 1])[:3]
        elif number == 2:  # finer
            mask = np.repeat(np.repeat(mask, 3, 0), 3, 1)
            of_mask = affine @ np.diag([1 / 3, 1 / 3, 1, 1])
            of_mask[:3, 3] = (affine @ [-1 / 3, -1 / 3, 0, 1])[:3]
        elif number == 3:  # of another patient
            of_mask = affine.copy()
            of_mask[:3, 3] = 400
        else:
            of_mask = affine
        nib.save(nib.Nifti1Image(image, affine), tmp_path / f"i{number}.nii")
        nib.save(nib.Nifti1Image(mask, of_mask), tmp_path / f"m{number}.nii")
        rows.append((f"i{number}.nii", f"m{number}.nii", f"p{number}"))
    pd.DataFrame(rows, columns=["image", "mask", "patient"]).to_csv(tmp_path / "t.csv", index=False)
    _, facts = prepared(tmp_path)
    assert {key: facts["masks"][key] for key in ("unusable", "resampled", "partial")} == {
        "unusable": 1,
        "resampled": 2,
        "partial": 1,
    }


def test_the_audit_counts_what_is_odd(tmp_path: Path) -> None:
    gray = np.add.outer(np.arange(SIZE) * 3, np.arange(SIZE) * 2).astype(np.uint8)
    masks = [
        *[LESION * 255] * 4,
        LESION * 0,
        LESION * 0 + 255,
        gray,
        (1 - LESION) * 255,
        LESION + 2 * OTHER,
        (LESION * 255)[:, :-1],
    ]
    root = write(tmp_path, masks)
    Image.fromarray(np.random.default_rng(9).integers(20, 220, (SIZE, SIZE)).astype(np.uint8)).save(root / "i9.png")
    # The scan is the lower part of a black picture; the lesion lies half above it.
    scan = np.zeros((200, 200), np.uint8)
    scan[100:190, 20:180] = np.random.default_rng(1).integers(60, 200, (90, 160))
    lesion = np.zeros((200, 200), np.uint8)
    lesion[80:120, 60:90] = 255
    Image.fromarray(scan).save(root / "i10.png")
    Image.fromarray(lesion).save(root / "m10.png")
    table = pd.read_csv(root / "t.csv", dtype=str)
    table.loc[10] = ["i10.png", "m10.png", "p10"]
    records = table.rename(columns={"patient": "patient_id"}).assign(label="", split="train")
    audit = audit_records(records, root, progress=False)
    found = {kind: sum(counts.values()) for kind, counts in audit.counts.items() if kind.startswith("mask")}
    assert found == {
        "mask_unusable": 1,
        "mask_labels": 1,
        "mask_gray": 1,
        "mask_inverted": 1,
        "mask_full": 1,
        "mask_outside": 1,
    }
    assert audit.masks == {
        "masks": 11,
        "labels": 1,
        "gray": 1,
        "inverted": 1,
        "full": 1,
        "empty": 1,
        "unusable": 1,
        "outside": 1,
    }
    by_kind = {finding.kind: finding for finding in audit.findings}
    assert by_kind["mask_outside"].rows == (12,)
    assert "50% of the lesion lies outside" in by_kind["mask_outside"].text
    assert "40 x 39 pixels" in by_kind["mask_unusable"].text
    assert audit.verdict == "clean"
