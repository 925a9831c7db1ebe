"""One real CT as DICOM (JPEG 2000), as a rewritten series, as NIfTI and as NRRD: the same upright slices."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from monai.transforms import Compose
from registry_images import TOTALSEGMENTATOR, fetch_sdist_files
from written_series import write_nifti, write_nrrd, write_series

from radimagenet_monai.intensity import CTWindowd
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ct_folder():
    prefix = "tests/reference_files/example_ct_dicom"
    return fetch_sdist_files(*TOTALSEGMENTATOR, [prefix]) / prefix


@pytest.fixture(scope="module")
def ct(ct_folder):
    """The stored voxels (x, y, z) and the RAS affine, by pydicom alone."""
    slices = [pydicom.dcmread(path) for path in ct_folder.iterdir()]
    slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    first, last = slices[0], slices[-1]
    voxels = np.stack([dataset.pixel_array.T for dataset in slices], axis=2).astype(np.int16)
    column, row = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    origin, end = (np.array(dataset.ImagePositionPatient, float) for dataset in (first, last))
    lps = np.eye(4)
    lps[:3, 0] = column * float(first.PixelSpacing[1])
    lps[:3, 1] = row * float(first.PixelSpacing[0])
    lps[:3, 2] = (end - origin) / (len(slices) - 1)
    lps[:3, 3] = origin
    return voxels, np.diag([-1, -1, 1, 1]) @ lps


@pytest.fixture(scope="module")
def as_read(ct_folder):
    return read_image(ct_folder)


def test_the_series_is_upright_and_from_feet_to_head(as_read, ct):
    voxels, _ = ct
    assert as_read.pixels.shape == (20, 512, 512)
    assert as_read.modality == "CT"
    np.testing.assert_array_equal(as_read.pixels, voxels.transpose(2, 1, 0))
    positions = [float(header.ImagePositionPatient[2]) for header in as_read.headers]
    assert positions == sorted(positions)


def test_the_patient_lies_on_the_table(as_read):
    """Nothing but anatomy: the table, below the patient's back, is denser than the air above the belly."""
    hounsfield = as_read.pixels * float(as_read.headers[0].RescaleSlope) + float(as_read.headers[0].RescaleIntercept)
    above, below = hounsfield[:, :60].mean(), hounsfield[:, -60:].mean()
    assert above < -900
    assert below > above + 20


@pytest.mark.parametrize("form", ["nifti", "nifti of another order", "nrrd", "nrrd of another order", "series"])
def test_every_form_gives_the_same_slices(tmp_path, as_read, ct, form):
    voxels, affine = ct
    if "another order" in form:
        # As a converter may store it: left to right, back to front.
        voxels = voxels[::-1, ::-1]
        corner = affine @ [511, 511, 0, 1]
        affine = affine @ np.diag([-1, -1, 1, 1])
        affine[:, 3] = corner
    if form.startswith("nifti"):
        image = read_image(write_nifti(tmp_path / "ct.nii.gz", voxels, affine))
    elif form.startswith("nrrd"):
        image = read_image(write_nrrd(tmp_path / "ct.nrrd", voxels, affine, compression="other" in form))
    else:
        image = read_image(write_series(tmp_path / "ct", voxels, affine))
    np.testing.assert_array_equal(image.pixels, as_read.pixels)
    assert image.spacing == pytest.approx(as_read.spacing, rel=1e-5)


@pytest.mark.parametrize("form", ["nifti", "nrrd", "series"])
def test_every_form_gives_the_same_canonical_slices(tmp_path, ct_folder, ct, form):
    """Through the reader as a MONAI transform and the CT policy, other forms already in Hounsfield units."""
    voxels, affine = ct
    first = pydicom.dcmread(next(iter(ct_folder.iterdir())), stop_before_pixels=True)
    hounsfield = (voxels * float(first.RescaleSlope) + float(first.RescaleIntercept)).astype(np.int16)
    path = {
        "nifti": lambda: write_nifti(tmp_path / "ct.nii.gz", hounsfield, affine),
        "nrrd": lambda: write_nrrd(tmp_path / "ct.nrrd", hounsfield, affine),
        "series": lambda: write_series(tmp_path / "ct", hounsfield, affine),  # slope 1, intercept 0
    }[form]()
    canonical = Compose([LoadNativeImaged("image"), CTWindowd("image", ["abdomen", "lung", "bone"])])
    for frame in (0, 7, 19):
        expected = canonical({"image": str(ct_folder), "frame": frame})["image"].numpy()
        found = canonical({"image": str(path), "frame": frame})["image"].numpy()
        assert expected.shape == (3, 512, 512)
        assert 0.05 < expected[0].mean() < 0.95
        np.testing.assert_array_equal(found, expected)
        assert not np.array_equal(found, expected[:, ::-1])
        assert not np.array_equal(found, expected[:, :, ::-1])


@pytest.mark.parametrize("axis", [0, 1], ids=["left-right", "up-down"])
@pytest.mark.parametrize("form", ["nifti", "nrrd", "series"])
def test_a_flipped_ct_is_noticed(tmp_path, as_read, ct, axis, form):
    voxels, affine = ct
    write = {"nifti": write_nifti, "nrrd": write_nrrd, "series": write_series}[form]
    suffix = {"nifti": ".nii", "nrrd": ".nrrd", "series": ""}[form]
    flipped = read_image(write(tmp_path / f"ct{suffix}", np.flip(voxels, axis)[:, :, :4], affine))
    assert not np.array_equal(flipped.pixels, as_read.pixels[:4])
    np.testing.assert_array_equal(np.flip(flipped.pixels, 2 - axis), as_read.pixels[:4])
