"""One random study in every format, order and orientation: the plane and the central slices agree."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from display_convention import shown
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from written_series import write_nifti, write_nrrd, write_series

from radimagenet_monai.datasets.records.slices import choose_of_volumes
from radimagenet_monai.io.frame_layout import frame_layout
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow

PLANE = {**dict.fromkeys("LR", "sagittal"), **dict.fromkeys("AP", "coronal"), **dict.fromkeys("SI", "axial")}


def numbered(folder: Path, number: int | None) -> Path:
    """The same series with one Instance Number for all, or without."""
    for file in folder.iterdir():
        dataset = dcmread(file)
        del dataset.InstanceNumber
        if number is not None:
            dataset.InstanceNumber = number
        dataset.save_as(file)
    return folder


@settings(max_examples=6, deadline=None)
@given(
    order=st.sampled_from(list(permutations(range(3)))),
    signs=st.tuples(*[st.sampled_from((1, -1))] * 3),
    slices=st.integers(3, 6),
    wanted=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_plane_and_central_slices_agree(tmp_path_factory, order, signs, slices, wanted, seed):
    folder = tmp_path_factory.mktemp("study")
    voxels = np.random.default_rng(seed).integers(0, 999, (7, 8, slices)).astype(np.int16)
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, (place, sign, step) in enumerate(zip(order, signs, (0.7, 0.9, 3.0), strict=True)):
        matrix[place, axis] = sign * step
    canonical = nib.as_closest_canonical(nib.Nifti1Image(voxels, matrix))
    files = [
        write_series(folder / "series", voxels, matrix, seed),
        numbered(write_series(folder / "constant", voxels, matrix, seed), 1),
        numbered(write_series(folder / "missing", voxels, matrix, seed), None),
        write_nifti(folder / "stored.nii.gz", voxels, matrix),
        write_nrrd(folder / "stored.nrrd", voxels, matrix),
        write_nifti(folder / "reordered.nii", np.asarray(canonical.dataobj), canonical.affine),
        write_nifti(folder / "4d.nii", np.stack([voxels, voxels + 1000], axis=3), matrix),
    ]
    plane = PLANE[nib.aff2axcodes(matrix)[2]]
    expected = shown(voxels, matrix)
    first = (slices - min(wanted, slices) + 1) // 2
    central = expected[first : first + min(wanted, slices)]
    for file in files:
        layout, image = frame_layout(file), read_image(file)
        assert (layout.plane, image.plane) == (plane, plane), file
        frames = choose_of_volumes(layout.volumes, f"central:{wanted}")
        volumes = [central, central + 1000] if file.name == "4d.nii" else [central]
        np.testing.assert_array_equal(image.pixels[frames], np.concatenate(volumes), err_msg=str(file))
