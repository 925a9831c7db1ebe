"""The plane of the slices, its affine, and the slices in another plane, against nibabel."""

from __future__ import annotations

from itertools import permutations

import nibabel as nib
import numpy as np
import pytest
from display_convention import shown
from written_series import dicom_slice, save, write_nifti, write_nrrd, write_series

from radimagenet_monai.core.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.io.geometry import PLANES, acquisition_axis
from radimagenet_monai.io.reader import count_frames, read_frame, read_image

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (6, 7, 4)


def volume(shape=SHAPE):
    """Every voxel its own value, so that no flip or transposition goes unseen."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def affine(order, signs, steps=(0.7, 0.9, 2.5)):
    matrix = np.zeros((3, 3))
    for voxel_axis, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[axis, voxel_axis] = sign
    full = np.eye(4)
    full[:3, :3] = matrix @ np.diag(steps)
    full[:3, 3] = (11, -22, 33)
    return full


def plane_of(matrix, axis):
    return {"L": "sagittal", "R": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}[
        nib.aff2axcodes(matrix)[axis]
    ]


def reordered(voxels, matrix):
    """The same volume as a converter stores it: voxel axes to the right, anterior and superior."""
    image = nib.as_closest_canonical(nib.Nifti1Image(voxels, matrix))
    return np.asarray(image.dataobj), image.affine


def places(image):
    """Value to LPS mm by the affine, for every pixel."""
    frames, rows, columns = image.pixels.shape
    frame, row, column = np.indices((frames, rows, columns)).reshape(3, -1)
    mm = image.affine @ np.stack([column, row, frame, np.ones_like(row)])
    return dict(zip(image.pixels.ravel().tolist(), map(tuple, mm[:3].T.round(3).tolist()), strict=True))


def places_by_nibabel(voxels, matrix):
    index = np.indices(voxels.shape).reshape(3, -1)
    mm = RAS_TO_LPS @ matrix @ np.vstack([index, np.ones(index.shape[1])])
    return dict(zip(voxels.ravel().tolist(), map(tuple, mm[:3].T.round(3).tolist()), strict=True))


@pytest.mark.parametrize("plane", ["acquired", *PLANES])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda order: "".join("xyz"[k] for k in order))
def test_series_nifti_and_nrrd_give_the_same_slices_in_every_plane(tmp_path, order, plane):
    for number, signs in enumerate([(1, 1, 1), (-1, 1, -1)]):
        matrix = affine(order, signs)
        acquired = plane_of(matrix, 2)
        folder = tmp_path / str(number)
        canonical, canonical_affine = reordered(volume(), matrix)
        folder.mkdir()
        files = (
            write_series(folder / "series", volume(), matrix),
            write_nifti(folder / "stored.nii", volume(), matrix),
            write_nrrd(folder / "stored.nrrd", volume(), matrix),
            write_nifti(folder / "reordered.nii.gz", canonical, canonical_affine),
            write_nrrd(folder / "reordered.nrrd", canonical, canonical_affine),
        )
        expected = shown(volume(), matrix, acquired if plane == "acquired" else plane)
        for file in files:
            image = read_image(file, plane)
            np.testing.assert_array_equal(image.pixels, expected, err_msg=f"{file} {signs}")
            assert image.plane == (acquired if plane == "acquired" else plane)
            assert places(image) == places_by_nibabel(volume(), matrix)
            if file.is_file():
                assert count_frames(file, plane) == len(expected)


@pytest.mark.parametrize(
    ("steps", "shape", "axis"),
    [
        ((4.0, 0.5, 0.5), (25, 64, 64), 0),
        ((0.5, 3.0, 0.5), (64, 64, 64), 1),
        ((1.0, 1.0, 1.0), (25, 64, 64), 0),
        ((1.0, 1.0, 1.0), (182, 218, 182), 2),
        ((0.78, 0.78, 0.8), (20, 64, 64), 0),
        ((0.5, 1.5, 1.0), (64, 64, 1), 2),
        ((1.0, 1.0, 1.0), (9, 9, 9), 2),
    ],
)
def test_the_acquisition_axis_is_that_of_the_largest_spacing_else_of_fewest_slices(steps, shape, axis):
    assert acquisition_axis(steps, shape) == axis


def test_a_header_that_names_its_slice_axis_decides_where_the_spacing_does_not(tmp_path):
    image = nib.Nifti1Image(volume((6, 5, 7)), np.diag([1.0, 1.0, 1.0, 1.0]))
    image.header.set_dim_info(freq=1, phase=2, slice=0)
    nib.save(image, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").plane == "sagittal"
    assert count_frames(tmp_path / "a.nii") == 6


def test_volumes_of_a_series_in_time_stay_together_in_every_plane(tmp_path):
    voxels = np.stack([volume(), volume() + 500], axis=3)
    nib.save(nib.Nifti1Image(voxels, affine((0, 1, 2), (1, 1, 1))), tmp_path / "a.nii")
    for plane in PLANES:
        image = read_image(tmp_path / "a.nii", plane)
        first = shown(voxels[..., 0], affine((0, 1, 2), (1, 1, 1)), plane)
        np.testing.assert_array_equal(image.pixels, np.concatenate([first, first + 500]))
        assert image.volumes == 2
        assert count_frames(tmp_path / "a.nii", plane) == len(image)


def test_stored_is_the_third_axis_as_release_0_1_read_it(tmp_path):
    matrix = affine((0, 1, 2), (1, 1, 1), steps=(4.0, 0.5, 0.5))
    write_nifti(tmp_path / "a.nii", volume(), matrix)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii", "stored").pixels, shown(volume(), matrix))
    assert len(read_image(tmp_path / "a.nii")) == SHAPE[0]


def test_a_slice_is_refused_in_another_plane_and_an_array_taken_at_its_word(tmp_path):
    path = save(
        dicom_slice(
            np.zeros((4, 4), np.int16),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 0],
            PixelSpacing=[1, 1],
        ),
        tmp_path / "a.dcm",
    )
    assert read_image(path).plane == "axial"
    assert read_image(path, "axial").plane == "axial"
    with pytest.raises(UnreadableImageError, match="coronal slices were asked for; its one slice is axial"):
        read_image(path, "coronal")
    np.save(tmp_path / "a.npy", volume())
    assert read_image(tmp_path / "a.npy").plane is None
    # Its user's word is all there is.
    assert read_frame(tmp_path / "a.npy", 0, "axial")[0].plane == "axial"
    save(dicom_slice(np.zeros((4, 4), np.int16)), tmp_path / "b.dcm")
    with pytest.raises(UnreadableImageError, match="does not say in which plane"):
        read_image(tmp_path / "b.dcm", "axial")
    with pytest.raises(ConfigurationError, match="axial, coronal, sagittal or acquired"):
        read_image(path, "oblique")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ImagePositionPatient": [0, 0, 7.5]}, "equally far apart"),
        ({"RescaleSlope": 2}, "RescaleSlope"),
        ({}, None),
    ],
)
def test_a_series_that_is_no_plain_stack_is_refused_in_another_plane(tmp_path, change, said):
    for number in range(4):
        elements = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, 2.0 * number],
            "PixelSpacing": [1, 1],
            "RescaleSlope": 1,
        }
        elements.update(change if number == 3 else {})
        save(dicom_slice(volume()[:, :, number], **elements), tmp_path / f"{number}.dcm")
    if said is None:
        image = read_image(tmp_path, "sagittal")
        assert image.pixels.shape == (7, 4, 6)
        assert image.headers[0].Rows == 4
        return
    with pytest.raises(UnreadableImageError, match=said):
        read_image(tmp_path, "sagittal")


def test_a_tilted_gantry_is_refused_in_another_plane(tmp_path):
    for number in range(4):
        save(
            dicom_slice(
                volume()[:, :, number],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0.5 * number, 2.0 * number],
                PixelSpacing=[1, 1],
            ),
            tmp_path / f"{number}.dcm",
        )
    assert read_image(tmp_path).affine is not None
    with pytest.raises(UnreadableImageError, match="gantry tilt"):
        read_image(tmp_path, "coronal")
