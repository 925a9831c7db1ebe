"""The way up: planes, flips, transpositions and slice order, as DICOM series, NIfTI and NRRD, against nibabel."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from display_convention import shown
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from written_series import dicom_slice, save, write_nifti, write_nrrd, write_series

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.geometry import series_normal, upright
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow

SHAPE = (5, 7, 4)
SIGNS = list(product((1, -1), repeat=3))
ORDERS = list(permutations(range(3)))
QUICK_ORDERS = [(0, 1, 2), (2, 0, 1)]


def affine(order, signs, tilt=0.0):
    """A RAS affine whose voxel axes run along the axes ``order`` with ``signs``, turned by ``tilt`` degrees."""
    matrix = np.zeros((3, 3))
    for voxel_axis, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[axis, voxel_axis] = sign
    angle = np.deg2rad(tilt)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    full = np.eye(4)
    full[:3, :3] = turn @ matrix @ np.diag([0.7, 0.9, 2.5])
    full[:3, 3] = (11, -22, 33)
    return full


def voxels():
    """Every voxel its own value, so that no flip or transposition goes unseen."""
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def three_formats(folder, volume, matrix):
    return (
        read_image(write_series(folder / "series", volume, matrix)),
        read_image(write_nifti(folder / "volume.nii.gz", volume, matrix)),
        read_image(write_nrrd(folder / "volume.nrrd", volume, matrix)),
    )


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(
            order, id="".join("xyz"[axis] for axis in order), marks=() if order in QUICK_ORDERS else pytest.mark.long
        )
        for order in ORDERS
    ],
)
def test_series_nifti_and_nrrd_of_any_orientation_are_shown_alike(tmp_path, order):
    for number, signs in enumerate(SIGNS):
        matrix = affine(order, signs, tilt=12)
        expected = shown(voxels(), matrix)
        for image in three_formats(tmp_path / str(number), voxels(), matrix):
            np.testing.assert_array_equal(image.pixels, expected, err_msg=f"{image.path} {signs}")
            steps = (0.9, 0.7) if expected.shape[1:] == (7, 5) else (0.7, 0.9)
            assert image.spacing == pytest.approx(steps, abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["left-right", "up-down", "slices"])
def test_a_flipped_volume_is_not_taken_for_the_same(tmp_path, axis):
    matrix = affine((0, 1, 2), (1, 1, 1))
    straight = three_formats(tmp_path / "straight", voxels(), matrix)
    flipped = three_formats(tmp_path / "flipped", np.flip(voxels(), axis), matrix)
    for one, other in zip(straight, flipped, strict=True):
        assert not np.array_equal(one.pixels, other.pixels)


def test_the_convention_spelled_out():
    """An axial, a coronal and a sagittal acquisition in words, without any helper."""
    x, y, z = np.eye(3)
    axial = upright(x, y, z)
    assert (axial.plane, axial.transpose, axial.flip_rows, axial.flip_columns, axial.flip_slices) == (
        "axial",
        False,
        False,
        False,
        False,
    )
    coronal = upright(x, -z, y)
    assert (coronal.plane, coronal.transpose, coronal.flip_rows, coronal.flip_columns) == (
        "coronal",
        False,
        False,
        False,
    )
    sagittal = upright(y, -z, x)
    assert (sagittal.plane, sagittal.transpose, sagittal.flip_rows, sagittal.flip_columns) == (
        "sagittal",
        False,
        False,
        False,
    )
    assert upright(-x, -y, z).flip_rows
    assert upright(-x, -y, z).flip_columns


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9))
def test_any_rotation_is_shown_as_nibabel_shows_it(numbers):
    basis, _ = np.linalg.qr(np.array(numbers).reshape(3, 3) + 1e-3 * np.eye(3))
    sizes = np.sort(np.abs(basis), axis=0)
    # Near 45 degrees two planes are equally near, and nibabel may take the other.
    if np.min(sizes[2] - sizes[1]) < 0.15:
        return
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([-1, -1, 1]) @ basis
    turn = upright(*basis.T)
    np.testing.assert_array_equal(turn.volume(voxels().transpose(2, 1, 0)), shown(voxels(), matrix))


@pytest.mark.parametrize(
    "steps",
    [
        ([0, 0, 0], [0, 1, 0], [0, 0, 1]),
        ([1, 0, 0], [1, 0, 0], [0, 0, 1]),
        ([np.nan, 0, 0], [0, 1, 0], [0, 0, 1]),
        ([1, 0, 0], [0, 1, 0], [1, 1, 0]),
    ],
)
def test_directions_that_span_no_space_are_refused(steps):
    with pytest.raises(ValueError, match="directions"):
        upright(*map(np.array, steps))


def test_the_normal_of_a_series_points_in_slice_order():
    np.testing.assert_allclose(series_normal(np.array([1, 0, 0, 0, -1, 0.0])), [0, 0, 1])
    np.testing.assert_allclose(series_normal(np.array([1, 0, 0, 0, 0, -1.0])), [0, 1, 0])
    np.testing.assert_allclose(series_normal(np.array([0, 1, 0, 0, 0, -1.0])), [1, 0, 0], atol=1e-12)


def test_headers_of_a_turned_slice_describe_the_turned_slice(tmp_path):
    """The position of a voxel in the patient, computed from the header, has to stay where it was."""
    pixels = np.arange(6 * 4, dtype=np.int16).reshape(6, 4)
    orientation = [0, -1, 0, -1, 0, 0]
    stored = dicom_slice(
        pixels, ImageOrientationPatient=orientation, ImagePositionPatient=[10, 20, 30], PixelSpacing=[2, 3]
    )
    image = read_image(save(stored, tmp_path / "turned.dcm"))
    header = image.headers[0]
    assert image.pixels.shape == (1, 4, 6)
    assert (header.Rows, header.Columns) == (4, 6)
    assert image.spacing == (3.0, 2.0)

    def places(dataset, values):
        column, row = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        origin = np.array(dataset.ImagePositionPatient, float)
        return {
            int(values[r, c]): tuple(np.round(origin + row * between_rows * r + column * between_columns * c, 6))
            for r, c in np.ndindex(values.shape)
        }

    assert places(header, image.pixels[0]) == places(dcmread(tmp_path / "turned.dcm"), pixels)


def test_slices_at_one_position_are_volumes_by_their_numbers(tmp_path):
    for number, value in ((1, 10), (2, 11), (3, 20), (4, 21)):
        dataset = dicom_slice(
            np.full((2, 2), value, np.int16),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 5.0 * (value // 10)],
            InstanceNumber=number,
        )
        save(dataset, tmp_path / f"{9 - number}.dcm")
    assert read_image(tmp_path).pixels[:, 0, 0].tolist() == [10, 20, 11, 21]
    assert read_image(tmp_path).volumes == 2
    # For tables of release 0.1, which counted both slices of one position before the next position.
    assert read_image(tmp_path, "stored").pixels[:, 0, 0].tolist() == [10, 11, 20, 21]


def test_without_positions_the_instance_number_decides(tmp_path):
    for number in (3, 1, 2):
        save(dicom_slice(np.full((2, 2), number, np.int16), InstanceNumber=number), tmp_path / f"{7 - number}.dcm")
    assert read_image(tmp_path).pixels[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "orientation", "said"),
    [((3, 3), [1, 0, 0, 0, 1, 0], "3 x 3"), ((4, 4), [1, 0, 0, 0, 0, -1], "localizer")],
)
def test_a_localizer_among_the_slices_is_named(tmp_path, shape, orientation, said):
    for number in range(3):
        dataset = dicom_slice(
            np.zeros((4, 4), np.int16),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, number],
        )
        save(dataset, tmp_path / f"{number}.dcm")
    odd = dicom_slice(np.zeros(shape, np.int16), ImageOrientationPatient=orientation, ImagePositionPatient=[0, 0, 9])
    save(odd, tmp_path / "odd.dcm")
    with pytest.raises(UnreadableImageError, match=said) as caught:
        read_image(tmp_path)
    assert caught.value.path.endswith("odd.dcm")
    assert caught.value.stage == "geometry"
