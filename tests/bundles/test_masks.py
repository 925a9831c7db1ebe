"""Masks come back at the size and place of the original image."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from brightness import Brightness
from bundle_runs import copy_bundle, run_workflow

from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.statistics.overlap.segmentation import measure_overlap

pytestmark = pytest.mark.slow

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
    """A segmentation bundle that finds bars, after inference; and the folder of images."""
    folder = tmp_path_factory.mktemp("bars")
    new = folder / "new"
    new.mkdir()
    for number in range(3):
        cv2.imwrite(str(new / f"{number}.png"), draw(100 + number)[0])
    (new / "damaged.png").write_bytes((new / "0.png").read_bytes()[:2000])
    bundle = copy_bundle("breast_mass_us_segmentation", folder)
    facts = {"architecture": "densenet121", "image_size": 64, "classes": ["background", "lesion"]}
    save_model(bundle / "models" / "model.pt", Brightness(), facts)
    network = {"_target_": "brightness.Brightness"}
    run_workflow(bundle, "inference", dataset_dir=str(new), num_workers=0, network_def=network)
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
        rows = [row for row in csv.DictReader(stream) if not row["problem"]]
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png"]
    for row in rows:
        assert (int(row["rows"]), int(row["columns"])) == (ROWS, COLUMNS)
        mask = cv2.imread(str(folder / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert int(row["lesion_pixels"]) == (mask > 0).sum()
        assert (folder / "overlays" / row["file"]).is_file()


def test_a_damaged_image_has_a_reason_and_no_mask(found: tuple[Path, Path]) -> None:
    """And the others have theirs."""
    folder = found[0] / "output" / "inference"
    with (folder / "predictions.csv").open(newline="") as stream:
        (row,) = [row for row in csv.DictReader(stream) if row["file"] == "damaged.png"]
    assert row["problem"]
    assert row["mask"] == row["lesion_pixels"] == ""
    assert not (folder / "masks" / "damaged.png").exists()
