"""Where a mask lies on its image. Truth is nibabel's, or the formula that drew the mask in millimeters."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.masks import item_mask, load_masks
from radimagenet_monai.intensity import CTWindowd
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.reader import read_frame, read_image

SHAPE = (20, 24, 7)  # to the right, anterior, superior
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, -12], [0, 0, 4, -50], [0, 0, 0, 1.0]])


def lesions() -> np.ndarray:
    """A lesion that differs in every slice; none in the first and the last."""
    mask = np.zeros(SHAPE, np.uint8)
    for number in range(1, SHAPE[2] - 1):
        mask[2 * number : 2 * number + 3, 3 : 5 + 2 * number, number] = 1
    return mask


def save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> str:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return str(path)


def image_of(voxels: np.ndarray) -> np.ndarray:
    """An image that shows the mask: 200 in the lesion and some noise."""
    noise = np.random.default_rng(0).integers(1, 100, voxels.shape)
    return (noise + 200 * voxels).astype(np.int16)


def shown(path: str, frame: int) -> np.ndarray:
    """The lesion as the image itself shows it."""
    image, number = read_frame(path, frame)
    return image.pixels[number] >= 200


def oriented(voxels: np.ndarray, affine: np.ndarray, codes: str) -> nib.Nifti1Image:
    """The same voxels at the same places, stored in another order; by nibabel."""
    image = nib.Nifti1Image(voxels, affine)
    start = nib.orientations.io_orientation(affine)
    end = nib.orientations.axcodes2ornt(tuple(codes))
    return image.as_reoriented(nib.orientations.ornt_transform(start, end))


def all_masks(image: str, mask: str) -> list[np.ndarray]:
    native = read_image(image)
    shape = (int(native.pixels.shape[1]), int(native.pixels.shape[2]))
    return [item_mask({"image": image, "mask": [mask], "frame": frame}, shape) for frame in range(len(native))]


@pytest.mark.parametrize("mask_codes", ["LPS", "RAS", "LAS", "PSL", "SRA"])
@pytest.mark.parametrize("image_codes", ["LPS", "RAS", "ASL"])
def test_slices_are_paired_by_place_in_every_storage_order(tmp_path: Path, image_codes: str, mask_codes: str) -> None:
    image = str(tmp_path / "i.nii.gz")
    mask = str(tmp_path / "m.nii.gz")
    nib.save(oriented(image_of(lesions()), AFFINE, image_codes), image)
    nib.save(oriented(lesions(), AFFINE, mask_codes), mask)
    found = all_masks(image, mask)
    assert sorted(int(part.sum()) for part in found) == sorted(lesions().sum(axis=(0, 1)).tolist())
    for frame, part in enumerate(found):
        np.testing.assert_array_equal(part, shown(image, frame))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_stated_plane_is_that_of_the_mask_too(tmp_path: Path, plane: str) -> None:
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    mask = save(tmp_path / "m.nii", lesions(), AFFINE)
    native = read_image(image, plane)
    for frame, pixels in enumerate(native.pixels):
        item = {"image": image, "mask": [mask], "frame": frame, "plane": plane}
        np.testing.assert_array_equal(item_mask(item, pixels.shape), pixels >= 200)


def test_a_finer_mask_is_resampled_as_nibabel_does(tmp_path: Path) -> None:
    """Nearest neighbor; steps of 1/3 leave no ties."""
    fine = AFFINE @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] -= fine[:3, :3] @ [-1.1, 0.7, 1.3]
    voxels = np.zeros((64, 70, 24), np.uint8)
    voxels[10:41, 15:52, 5:14] = 1
    image = save(tmp_path / "i.nii", np.ones(SHAPE, np.int16), AFFINE)
    mask = save(tmp_path / "m.nii", voxels, fine)
    expected = resample_from_to(nib.load(mask), (SHAPE, AFFINE), order=0).get_fdata() > 0
    assert 0 < expected.sum() < expected.size
    found = all_masks(image, mask)
    np.testing.assert_array_equal(np.stack(found), expected.transpose(2, 1, 0))


def test_a_cropped_mask_is_put_in_its_place(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [2, 3, 1, 1])[:3]
    mask = save(tmp_path / "m.nii", lesions()[2:16, 3:20, 1:6], affine)
    for frame, part in enumerate(all_masks(image, mask)):
        np.testing.assert_array_equal(part, shown(image, frame))


def test_one_slice_with_a_place_belongs_to_that_slice(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [0, 0, 4, 1])[:3]
    mask = save(tmp_path / "m.nii", lesions()[:, :, 4:5], affine)
    sums = [int(part.sum()) for part in all_masks(image, mask)]
    assert sums == [0, 0, 0, 0, int(lesions()[:, :, 4].sum()), 0, 0]


def test_a_mask_serves_every_volume_of_a_4d_image(tmp_path: Path) -> None:
    both = np.stack([image_of(lesions()), image_of(lesions()) + 1], axis=-1)
    image = save(tmp_path / "i.nii", both, AFFINE)
    one = save(tmp_path / "m.nii", lesions(), AFFINE)
    moved = np.stack([lesions(), lesions()[::-1]], axis=-1)
    two = save(tmp_path / "m2.nii", moved, AFFINE)
    single, double = all_masks(image, one), all_masks(image, two)
    assert len(single) == len(double) == 14
    for frame in range(7):
        np.testing.assert_array_equal(single[frame], shown(image, frame))
        np.testing.assert_array_equal(single[frame], single[frame + 7])
        np.testing.assert_array_equal(double[frame], shown(image, frame))
        np.testing.assert_array_equal(double[frame + 7], shown(image, frame)[:, ::-1])
    three = save(tmp_path / "m3.nii", np.stack([lesions()] * 3, axis=-1), AFFINE)
    with pytest.raises(UnreadableImageError, match="it has 3 volumes, its image 2"):
        all_masks(image, three)


def shifted(by: tuple[float, float, float]) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 3] += by
    return affine


@pytest.mark.parametrize(
    ("voxels", "affine", "reason"),
    [
        (lesions(), shifted((0, 0, 500)), "no pixel of it lies on its image"),
        (lesions(), shifted((0, -24, 0)), r"\d+% of its lesion lies off its image"),
        (lesions(), np.eye(4), "most likely its affine was lost"),
        (lesions(), np.diag([-1.0, -1, 1, 1]), "most likely its affine was lost"),
    ],
    ids=["elsewhere", "off the image", "no affine", "no affine, LPS"],
)
def test_a_mask_of_another_place_is_refused(
    tmp_path: Path, voxels: np.ndarray, affine: np.ndarray, reason: str
) -> None:
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    mask = save(tmp_path / "m.nii", voxels, affine)
    with pytest.raises(UnreadableImageError, match=rf"m\.nii: cannot be read \(geometry\): .*{reason}"):
        all_masks(image, mask)


def test_without_positions_frames_rows_and_columns_have_to_agree(tmp_path: Path) -> None:
    stack = lesions().transpose(2, 1, 0)
    np.save(tmp_path / "i.npy", image_of(stack))
    np.save(tmp_path / "m.npy", stack)
    image = str(tmp_path / "i.npy")
    for frame, part in enumerate(all_masks(image, str(tmp_path / "m.npy"))):
        np.testing.assert_array_equal(part, stack[frame].astype(bool))
    for name, wrong, reason in (
        ("fewer", stack[:5], r"it has 5 frame\(s\), its image 7; give a mask of the same slices"),
        ("one", stack[3], r"it has 1 frame\(s\), its image 7; if it was drawn on frame 7, .*'one\.npy#frame=7'"),
        ("turned", stack.transpose(0, 2, 1), "rows and columns are exchanged"),
        ("smaller", stack[:, :-1], "24 x 20; give a mask of the same size"),
    ):
        np.save(tmp_path / f"{name}.npy", wrong)
        with pytest.raises(UnreadableImageError, match=rf"{name}\.npy: cannot be read \(geometry\): .*{reason}"):
            all_masks(image, str(tmp_path / f"{name}.npy"))
    one = str(tmp_path / "one.npy#frame=3")
    assert [int(part.sum()) for part in all_masks(image, one)] == [0, 0, 0, int(stack[3].sum()), 0, 0, 0]


def test_positions_of_one_file_alone_pair_nothing_that_may_be_turned(tmp_path: Path) -> None:
    """A NIfTI file is turned upright by its affine, an array is not."""
    stack = np.ascontiguousarray(lesions().transpose(2, 1, 0))
    np.save(tmp_path / "stack.npy", stack)
    np.save(tmp_path / "image.npy", image_of(stack))
    turned = AFFINE @ np.diag([-1, 1, 1, 1])
    image = save(tmp_path / "turned.nii", image_of(lesions()), turned)
    for one, other in (
        (image, str(tmp_path / "stack.npy")),
        (str(tmp_path / "image.npy"), save(tmp_path / "m.nii", lesions(), turned)),
    ):
        with pytest.raises(UnreadableImageError, match="does not, so that one of them may be turned; give both"):
            all_masks(one, other)
        assert len(all_masks(one, f"{other}#positions=ignore")) == 7
    # Stored as it is shown, a file is turned by nothing.
    upright = save(tmp_path / "upright.nii", image_of(lesions()), AFFINE)
    for frame, part in enumerate(all_masks(upright, str(tmp_path / "stack.npy"))):
        np.testing.assert_array_equal(part, shown(upright, frame))
    for frame, part in enumerate(all_masks(str(tmp_path / "image.npy"), save(tmp_path / "u.nii", lesions(), AFFINE))):
        np.testing.assert_array_equal(part, stack[frame].astype(bool))


def test_files_without_positions_are_paired_as_nibabel_turns_them(tmp_path: Path) -> None:
    for name, voxels in (("i.nii", image_of(lesions())), ("m.nii", lesions())):
        volume = nib.Nifti1Image(voxels, None)
        volume.header.set_zooms((1, 1, 4))
        nib.save(volume, tmp_path / name)
    image, mask = str(tmp_path / "i.nii"), str(tmp_path / "m.nii")
    for frame, part in enumerate(all_masks(image, mask)):
        np.testing.assert_array_equal(part, shown(image, frame))
    with pytest.raises(UnreadableImageError, match="its image does state the position of its pixels and it does not"):
        all_masks(save(tmp_path / "placed.nii", image_of(lesions()), AFFINE), mask)


def test_a_record_of_a_volume_names_its_frame(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    mask = save(tmp_path / "m.nii", lesions(), AFFINE)
    with pytest.raises(UnreadableImageError, match="it has 7 frames and the record names none"):
        item_mask({"image": image, "mask": [mask]}, (24, 20))


def test_frames_have_no_default(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        load_masks(["m.nii"], (24, 20))  # type: ignore[call-arg]
    image = save(tmp_path / "i.nii", image_of(lesions()), AFFINE)
    with pytest.raises(UnreadableImageError, match="it has 7 frames and none was named; state which, counted from 0"):
        LoadNativeImaged("image")({"image": image})
    with pytest.raises(UnreadableImageError, match="it has 7 frames and none was named"):
        CTWindowd("image", windows="lung")({"image": read_image(image)})
