"""Masks come back at the size and place of the original image."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from bundle_runs import copy_bundle, run_workflow

from radimagenet_monai.datasets import write_records
from radimagenet_monai.evaluation.segmentation import measure_overlap

ROWS, COLUMNS = 500, 420


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Speckle with a bright bar, wide and flat, somewhere at the upper left; and the bar's mask."""
    rng = np.random.default_rng(seed)
    image = rng.normal(70, 12, (ROWS, COLUMNS))
    top, left = int(rng.integers(40, 150)), int(rng.integers(30, 120))
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[top : top + 90, left : left + 140] = True
    image[mask] += 120
    return np.clip(image, 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A segmentation bundle that has learnt to find bars, after inference; and the folder of new images."""
    folder = tmp_path_factory.mktemp("bars")
    data, new = folder / "data", folder / "new"
    for place in (data, new):
        place.mkdir()
    rows = []
    for number in range(40):
        image, mask = draw(number)
        cv2.imwrite(str(data / f"{number}.png"), image)
        cv2.imwrite(str(data / f"{number}_mask.png"), mask.astype(np.uint8) * 255)
        split = "train" if number < 32 else "validation"
        rows.append({"image": f"{number}.png", "mask": f"{number}_mask.png", "split": split})
    write_records(pd.DataFrame(rows), data / "records.csv")
    for number in range(3):
        cv2.imwrite(str(new / f"{number}.png"), draw(100 + number)[0])
    bundle = copy_bundle("breast_mass_us_segmentation", folder)
    settings = {"architecture": "densenet121", "image_size": 64, "batch_size": 8, "num_workers": 0}
    run_workflow(bundle, "train", dataset_dir=str(data), max_epochs=6, learning_rate=1e-3, **settings)
    run_workflow(bundle, "inference", dataset_dir=str(new), num_workers=0)
    return bundle, new


@pytest.mark.parametrize("number", range(3))
def test_a_known_mask_is_found_where_it_is(found: tuple[Path, Path], number: int) -> None:
    bundle, _ = found
    _, reference = draw(100 + number)
    mask = cv2.imread(str(bundle / "output" / "inference" / "masks" / f"{number}.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (ROWS, COLUMNS)
    assert set(np.unique(mask)) == {0, 255}
    dice = measure_overlap(mask > 0, reference).dice
    assert dice is not None
    assert dice > 0.85
    transposed = cv2.resize(mask.T, (COLUMNS, ROWS), interpolation=cv2.INTER_NEAREST)
    for wrong in (transposed, mask[::-1], mask[:, ::-1]):
        moved = measure_overlap(wrong > 0, reference).dice
        assert moved is not None
        assert moved < dice - 0.1


def test_the_table_tells_of_each_mask(found: tuple[Path, Path]) -> None:
    bundle, _ = found
    folder = bundle / "output" / "inference"
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png"]
    for row in rows:
        assert (int(row["rows"]), int(row["columns"])) == (ROWS, COLUMNS)
        mask = cv2.imread(str(folder / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert int(row["lesion_pixels"]) == (mask > 0).sum()
        assert (folder / "overlays" / row["file"]).is_file()
