"""Chest radiograph phantoms: the format, every way of writing one image, boxes about the opacities, a fair task."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.rsna_pneumonia import (
    DATASET_FOLDER,
    DETAILS_FILE,
    FINDINGS,
    IMAGES_FOLDER,
    LABELS_FILE,
    parse_boxes,
    read_rsna_pneumonia,
)
from radimagenet_monai.intensity import RadiographVOId
from radimagenet_monai.io.reader import read_image
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.phantoms.rsna_pneumonia import _write_dicom, opacity_box, simulate

pytestmark = pytest.mark.slow

PATIENTS, SIZE = 40, 64


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pneumonia")
    return write_phantom("rsna_pneumonia", root, patients=PATIENTS, seed=2, size=SIZE, progress=False)


@pytest.fixture(scope="module")
def radiographs() -> list[tuple[np.ndarray, np.ndarray, str]]:
    return [simulate(number, seed=7, size=SIZE) for number in range(1, 91)]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.dcm")}


def canonical(path: Path) -> np.ndarray:
    return np.asarray(RadiographVOId("image")({"image": read_image(path)})["image"])[0]


def test_layout_is_that_of_the_challenge(written: Path) -> None:
    folder = written / DATASET_FOLDER
    assert {path.name for path in folder.iterdir()} == {IMAGES_FOLDER, LABELS_FILE, DETAILS_FILE}
    labels, details = pd.read_csv(folder / LABELS_FILE), pd.read_csv(folder / DETAILS_FILE)
    assert labels.columns.tolist() == ["patientId", "x", "y", "width", "height", "Target"]
    assert details.columns.tolist() == ["patientId", "class"]
    assert len(labels) == len(details), "the challenge's files both have one row a box"
    assert labels["patientId"].duplicated().any()
    assert set(labels["patientId"]) == set(details["patientId"]) == {path.stem for path in folder.rglob("*.dcm")}
    assert labels.loc[labels["Target"] == 0, ["x", "y", "width", "height"]].isna().all(axis=None)
    header = pydicom.dcmread(next(folder.rglob("*.dcm")))
    assert header.PatientID in set(labels["patientId"])
    assert (header.Modality, header.Rows, header.Columns) == ("CR", SIZE, SIZE)
    assert "not patients" in (written / "README.txt").read_text()


def test_a_larger_set_holds_the_smaller(written: Path, tmp_path: Path) -> None:
    fewer = write_phantom("rsna_pneumonia", tmp_path / "fewer", patients=4, seed=2, size=SIZE, progress=False)
    assert digests(fewer).items() <= digests(written).items()
    other = write_phantom("rsna_pneumonia", tmp_path / "other", patients=4, seed=3, size=SIZE, progress=False)
    assert not set(digests(other).values()) & set(digests(written).values())


@pytest.mark.parametrize("options", [{"patients": 2}, {"size": 16}])
def test_impossible_requests_leave_nothing(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="expected 3 patients and 32 pixels or more"):
        write_phantom("rsna_pneumonia", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_files_are_written_in_every_way(written: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in written.rglob("*.dcm")]
    assert {header.PhotometricInterpretation for header in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {header.BitsStored for header in headers} == {8, 12}
    assert {header.get("VOILUTFunction", "LINEAR") if "WindowCenter" in header else "" for header in headers} == {
        "",
        "LINEAR",
        "SIGMOID",
    }
    assert {header.ViewPosition for header in headers} == {"AP", "PA"}


@pytest.mark.long
def test_every_way_shows_the_same_image(tmp_path: Path) -> None:
    """Bones white and lungs black, whatever polarity, bits and window; a sigmoid bends the scale alone."""
    image, _, _ = simulate(4, seed=2, size=SIZE)
    ways = set()
    for number in range(40):
        path = tmp_path / f"{number}.dcm"
        _write_dicom(path, image, "a", np.random.default_rng(number), "PA")
        header = pydicom.dcmread(path, stop_before_pixels=True)
        shown = canonical(path)
        if header.get("VOILUTFunction") == "SIGMOID":
            assert np.corrcoef(shown.ravel(), image.ravel())[0, 1] > 0.97
        else:
            assert shown == pytest.approx(image, abs=0.012)
        ways.add((header.PhotometricInterpretation, header.BitsStored, header.get("VOILUTFunction")))
    assert len(ways) == 8


def test_the_reader_takes_them(written: Path) -> None:
    frame = read_rsna_pneumonia(written, folds=0, progress=False)
    assert frame.attrs["notes"] == []
    for path in frame["image"][::8]:
        pixels = canonical(written / path)
        assert 0.3 < pixels.mean() < 0.7
        assert pixels[:, SIZE // 2].mean() > pixels[SIZE // 3 : SIZE // 2, SIZE // 4].mean(), (
            "the spine is whiter than a lung"
        )


@pytest.mark.long
def test_boxes_hold_the_opacities(written: Path, radiographs: list[tuple[np.ndarray, np.ndarray, str]]) -> None:
    frame = read_rsna_pneumonia(written, folds=0, progress=False)
    drawn = sorted(
        box
        for number in range(1, PATIENTS + 1)
        for opacity in simulate(number, seed=2, size=SIZE)[1]
        if (box := opacity_box(opacity))
    )
    assert drawn == sorted(box for text in frame["boxes"] for box in parse_boxes(text))
    inside = []
    for image, opacities, finding in radiographs:
        assert (len(opacities) > 0) == (finding == FINDINGS[2])
        for opacity in opacities:
            box = opacity_box(opacity)
            assert box is not None
            x, y, width, height = box
            inside.append(opacity[y : y + height, x : x + width].sum() / opacity.sum())
        assert image.min() >= 0
        assert image.max() <= 1
    assert np.mean(inside) > 0.8
    assert min(inside) > 0.5


@pytest.mark.long
def test_opacities_whiten_the_lung(radiographs: list[tuple[np.ndarray, np.ndarray, str]]) -> None:
    """Inside the boxes images are whiter than normal ones in the same place; inside transposed boxes they are not."""
    normal = np.mean([image for image, _, finding in radiographs if finding == FINDINGS[0]], axis=0)
    gained, transposed = [], []
    for image, opacities, _ in radiographs:
        for opacity in opacities:
            x, y, width, height = opacity_box(opacity) or (0, 0, SIZE, SIZE)
            difference = image - normal
            gained.append(difference[y : y + height, x : x + width].mean())
            transposed.append(difference[x : x + width, y : y + height].mean())
    assert np.mean(gained) > 0.08
    assert np.mean(gained) > np.mean(transposed) + 0.05


@pytest.mark.long
def test_no_simple_number_solves_the_task(radiographs: list[tuple[np.ndarray, np.ndarray, str]]) -> None:
    opaque = [finding == FINDINGS[2] for _, _, finding in radiographs]
    numbers = {
        "mean": [image.mean() for image, _, _ in radiographs],
        "deviation": [image.std() for image, _, _ in radiographs],
        "bright": [(image > 0.7).mean() for image, _, _ in radiographs],
        "dark": [(image < 0.3).mean() for image, _, _ in radiographs],
    }
    aucs = {name: roc_auc_score(opaque, values) for name, values in numbers.items()}
    assert max(max(auc, 1 - auc) for auc in aucs.values()) < 0.75, aucs
