"""HD95 and NSD in the tables of a segmenter: in mm where every file states its spacing, else in pixels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from radimagenet_monai.engine import MaskWriter, OverlapWriter
from radimagenet_monai.intensity import UltrasoundLuminanced
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading import NativeDataset, PrepareBatch, ResizeCanonicald, build_loader

SIDE = 128
MOVED = (4, 3)  # rows and columns of the file
REFERENCE = {"scan.dcm": "scan_mask.png", "picture.png": "picture_mask.png", "black.png": "picture_mask.png"}


class _Found(torch.nn.Module):
    """A square of rows 30 to 59 and columns 40 to 69, and nothing in a picture that is black."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        lesion = torch.zeros(image.shape[0], 1, SIDE, SIDE)
        lesion[:, :, 30:60, 40:70] = 1
        lesion *= (image.amax(dim=(1, 2, 3)) > 0)[:, None, None, None]
        return torch.cat([1 - lesion, lesion], dim=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CT slice with 0.5 mm between rows and 0.25 between columns, two pictures, and a reference moved by `MOVED`."""
    scan = dcmread(get_testdata_file("CT_small.dcm"))
    assert (scan.Rows, scan.Columns) == (SIDE, SIDE)
    scan.PixelSpacing = [0.5, 0.25]
    scan.save_as(tmp_path / "scan.dcm")
    Image.fromarray(np.arange(SIDE, dtype=np.uint8).repeat(SIDE).reshape(SIDE, SIDE)).save(tmp_path / "picture.png")
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / "black.png")
    # The scan is half as wide as high: it fills columns 32 to 95 of the network's image, each two columns of the file.
    for name, columns in (("picture", (40, 70)), ("scan", (16, 76))):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[30 + MOVED[0] : 60 + MOVED[0], columns[0] + MOVED[1] : columns[1] + MOVED[1]] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}_mask.png")
    return tmp_path


def evaluate(folder: Path, images: list[str], lesions: list[bool], tolerance: float = 2.0) -> tuple[list[dict], dict]:
    data = [
        {
            "image": str(folder / image),
            "mask": [str(folder / REFERENCE.get(image, "picture_mask.png"))] if lesion else [],
        }
        for image, lesion in zip(images, lesions, strict=True)
    ]
    transform = Compose(
        [
            LoadNativeImaged(keys="image"),
            UltrasoundLuminanced(keys="image", crop=None, allow_modality_mismatch=True),
            ResizeCanonicald(keys="image", image_size=SIDE, geometry_key="geometry"),
        ]
    )
    dataset = NativeDataset(data, transform, [1, SIDE, SIDE], "stop")
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=build_loader(dataset, batch_size=2, shuffle=False, seed=0, num_workers=0),
        network=_Found(),
        prepare_batch=PrepareBatch(),
        val_handlers=[
            MaskWriter(folder, data, folder, references=True, tolerance=tolerance),
            OverlapWriter(folder, {}),
        ],
    ).run()
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows, json.loads((folder / "evaluation.json").read_text())["metrics"]


def test_mm_where_the_file_states_its_spacing(folder: Path) -> None:
    rows, metrics = evaluate(folder, ["scan.dcm", "scan.dcm"], [True, False], tolerance=1.0)
    # A square moved along both axes: 95 % of its outline are at most the longer move away.
    assert float(rows[0]["hd95"]) == pytest.approx(MOVED[0] * 0.5, abs=1e-5)
    assert rows[0]["distance_unit"] == metrics["distance_unit"] == "mm"
    assert (rows[1]["hd95"], rows[1]["nsd"], rows[1]["distance_unit"]) == ("", "", "")
    assert metrics["hd95"]["images"] == metrics["nsd"]["images"] == 1
    assert metrics["hd95"]["mean"] == pytest.approx(2.0, abs=1e-5)
    assert metrics["tolerance"] == 1.0
    assert 0 < metrics["nsd"]["mean"] < 1


def test_pixels_for_pictures_and_missed_lesions_count(folder: Path) -> None:
    rows, metrics = evaluate(folder, ["picture.png", "black.png"], [True, True])
    assert float(rows[0]["hd95"]) == pytest.approx(MOVED[0], abs=1e-5)
    assert [row["distance_unit"] for row in rows] == ["pixels", "pixels"]
    assert float(rows[1]["hd95"]) == pytest.approx(np.hypot(SIDE, SIDE), abs=1e-5)
    assert float(rows[1]["nsd"]) == 0
    assert metrics["hd95"]["images"] == 2
    assert metrics["missed"]["successes"] == 1


def test_pixels_for_all_where_one_file_states_no_spacing(folder: Path) -> None:
    rows, metrics = evaluate(folder, ["scan.dcm", "picture.png"], [True, True])
    assert [float(row["hd95"]) for row in rows] == pytest.approx([MOVED[0]] * 2, abs=1e-5)
    assert metrics["distance_unit"] == "pixels"
