"""The synthetic knee: MRNet's layout, NIfTI beside it, and tears that are where they belong and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.mrnet import DATASET_FOLDER, PLANES, read_mrnet
from radimagenet_monai.intensity import MRPercentiled
from radimagenet_monai.io.reader import read_image
from radimagenet_monai.io.transforms import LoadNativeImaged
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.phantoms.anatomy.knee import _DEPTH, _HALF_FIELD, Knee, Plane, draw_knee, image_knee
from radimagenet_monai.phantoms.mr_nifti import write_mr_nifti_phantom
from radimagenet_monai.phantoms.mrnet import exam_place, stored_series, write_mrnet_phantom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom("mrnet", tmp_path_factory.mktemp("mrnet"), patients=40, seed=1, size=32, progress=False)


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom("mr_nifti", tmp_path_factory.mktemp("nifti"), patients=6, seed=1, size=48, progress=False)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.n*"))
    }


def test_layout_is_that_of_mrnet(written: Path) -> None:
    folder = written / DATASET_FOLDER
    assert "not patients" in (written / "README.txt").read_text()
    parts = {"train": range(32), "valid": range(1130, 1138)}
    for part, exams in parts.items():
        for plane in PLANES:
            assert sorted(path.name for path in (folder / part / plane).iterdir()) == [f"{e:04d}.npy" for e in exams]
        for target in ("acl", "meniscus", "abnormal"):
            lines = (folder / f"{part}-{target}.csv").read_text().splitlines()
            assert [line.split(",")[0] for line in lines] == [f"{exam:04d}" for exam in exams]
            assert {line.split(",")[1] for line in lines} == {"0", "1"}
    counts = set()
    for path in folder.rglob("*.npy"):
        array = np.load(path)
        assert (array.dtype, array.shape[1:]) == (np.uint8, (32, 32))
        assert array.max() == 255
        counts.add(array.shape[0])
    assert min(counts) >= 12
    assert max(counts) <= 20
    assert len(counts) > 4


def test_the_reader_takes_it(written: Path) -> None:
    for target in ("acl", "meniscus", "abnormal"):
        frame = read_mrnet(written, target=target, progress=False)
        assert frame.attrs["notes"] == ["40 series have slices of another size than 256 x 256"]
        assert frame["exam"].nunique() == 40
        assert frame.groupby("split")["label"].nunique().to_dict() == {"train": 2, "validation": 2, "test": 2}


def test_an_exam_is_a_function_of_seed_and_number(written: Path, tmp_path: Path) -> None:
    fewer = write_mrnet_phantom(tmp_path, 10, seed=1, size=32, planes="sagittal", workers=2, progress=False)
    more = digests(written)
    assert len(digests(fewer)) == 10
    for name, digest in digests(fewer).items():
        assert more[name] == digest
    assert (image_knee(draw_knee(1, 0), "axial", 32)[:12] != image_knee(draw_knee(2, 0), "axial", 32)[:12]).any()


def test_exam_numbers_are_mrnets() -> None:
    places = [exam_place(number) for number in range(1412)]
    assert len(set(places)) == 1412
    assert max(exam for part, exam in places if part == "train") == 1129
    assert min(exam for part, exam in places if part == "valid") == 1130


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tears_come_in_their_shares_and_independently(seed: int) -> None:
    knees = [draw_knee(seed, number) for number in range(400)]
    acl, meniscus = (np.array([getattr(knee, name) for knee in knees]) for name in ("acl_tear", "meniscal_tear"))
    assert acl.mean() == pytest.approx(0.35, abs=0.02)
    assert meniscus.mean() == pytest.approx(0.45, abs=0.02)
    assert abs(np.corrcoef(acl, meniscus)[0, 1]) < 0.1
    assert acl[:12].any()
    assert not acl[:12].all()
    assert all(knee.is_abnormal for knee in knees if knee.acl_tear or knee.meniscal_tear)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": 4}, "patients 4 and size 256 were given; expected 5 to 1412"),
        ({"patients": 1413}, "patients 1413"),
        ({"size": 8}, "size 8"),
        ({"planes": "sagittal,oblique"}, "planes 'sagittal,oblique' were given; expected some of axial"),
    ],
)
def test_impossible_requests_leave_nothing(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_mrnet_phantom(tmp_path / "out", **options)
    with pytest.raises(ConfigurationError):
        write_mr_nifti_phantom(tmp_path / "out", patients=0)
    assert not (tmp_path / "out").exists()


def change_of(finding: str) -> tuple[np.ndarray, ...]:
    """How much a tear changes sagittal images, by slice (12), above to below (64) and front to back (64)."""
    changes = []
    for number in range(8):
        # The knee is abnormal either way, so that the frequency of an effusion is the same.
        knees = (
            Knee(7, number, **{"acl_tear": False, "meniscal_tear": False, finding: torn}, other_finding=True)
            for torn in (False, True)
        )
        without, torn = (image_knee(knee, "sagittal", 64) for knee in knees)
        slices = np.linspace(0, len(without) - 1, 12).round().astype(int)
        changes.append(np.abs(torn - without)[slices] > 0.25)
    share = np.mean(changes, axis=0)
    return share.sum(axis=(1, 2)), share.sum(axis=(0, 2)), share.sum(axis=(0, 1))


@pytest.mark.long
def test_a_torn_ligament_shows_in_the_notch_at_the_middle() -> None:
    by_slice, by_row, by_column = change_of("acl_tear")
    assert by_slice[4:8].sum() > 0.6 * by_slice.sum()
    assert by_row[22:42].sum() > 0.6 * by_row.sum()
    assert by_column[22:44].sum() > 0.6 * by_column.sum()


@pytest.mark.long
def test_a_torn_meniscus_shows_beside_the_middle_and_behind() -> None:
    by_slice, by_row, by_column = change_of("meniscal_tear")
    assert by_slice[[1, 2, 3, 4, 7, 8, 9, 10]].sum() > 0.8 * by_slice.sum()
    assert by_row[28:44].sum() > 0.7 * by_row.sum()
    assert by_column[34:].sum() > 3 * by_column[:30].sum()


@pytest.mark.long
def test_planes_show_the_same_knee() -> None:
    """Points of the knee have much the same gray in each plane, and not when an axis is reversed."""
    knee = draw_knee(0, 3)
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (3, 5000))  # x to the back, y down, z across

    def sampled(plane: Plane, order: str, **signs: int) -> np.ndarray:
        volume = gaussian_filter(image_knee(knee, plane, 64), (0, 1.5, 1.5))
        half = (_DEPTH[plane], _HALF_FIELD, _HALF_FIELD)
        places = [points["xyz".index(axis)] * signs.get(axis, 1) for axis in order]
        at = [(place / h + 1) / 2 * (n - 1) for place, h, n in zip(places, half, volume.shape, strict=True)]
        return map_coordinates(volume, at, order=1)

    sagittal = sampled("sagittal", "zyx")
    for plane, order in (("coronal", "xyz"), ("axial", "yxz")):
        likeness = np.corrcoef(sagittal, sampled(plane, order))[0, 1]
        assert likeness > 0.5
        for axis in "xy":
            assert likeness > np.corrcoef(sagittal, sampled(plane, order, **{axis: -1}))[0, 1] + 0.25


@pytest.mark.long
def test_no_simple_number_of_a_slice_tells_a_tear() -> None:
    """Means, spreads and bright voxels of the central slices leave most of the task to shape and place."""
    numbers: dict[str, list[float]] = {"mean": [], "standard deviation": [], "bright": [], "slices": []}
    tears = []
    for number in range(80):
        knee = draw_knee(5, number)
        volume = stored_series(knee, "sagittal", 32).astype(float)
        central = volume[len(volume) // 2 - 2 : len(volume) // 2 + 3]
        numbers["mean"].append(central.mean())
        numbers["standard deviation"].append(central.std())
        numbers["bright"].append((central > 190).mean())
        numbers["slices"].append(len(volume))
        tears.append((knee.acl_tear, knee.meniscal_tear))
    for target in np.array(tears).T:
        aucs = {name: roc_auc_score(target, values) for name, values in numbers.items()}
        assert max(max(auc, 1 - auc) for auc in aucs.values()) < 0.75, aucs


def test_the_intensity_policy_takes_the_arrays(written: Path) -> None:
    path = written / DATASET_FOLDER / "train/sagittal/0003.npy"
    volume = np.load(path).astype(float)
    item = LoadNativeImaged("image")({"image": str(path), "frame": 7})
    image = np.asarray(MRPercentiled("image")(item)["image"])
    assert image.shape == (1, 32, 32)
    low, high = np.percentile(volume, [1, 99])
    np.testing.assert_allclose(image[0], np.clip((volume[7] - low) / (high - low), 0, 1), atol=1e-6)


def test_nifti_volumes_are_upright_and_in_millimeters(nifti: Path) -> None:
    """What nibabel and our reader make of a file is the knee that was written."""
    path = nifti / "volumes/knee_0004b.nii.gz"
    expected = np.round(np.clip(image_knee(draw_knee(1, 9), "sagittal", 48), 0, 1.5) * 1000)
    image = nib.load(path)
    assert nib.aff2axcodes(image.affine) == ("P", "I", "L")
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms()[:2], 160 / 48, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), expected)
    native = read_image(path)
    assert len(native) == len(expected)
    frames = native.pixels if np.array_equal(native.pixels[0], expected[0]) else native.pixels[::-1]
    np.testing.assert_array_equal(frames, expected)


def test_the_table_beside_the_volumes(nifti: Path) -> None:
    lines = (nifti / "table.csv").read_text().splitlines()
    assert lines[0] == "image,label,patient"
    rows = [line.split(",") for line in lines[1:]]
    assert len(rows) == 7
    assert [row[2] for row in rows].count("knee-0004") == 2
    assert all((nifti / row[0]).exists() for row in rows)
    labels = [("no tear", "tear")[draw_knee(1, 2 * patient).acl_tear] for patient in range(6)]
    assert [row[1] for row in rows if row[0].endswith("a.nii.gz")] == labels


def test_nifti_files_are_the_same_bytes_each_time(nifti: Path, tmp_path: Path) -> None:
    again = write_mr_nifti_phantom(tmp_path, patients=5, seed=1, size=48, progress=False)
    more = digests(nifti)
    assert len(digests(again)) == 6
    for name, digest in digests(again).items():
        assert more[name] == digest
