"""CT phantoms: DICOM as scanners write it, HU through our own reader and policies, findings where they belong."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.rsna_ich import SUBTYPES, read_rsna_ich
from radimagenet_monai.datasets.registry import read_dataset
from radimagenet_monai.intensity import CTWindowd
from radimagenet_monai.io.reader import read_frame, read_image
from radimagenet_monai.phantoms import PHANTOMS, write_phantom
from radimagenet_monai.phantoms.anatomy.chest_ct import simulate_chest
from radimagenet_monai.phantoms.anatomy.noise import even_share
from radimagenet_monai.phantoms.ct_dicom import SCANNERS, Scanner, Series, write_slice
from radimagenet_monai.phantoms.rsna_ich import simulate

pytestmark = pytest.mark.slow

SIZE, PATIENTS = 64, 12
NAMES = ("rsna_ich", "cc_ccii", "covid19_ct")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
        if path.suffix in (".dcm", ".png", ".jpg")
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ct")
    return {
        name: write_phantom(name, folder / name, patients=PATIENTS, seed=3, size=SIZE, slices=3, progress=False)
        for name in NAMES
    }


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_larger_set_holds_the_smaller(written: dict[str, Path], tmp_path: Path, name: str) -> None:
    fewer = write_phantom(name, tmp_path / "fewer", patients=3, seed=3, size=SIZE, slices=3, progress=False)
    more = digests(written[name])
    some = digests(fewer)
    assert some
    assert some.items() <= more.items()
    other = write_phantom(name, tmp_path / "other", patients=3, seed=4, size=SIZE, slices=3, progress=False)
    assert not set(digests(other).values()) & set(more.values())
    assert "phantoms" in (fewer / "README.txt").read_text()
    assert "not patients" in (fewer / "README.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"patients": 1}, {"slices": 0}, {"size": 8}])
def test_impossible_requests_leave_nothing(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    assert name in PHANTOMS
    with pytest.raises(ConfigurationError, match="were given; expected"):
        write_phantom(name, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.manufacturer)
def test_hounsfield_units_survive_every_scanner(tmp_path: Path, scanner: Scanner) -> None:
    """Against pydicom's own modality LUT."""
    hounsfield = np.linspace(-1000, 2900, 32 * 32).reshape(32, 32).round()
    series = Series(*("a", "P1", "M", 40, "HEAD", "test", scanner, ((40, 80), (600, 2800)), ("A", "B")), 1.5, 5.0, 5.0)
    write_slice(tmp_path / "a.dcm", hounsfield, series, 0)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    rescaled = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    inside = np.ones((32, 32), bool)
    if scanner.padding is not None:
        inside = dataset.pixel_array != dataset.PixelPaddingValue
        assert inside[16, 16]
        assert not inside[0, 0]
    assert (rescaled[inside] == hounsfield[inside]).all()
    assert len(dataset.WindowCenter) == 2
    image = read_image(tmp_path / "a.dcm")
    assert (image.pixels[0] == dataset.pixel_array).all(), "an axial slice is upright as it is"
    canonical = np.asarray(CTWindowd("image", windows=["brain"])({"image": image})["image"])[0]
    assert canonical[inside] == pytest.approx(np.clip(hounsfield[inside] / 80, 0, 1), abs=1e-6)
    assert (canonical[~inside] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_readers_and_policies_take_them(written: dict[str, Path], name: str) -> None:
    frame = read_dataset(name, written[name], folds=0, progress=False)
    assert [note for note in frame.attrs["notes"] if "Normal" not in note] == []
    task = next(task for task in TASKS.values() if task.dataset == name)
    options = dict(task.intensity)
    assert options.pop("name") == "CTWindowd"
    policy = CTWindowd("image", **options)
    for path, number in frame[["image", "frame"]].iloc[::5].itertuples(index=False):
        native, position = read_frame(written[name] / path, number)
        canonical = np.asarray(policy({"image": native, "frame": position})["image"])
        assert canonical.shape[0] == task.in_channels
        assert canonical.min() >= 0
        assert canonical.max() <= 1
        assert 0.1 < canonical[0].mean() < 0.8
        assert canonical[0].std() > 0.1


def test_ich_table_says_what_the_slices_show(written: dict[str, Path]) -> None:
    frame = read_rsna_ich(written["rsna_ich"], folds=0, progress=False)
    said = sorted(frame[["any", *SUBTYPES]].astype(int).itertuples(index=False, name=None))
    shown = []
    for number in range(1, PATIENTS + 1):
        _, blood = simulate(number, seed=3, size=SIZE, slices=3)
        shown += [(int(part.any()), *(int(kind.any()) for kind in part)) for part in blood]
    assert said == sorted(shown)
    scanners = {pydicom.dcmread(written["rsna_ich"] / path).Manufacturer for path in frame["image"]}
    assert len(scanners) > 2


def test_ich_quirks_are_those_of_the_challenge(tmp_path: Path) -> None:
    options = {"patients": 4, "seed": 3, "size": 32, "slices": 3, "progress": False}
    odd = write_phantom("rsna_ich", tmp_path / "odd", quirks=True, **options)
    table = pd.read_csv(next(odd.rglob("*.csv")))
    assert table.duplicated().sum() == 24
    labels = table.drop_duplicates().groupby("ID")["Label"].nunique()
    assert (labels == 2).sum() == 1


@pytest.fixture(scope="module")
def heads() -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair for number in range(1, 41) for pair in zip(*simulate(number, seed=5, size=80, slices=3), strict=True)]


@pytest.mark.long
def test_blood_is_dense_and_lies_where_its_name_says(heads: list[tuple[np.ndarray, np.ndarray]]) -> None:
    depth: dict[str, list[float]] = {subtype: [] for subtype in SUBTYPES}
    for image, blood in heads:
        within = ndimage.binary_fill_holes(image > 300)
        inner = within & (ndimage.gaussian_filter(image, 1) < 300)
        distance = ndimage.distance_transform_edt(inner)
        for subtype, mask in zip(SUBTYPES, blood, strict=True):
            if mask.sum() > 20:
                depth[subtype].append(float(distance[mask].mean()) * 235 / 80)
                clear = mask & (distance > 2)  # what touches the skull shares pixels with bone
                assert clear.sum() < 12 or 38 < np.median(image[clear]) < 85
    assert min(len(found) for found in depth.values()) >= 3
    means = {subtype: np.mean(found) for subtype, found in depth.items()}
    assert max(means["epidural"], means["subdural"]) < 9 < min(means["intraparenchymal"], means["intraventricular"]), (
        means
    )


@pytest.mark.long
def test_no_simple_number_finds_blood(heads: list[tuple[np.ndarray, np.ndarray]]) -> None:
    bleeds = [bool(blood.any()) for _, blood in heads]
    numbers = {
        "mean": [image.mean() for image, _ in heads],
        "brain window": [np.clip(image / 80, 0, 1).mean() for image, _ in heads],
        "bright": [(image > 45).mean() for image, _ in heads],
        "density of blood": [((image > 44) & (image < 76)).mean() for image, _ in heads],
        "deviation": [image.std() for image, _ in heads],
    }
    aucs = {name: roc_auc_score(bleeds, values) for name, values in numbers.items()}
    assert max(max(auc, 1 - auc) for auc in aucs.values()) < 0.88, aucs


@pytest.mark.long
def test_chest_has_the_densities_of_a_chest() -> None:
    for number in range(4):
        image, lesions, spacing = simulate_chest(np.random.default_rng(number), "none", 96, 3)
        assert image.shape == lesions.shape == (3, 96, 96)
        assert not lesions.any()
        assert 3 < spacing < 5
        lung = (image > -950) & (image < -700)
        assert 0.05 < lung.mean() < 0.5
        assert ((image > 0) & (image < 90)).mean() > 0.08
        assert (image > 200).any()
        assert (image[:, 0, 0] < -900).all()


@pytest.mark.long
def test_viral_findings_are_bilateral_and_peripheral_bacterial_ones_are_not() -> None:
    both, density = {}, {}
    for disease in ("viral", "bacterial"):
        sides, values = [], []
        for number in range(12):
            image, lesions, _ = simulate_chest(np.random.default_rng([number, 1]), disease, 64, 2)
            halves = lesions[:, :, :32].sum(), lesions[:, :, 32:].sum()
            sides.append(min(halves) > 0.1 * max(halves))
            values.append(float(np.median(image[lesions])) if lesions.any() else -500.0)
        both[disease], density[disease] = np.mean(sides), np.mean(values)
    assert both["viral"] > 0.55 > 0.45 > both["bacterial"]
    assert density["bacterial"] > density["viral"] + 100


def test_cc_ccii_pictures_differ_in_size_and_format(written: dict[str, Path]) -> None:
    files = [path for path in written["cc_ccii"].rglob("*.*") if path.suffix in (".png", ".jpg")]
    assert {path.suffix for path in files} == {".png", ".jpg"}
    pictures = [Image.open(path) for path in files]
    assert {picture.mode for picture in pictures} == {"L"}
    assert len({picture.size for picture in pictures}) > 5
    labels = {path.parts[-4] for path in files}
    assert labels == {"CP", "NCP", "Normal"}
    patients = [path.parts[-3] for path in sorted(files)]
    assert len({(path.parts[-4], path.parts[-3]) for path in files}) == len(set(patients))


def test_covid_series_are_sorted_by_position(written: dict[str, Path]) -> None:
    folders = sorted(path for path in (written["covid19_ct"] / "covid19_ct").iterdir() if path.is_dir())
    falling = 0
    for folder in folders:
        heights = [
            float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
            for path in sorted(folder.iterdir())
        ]
        falling += heights[0] > heights[-1]
        image = read_image(folder)
        positions = [float(header.ImagePositionPatient[2]) for header in image.headers]
        assert all(low < high for low, high in pairwise(positions))
    assert 0 < falling < len(folders)


@pytest.mark.long
def test_classes_come_in_their_shares() -> None:
    for seed in range(5):
        for count in (10, 40, 200):
            shares = [even_share(seed, number) for number in range(1, count + 1)]
            assert np.mean(np.array(shares) < 0.5) == pytest.approx(0.5, abs=1.5 / count + 0.02)
