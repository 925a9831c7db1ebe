"""A client that knows a bundle's transforms and hands over a path gets every slice, and its mask back in place."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose
from PIL import Image
from written_series import write_nifti, write_nrrd, write_series

from radimagenet_monai.core.errors import IntensityError, RecordsError, UnreadableImageError
from radimagenet_monai.engine import AggregateSlicesd, AutocastInferer, RestoreMaskd
from radimagenet_monai.intensity import CTWindowd, UltrasoundLuminanced
from radimagenet_monai.io import LoadNativeImaged, read_image
from radimagenet_monai.io.voxels import frames_to_voxels
from radimagenet_monai.loading import EachSlice, NativeDataset, ResizeCanonicald
from radimagenet_monai.loading.whole_image import RESULT, USED_SLICES

pytestmark = pytest.mark.slow

AIR, LESION = -1000, 900


class Bright(torch.nn.Module):
    """Segments what is white: a network whose right answer is known."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        lesion = (images[:, :1] > 0.5).float() * 100
        return torch.cat([50 - lesion, lesion - 50], dim=1)


class Mean(torch.nn.Module):
    """Two classes by the mean of a slice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([1 - mean, mean], dim=1)


def preprocessing(size: tuple[int, int], **options: Any) -> Compose:
    steps = [
        LoadNativeImaged("image"),
        CTWindowd("image", windows=["abdomen"]),
        ResizeCanonicald("image", size, geometry_key="geometry"),
    ]
    return Compose([EachSlice(steps, **options)])


def as_a_client(path: Path, network: torch.nn.Module, before: Compose, after: Compose) -> dict[str, Any]:
    """What MONAI Label does with the four parts of a bundle."""
    data: dict[str, Any] = {"image": str(path)}
    for transform in list(before.transforms):
        data = transform(data)
    data["pred"] = AutocastInferer(amp=False, slices_at_once=2)(data["image"][None], network)[0]
    for transform in list(after.transforms):
        data = transform(data)
    return data


def softmax_and(step: Any) -> Compose:
    from monai.transforms import Activationsd

    return Compose(
        [Activationsd("pred", softmax=True, **({"dim": -1} if isinstance(step, AggregateSlicesd) else {})), step]
    )


def volume(order: tuple[int, ...], signs: tuple[int, ...], seed: int, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Random lesions (x, y, z), and an affine to RAS with a coarse last axis."""
    voxels = np.full((9, 8, 5), AIR, np.int16)
    voxels[np.random.default_rng(seed).random(voxels.shape) < 0.2] = LESION
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (place, sign, step) in enumerate(zip(order, signs, (0.8, 0.8, 3.0), strict=True)):
        matrix[place, axis] = sign * step
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    matrix = turn @ matrix
    matrix[:3, 3] = (12, -7, 30)
    return voxels, matrix


STUDIES = {
    "order": st.sampled_from(list(permutations(range(3)))),
    "signs": st.tuples(*[st.sampled_from((1, -1))] * 3),
    "seed": st.integers(0, 99),
    "tilt": st.sampled_from((0.0, 0.2)),
}


@settings(max_examples=12)
@given(plane=st.sampled_from(("acquired", "axial", "coronal", "sagittal")), **STUDIES)
def test_frames_return_to_the_voxels_of_the_file(tmp_path_factory, order, signs, seed, tilt, plane):
    voxels, affine = volume(order, signs, seed, tilt)
    voxels = np.arange(voxels.size, dtype=np.int16).reshape(voxels.shape)
    folder = tmp_path_factory.mktemp("volume")
    stored = nib.load(write_nifti(folder / "a.nii.gz", voxels, affine))
    for path in (folder / "a.nii.gz", write_nrrd(folder / "a.nrrd", voxels, affine)):
        image = read_image(path, plane)
        returned, ras = frames_to_voxels(image.pixels, image)
        np.testing.assert_array_equal(returned, np.asarray(stored.dataobj))
        np.testing.assert_allclose(ras, stored.affine, atol=1e-4)


@settings(max_examples=8)
@given(**STUDIES)
def test_the_mask_of_a_volume_lies_on_its_lesion(tmp_path_factory, order, signs, seed, tilt):
    """In the world of nibabel; a transposed or mirrored mask misses the voxels."""
    voxels, affine = volume(order, signs, seed, tilt)
    folder = tmp_path_factory.mktemp("study")
    after = softmax_and(RestoreMaskd("pred"))
    path = write_nifti(folder / "a.nii.gz", voxels, affine)
    rows, columns = read_image(path).pixels.shape[1:]
    found = as_a_client(path, Bright(), preprocessing((rows, columns)), after)
    mask = found["pred"]
    assert mask.shape == (1, *voxels.shape)
    np.testing.assert_array_equal(mask[0].numpy() > 0, voxels == LESION)
    np.testing.assert_allclose(mask.affine.numpy(), affine, atol=1e-4)

    series = write_series(folder / "series", voxels, affine, seed)
    found = as_a_client(series, Bright(), preprocessing((rows, columns)), after)["pred"]
    lesion = np.argwhere(voxels == LESION)
    world = nib.affines.apply_affine(affine, lesion)
    marked = nib.affines.apply_affine(found.affine.numpy(), np.argwhere(found[0].numpy() > 0))
    key = lambda points: sorted(map(tuple, points.round(2) + 0.0))  # noqa: E731
    assert key(marked) == key(world)


def test_one_answer_for_a_series_from_the_slices_that_the_rule_names(tmp_path: Path) -> None:
    voxels = np.stack([np.full((8, 8), value, np.int16) for value in (-1000, -50, 40, 120, 1000)], axis=2)
    path = write_nifti(tmp_path / "a.nii", voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    means = {
        rule: as_a_client(
            path, Mean(), preprocessing((8, 8), slices=rule), softmax_and(AggregateSlicesd("pred", "mean"))
        )
        for rule in ("all", "central:1", "central:3")
    }
    for rule, chosen in (("all", [0, 1, 2, 3, 4]), ("central:1", [2]), ("central:3", [1, 2, 3])):
        found = means[rule]
        assert found[USED_SLICES].places == chosen
        assert found[RESULT]["slices_used"] == len(chosen)
        single = [
            Compose(preprocessing((8, 8)).transforms)({"image": str(path), "frame": frame})["image"].mean()
            for frame in chosen
        ]
        expected = torch.stack([torch.softmax(torch.stack([1 - mean, mean]), 0) for mean in single]).mean(0)
        torch.testing.assert_close(found["pred"].as_tensor().float(), expected)
        assert found["pred"].array.shape == (2,)  # what MONAI Label's writer asks for


def test_a_picture_gives_a_mask_of_its_size(tmp_path: Path) -> None:
    pixels = np.zeros((30, 40), np.uint8)
    pixels[3:9, 20:34] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    steps = [
        LoadNativeImaged("image"),
        UltrasoundLuminanced("image", crop=None),
        ResizeCanonicald("image", (30, 40), geometry_key="geometry"),
    ]
    found = as_a_client(tmp_path / "a.png", Bright(), Compose([EachSlice(steps)]), softmax_and(RestoreMaskd("pred")))
    assert found["image"].shape == (1, 30, 40)
    np.testing.assert_array_equal(found["pred"][0, :, :, 0].numpy().T * 255, pixels)


def test_a_damaged_slice_is_counted_and_an_unusable_image_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voxels, affine = volume((0, 1, 2), (1, 1, 1), 0, 0.0)
    series = write_series(tmp_path / "series", voxels, affine)
    (before,) = preprocessing((8, 9)).transforms
    torn = sorted(series.iterdir())[2]
    data = torn.read_bytes()
    torn.write_bytes(data[: len(data) - 60])
    result = before({"image": str(series)})
    assert result["image"].shape[1] == 4
    assert sum(result[RESULT]["unreadable"].values()) == 1
    assert "1 of 5 slices" in caplog.text
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises((UnreadableImageError, RecordsError), match=r"text\.png"):
        before({"image": str(tmp_path / "text.png")})


def test_two_series_are_no_image(tmp_path: Path) -> None:
    voxels, affine = volume((0, 1, 2), (1, 1, 1), 0, 0.0)
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii", voxels, affine)
    with pytest.raises(RecordsError, match="holds 2 images or series"):
        preprocessing((8, 9)).transforms[0]({"image": str(tmp_path)})


@pytest.mark.parametrize("rule", ["all", "central:2"])
def test_no_frame_is_never_slice_zero_alone(tmp_path: Path, rule: str) -> None:
    """Of pictures of several pages and enhanced files too."""
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 90, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    steps = [LoadNativeImaged("image"), UltrasoundLuminanced("image", crop=None), ResizeCanonicald("image", 8)]
    found = EachSlice(steps, slices=rule)({"image": str(tmp_path / "a.tif")})
    assert found["image"].shape == (1, 3 if rule == "all" else 2, 8, 8)


def test_pixels_that_are_not_square_keep_their_place(tmp_path: Path) -> None:
    voxels = np.full((40, 24, 6), AIR, np.int16)
    voxels[8:20, 6:17, 2:4] = LESION
    path = write_nifti(tmp_path / "a.nii.gz", voxels, np.diag([-0.5, 0.9, 4.0, 1.0]))
    mask = (
        as_a_client(path, Bright(), preprocessing((64, 64)), softmax_and(RestoreMaskd("pred")))["pred"][0].numpy() > 0
    )
    lesion = voxels == LESION
    assert 2 * (mask & lesion).sum() / (mask.sum() + lesion.sum()) > 0.9
    assert not mask[:, :, [0, 1, 4, 5]].any()


@pytest.mark.parametrize("nested", [1, 2])
def test_a_stated_modality_is_checked_within_composed_transforms(tmp_path: Path, nested: int) -> None:
    """As deep as clients' transforms lie: ``Compose([EachSlice([...])])``."""
    steps: Any = EachSlice([LoadNativeImaged("image"), CTWindowd("image", windows=["lung"])])
    for _ in range(nested):
        steps = Compose([steps])
    records = [{"image": str(tmp_path / "a.png"), "modality": "MR"}]
    with pytest.raises(IntensityError, match="the column 'modality' says MR"):
        NativeDataset(records, steps, (1, 8, 8), image_size=8)
