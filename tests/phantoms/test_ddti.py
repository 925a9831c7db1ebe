"""Thyroid ultrasound phantoms: DDTI's format, anatomy that can be checked, and a task that no simple number solves."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.ddti_case import FIELDS
from radimagenet_monai.intensity.values.scan_region import picture_region
from radimagenet_monai.phantoms import PHANTOMS, write_phantom
from radimagenet_monai.phantoms.ddti import DATASET_FOLDER, ThyroidStudy, simulate, write_ddti_phantom

pytestmark = pytest.mark.slow

SIZE = (112, 128)
CASES = 105
MALIGNANT = {"4a", "4b", "4c", "5"}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom("ddti", tmp_path_factory.mktemp("ddti"), patients=30, seed=2, size=SIZE, progress=False)


@pytest.fixture(scope="module")
def studies() -> list[ThyroidStudy]:
    return [simulate(number, seed=8, size=SIZE) for number in range(1, CASES + 1)]


def test_layout_is_that_of_ddti(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {DATASET_FOLDER, "README.txt"}
    assert "not patients" in (written / "README.txt").read_text()
    folder = written / DATASET_FOLDER
    for number in range(1, 31):
        root = ElementTree.parse(folder / f"{number}.xml").getroot()
        assert root.tag == "case"
        fields = [child.tag for child in root]
        assert fields[:8] == list(FIELDS)
        assert set(fields[8:]) == {"mark"}
        assert root.findtext("number") == str(number)
        assert root.findtext("tirads") in ("2", "3", *MALIGNANT)
        images = {int(re.fullmatch(rf"{number}_(\d)\.jpg", path.name)[1]) for path in folder.glob(f"{number}_*.jpg")}
        assert {int(mark.findtext("image")) for mark in root.iter("mark")} == images
        for mark in root.iter("mark"):
            with Image.open(folder / f"{number}_{mark.findtext('image')}.jpg") as picture:
                assert picture.mode == "RGB"
                width, height = picture.size
            for region in json.loads(mark.findtext("svg")):
                assert len(region["points"]) >= 3
                assert all(0 <= point["x"] < width and 0 <= point["y"] < height for point in region["points"])


def test_a_case_is_a_function_of_seed_and_number(written: Path, tmp_path: Path) -> None:
    fewer = write_ddti_phantom(tmp_path / "fewer", patients=6, seed=2, size=SIZE, workers=2, progress=False)
    more = digests(written / DATASET_FOLDER)
    for name, digest in digests(fewer / DATASET_FOLDER).items():
        assert more[name] == digest
    other = write_ddti_phantom(tmp_path / "other", patients=3, seed=3, size=SIZE, progress=False)
    assert not set(digests(other / DATASET_FOLDER).values()) & set(more.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": 0}, "patients 0 was given"),
        ({"size": (128, 100)}, r"size \(128, 100\) was given"),
        ({"size": (32, 100)}, "from 64 pixels"),
    ],
)
def test_impossible_requests_leave_nothing(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_ddti_phantom(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert "ddti" in PHANTOMS


@pytest.mark.long
def test_numbers_of_images_and_classes(studies: list[ThyroidStudy]) -> None:
    images = [len(study.images) for study in studies]
    assert 1.08 < np.mean(images) < 1.35
    malignant = [study.facts["tirads"] in MALIGNANT for study in studies]
    assert np.mean(malignant) == pytest.approx(2 / 3)
    assert {study.facts["tirads"] for study in studies} == {"2", "3", *MALIGNANT}
    assert max(len(image.masks) for study in studies for image in study.images) == 2


@pytest.mark.long
def test_the_scan_is_found_in_its_frame(studies: list[ThyroidStudy]) -> None:
    """Text, gray bar and scale are cut off, and every nodule stays."""
    for study in studies:
        for image in study.images:
            box = picture_region(image.pixels / 255.0)
            assert box is not None
            top, left, bottom, right = box
            rows, columns = image.pixels.shape
            assert 0.5 < (bottom - top) / rows < 0.97
            assert 0.45 < (right - left) / columns < 0.85
            for mask in image.masks:
                assert not mask[:top].any()
                assert not mask[bottom:].any()
                assert not mask[:, :left].any()
                assert not mask[:, right:].any()


@pytest.mark.long
def test_nodules_differ_from_their_surroundings(studies: list[ThyroidStudy]) -> None:
    """Malignant ones are darker than the ring around them; shifted masks tell it less well."""
    contrast: dict[int, list[float]] = {0: [], 12: [], -12: []}
    for study in studies:
        if study.facts["tirads"] not in MALIGNANT:
            continue
        image = study.images[0]
        for shift, values in contrast.items():
            mask = np.roll(image.masks[0], shift, axis=1)
            beside = mask.any(axis=1)[:, None] & ~mask & (image.pixels > 8)
            values.append(float(image.pixels[beside].mean() - image.pixels[mask].mean()))
    assert np.mean(np.array(contrast[0]) > 5) > 0.8
    assert np.mean(contrast[0]) > 1.5 * max(np.mean(contrast[12]), np.mean(contrast[-12]))


@pytest.mark.long
def test_no_simple_number_solves_the_task(studies: list[ThyroidStudy]) -> None:
    pairs = [(image, study.facts["tirads"] in MALIGNANT) for study in studies for image in study.images]
    malignant = [label for _, label in pairs]
    numbers = {
        "mean": [image.pixels.mean() for image, _ in pairs],
        "standard deviation": [image.pixels.std() for image, _ in pairs],
        "dark pixels": [(image.pixels < 25).mean() for image, _ in pairs],
        "area": [image.masks[0].mean() for image, _ in pairs],
        "brightness of the nodule": [image.pixels[image.masks[0]].mean() for image, _ in pairs],
        "rows": [image.pixels.shape[0] for image, _ in pairs],
        "lit frame": [(image.pixels > 0).mean() for image, _ in pairs],
    }
    aucs = {name: roc_auc_score(malignant, values) for name, values in numbers.items()}
    assert max(max(auc, 1 - auc) for auc in aucs.values()) < 0.82, aucs


@pytest.mark.long
def test_the_words_say_what_was_drawn(studies: list[ThyroidStudy]) -> None:
    jaggedness: dict[str, list[float]] = {}
    for study in studies:
        mask = study.images[0].masks[0]
        boundary = mask[1:-1, 1:-1] & ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
        jaggedness.setdefault(study.facts["margins"], []).append(float(boundary.sum() ** 2 / mask.sum()))
        if study.facts["composition"] == "cystic":
            assert study.images[0].pixels[mask].mean() < 45
            assert study.facts["tirads"] not in MALIGNANT
    assert np.mean(jaggedness["spiculated"]) > 1.15 * np.mean(jaggedness["well defined smooth"])
