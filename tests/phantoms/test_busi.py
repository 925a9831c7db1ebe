"""Breast ultrasound phantoms: the format, the physics that can be checked, and a task that no simple number solves."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.busi import DATASET_FOLDER, FINDINGS
from radimagenet_monai.phantoms import PHANTOMS, write_phantom
from radimagenet_monai.phantoms.anatomy.ultrasound import View, scan
from radimagenet_monai.phantoms.busi import simulate, write_busi_phantom

pytestmark = pytest.mark.slow

SIZE = (96, 128)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom("busi", tmp_path_factory.mktemp("busi"), patients=60, seed=2, size=SIZE, progress=False)


def test_layout_is_that_of_busi(written: Path) -> None:
    assert names(written) == {DATASET_FOLDER, "README.txt"}
    assert "phantoms" in (written / "README.txt").read_text()
    assert "not patients" in (written / "README.txt").read_text()
    assert names(written / DATASET_FOLDER) == set(FINDINGS)
    several, formats, shapes = 0, set(), set()
    for finding in FINDINGS:
        files = names(written / DATASET_FOLDER / finding)
        images = {name for name in files if "_mask" not in name}
        assert images == {f"{finding} ({number}).png" for number in range(1, len(images) + 1)}
        for name in files - images:
            assert re.fullmatch(rf"{finding} \(\d+\)_mask(_1)?\.png", name)
        for name in images:
            with Image.open(written / DATASET_FOLDER / finding / name) as picture:
                size, mode = picture.size, picture.mode
                formats.add(mode)
                shapes.add(size)
            with Image.open(written / DATASET_FOLDER / finding / name.replace(").", ")_mask.")) as mask:
                assert mask.size == size
                assert mask.mode in ("1", "L")
                values = set(np.unique(np.asarray(mask.convert("L"))))
                assert values == ({0} if finding == "normal" else {0, 255})
        several += sum("_mask_1" in name for name in files)
    assert formats >= {"RGB", "RGBA"}
    assert len(shapes) > 20
    assert several > 0


def test_an_image_is_a_function_of_seed_and_number(written: Path, tmp_path: Path) -> None:
    fewer = write_busi_phantom(tmp_path / "fewer", patients=12, seed=2, size=SIZE, workers=2, progress=False)
    more = digests(written / DATASET_FOLDER)
    for name, digest in digests(fewer / DATASET_FOLDER).items():
        assert more[name] == digest
    other = write_busi_phantom(tmp_path / "other", patients=3, seed=3, size=SIZE, progress=False)
    assert not set(digests(other / DATASET_FOLDER).values()) & set(more.values())


def test_counts_follow_busi_or_the_caller(tmp_path: Path) -> None:
    counts = {"benign": 1, "malignant": 0, "normal": 2}
    root = write_busi_phantom(tmp_path, patients=counts, size=(40, 50), progress=False)
    assert {f: len(list((root / DATASET_FOLDER / f).glob("*).png"))) for f in FINDINGS} == counts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": 2}, "patients 2 was given"),
        ({"patients": {"benign": 3}}, "expected a number for each of"),
        ({"size": (100, 50)}, r"size \(100, 50\) was given"),
        ({"size": (8, 50)}, "from 32 pixels"),
    ],
)
def test_impossible_requests_leave_nothing(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_busi_phantom(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_existing_data_are_not_overwritten(written: Path) -> None:
    before = digests(written)
    with pytest.raises(ConfigurationError, match="exists already"):
        write_busi_phantom(written, patients=3)
    assert digests(written) == before


@pytest.mark.long
def test_an_interrupted_run_leaves_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radimagenet_monai.phantoms.busi._write_image", fail)
    with pytest.raises(KeyboardInterrupt):
        write_busi_phantom(tmp_path, patients=3, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_unknown_phantom_is_refused() -> None:
    assert "busi" in PHANTOMS
    with pytest.raises(ConfigurationError, match="phantom 'mammo' is unknown"):
        write_phantom("mammo", "nowhere")


def uniform_scan(seed: int, echo: float = -12.0, excess: float = 0.0) -> np.ndarray:
    view = View(rows=400, columns=400, depth=40.0)
    shape = (400, 400)
    maps = (np.full(shape, value, np.float32) for value in (echo, excess, 0.0))
    return scan(np.random.default_rng(seed), view, *maps, dynamic_range=52)


@pytest.mark.long
def test_speckle_of_uniform_tissue_is_fully_developed() -> None:
    """A log-compressed Rayleigh envelope has a standard deviation of 5.57 dB; n compounded looks make it smaller."""
    expected = {n: 10 / np.log(10) * np.sqrt(stats.loggamma(n).var()) for n in range(1, 5)}
    assert expected[1] == pytest.approx(5.57, abs=0.01)
    for seed in range(6):
        decibels = uniform_scan(seed).astype(float) / 255 * 52
        measured = decibels[20:-20, 20:-20].std()
        assert min(abs(measured - value) for value in expected.values()) < 0.15


@pytest.mark.long
def test_resolution_is_finer_along_the_beam() -> None:
    image = uniform_scan(0).astype(float)
    image -= image.mean()
    along = (image[1:] * image[:-1]).mean() / image.var()
    across = (image[:, 1:] * image[:, :-1]).mean() / image.var()
    assert across > along + 0.15


@pytest.mark.long
def test_attenuation_darkens_with_depth() -> None:
    decibels = uniform_scan(0, excess=0.4).mean(axis=1) / 255 * 52
    # 0.4 dB/mm over 20 mm between a quarter and three quarters of 40 mm.
    assert decibels[90:110].mean() - decibels[290:310].mean() == pytest.approx(8.0, abs=0.8)


@pytest.fixture(scope="module")
def studies() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """``(finding, image, mask of the first mass)`` of 360 images, 4 : 3 : 2."""
    counts = {"benign": 160, "malignant": 120, "normal": 80}
    return [
        (finding, image, masks[0])
        for finding, count in counts.items()
        for number in range(1, count + 1)
        for image, masks in [simulate(finding, number, seed=8, size=SIZE)]
    ]


@pytest.mark.long
def test_masks_lie_on_the_masses(studies: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Nearly every mass is darker than the tissue at its own depth on both sides, and more so than its mirror image."""
    darker = []
    for finding, image, mask in studies:
        if finding == "normal":
            assert not mask.any()
            continue
        assert 0.002 < mask.mean() < 0.6
        rows = mask.any(axis=1)
        beside = image[rows][~mask[rows]]
        darker.append(image[mask].mean() < beside.mean() - 5)
    assert np.mean(darker) > 0.93


@pytest.mark.long
def test_margins_are_where_the_mask_ends(studies: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Shifting the masks by a tenth of the image separates mass from surroundings less well."""

    def contrast(shift: int) -> float:
        values = []
        for finding, image, mask in studies:
            if finding != "normal":
                moved = np.roll(mask, shift, axis=1)
                values.append(float(image[~moved].mean() - image[moved].mean()))
        return float(np.mean(values))

    assert contrast(0) > 1.15 * max(contrast(10), contrast(-10))


@pytest.mark.long
def test_malignant_masses_shadow_and_benign_ones_enhance(studies: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    behind: dict[str, list[float]] = {"benign": [], "malignant": []}
    for finding, image, mask in studies:
        if finding == "normal":
            continue
        columns = mask.any(axis=0)
        bottom = int(np.flatnonzero(mask.any(axis=1))[-1]) + 3
        strip = image[bottom : bottom + 12]
        if len(strip) > 4 and 5 < columns.sum() < columns.size - 10:
            behind[finding].append(float(strip[:, columns].mean() - strip[:, ~columns].mean()))
    assert np.mean(behind["malignant"]) < -10 < 0 < np.mean(behind["benign"])


@pytest.mark.long
def test_no_simple_number_solves_the_task(studies: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    malignant = np.array([finding == "malignant" for finding, _, _ in studies])
    numbers = {
        "mean": [image.mean() for _, image, _ in studies],
        "standard deviation": [image.std() for _, image, _ in studies],
        "dark pixels": [(image < 25).mean() for _, image, _ in studies],
        "area of the mass": [mask.mean() for _, _, mask in studies],
        "rows": [len(image) for _, image, _ in studies],
        "columns": [image.shape[1] for _, image, _ in studies],
    }
    aucs = {name: roc_auc_score(malignant, values) for name, values in numbers.items()}
    assert max(max(auc, 1 - auc) for auc in aucs.values()) < 0.82, aucs
    for name in ("rows", "columns"):
        assert abs(aucs[name] - 0.5) < 0.08, aucs


@pytest.mark.long
def test_masses_differ_in_shape_as_the_descriptors_say(studies: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Taller than wide and irregular speak for malignancy without proving it."""
    aspect, solidity, malignant = [], [], []
    for finding, _, mask in studies:
        if finding == "normal":
            continue
        rows, columns = np.nonzero(mask)
        aspect.append((np.ptp(rows) + 1) / (np.ptp(columns) + 1))
        boundary = mask[1:-1, 1:-1] & ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
        solidity.append(boundary.sum() ** 2 / mask.sum())
        malignant.append(finding == "malignant")
    assert 0.7 < roc_auc_score(malignant, aspect) < 0.93
    assert 0.65 < roc_auc_score(malignant, solidity) < 0.97
