"""A segmentation of volumes trains on the mask of each slice and is scored against it. Truth is nibabel's."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bundle_runs import copy_bundle, run_workflow

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.datasets import load_datalist, prepare, read_records
from radimagenet_monai.loading import PackedDataset
from radimagenet_monai.store.packing import pack_records, task_preparation

pytestmark = pytest.mark.slow

TASK = "breast_mass_us_segmentation"
SIZE, SLICES = 64, 6
UPRIGHT = np.array([[-1.0, 0, 0, 20], [0, -1.0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]])  # LPS: slice k is voxels [..., k]


def lesion(number: int) -> np.ndarray:
    """Other pixels in every slice; none in the first and the last one, nor anywhere in volume 5."""
    mask = np.zeros((SIZE, SIZE, SLICES), np.uint8)
    for slice_number in range(1, SLICES - 1):
        first = 6 * slice_number + number
        mask[first : first + 8 + slice_number, 10 : 22 + 3 * slice_number + number, slice_number] = number != 5
    return mask


def reoriented(voxels: np.ndarray, codes: str) -> nib.Nifti1Image:
    image = nib.Nifti1Image(voxels, UPRIGHT)
    start = nib.orientations.io_orientation(UPRIGHT)
    return image.as_reoriented(nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(tuple(codes))))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine volumes with masks; of 1 and 2 image and mask are stored in other orders, RAS among them."""
    root = tmp_path_factory.mktemp("volumes")
    rows = []
    for number in range(9):
        mask = lesion(number)
        image = np.random.default_rng(number).uniform(20, 120, mask.shape) + 120 * mask
        of_image, of_mask = {1: ("RAS", "LPS"), 2: ("LPS", "RAS")}.get(number, ("LPS", "LPS"))
        nib.save(reoriented(image.clip(1, 255).astype(np.uint8), of_image), root / f"v{number}.nii.gz")
        nib.save(reoriented(mask * (255 if number == 3 else 1), of_mask), root / f"m{number}.nii.gz")
        rows.append(
            (f"v{number}.nii.gz", f"m{number}.nii.gz", f"p{number}", ("train", "validation", "test")[number % 3])
        )
    pd.DataFrame(rows, columns=["image", "mask", "patient", "split"]).to_csv(root / "t.csv", index=False)
    prepare("csv", root, root / "out", csv="t.csv", modality="US", progress=False)
    (root / "out" / "records.csv").rename(root / "records.csv")
    return root


def counted_by_nibabel(root: Path, image: str, frame: int) -> int:
    """Lesion pixels of the slice at the place of the frame, whatever the order of storage."""
    mask = nib.load(root / image.replace("v", "m", 1))
    upright = mask.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(mask.affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
        )
    )
    return int((np.asanyarray(upright.dataobj)[:, :, frame] > 0).sum())


def test_the_packed_mask_of_each_row_is_that_of_its_slice(volumes: Path, tmp_path: Path) -> None:
    records = read_records(volumes / "records.csv", require_label=False)
    assert len(records) == 9 * SLICES
    expected = [counted_by_nibabel(volumes, row.image, row.frame) for row in records.itertuples()]
    assert len(set(expected)) > SLICES
    assert expected.count(0) == 2 * 9 + 4
    transform, options = task_preparation(get_task(TASK))
    data = load_datalist(None, volumes, None, require_mask=True)
    dataset = PackedDataset(data, transform, tmp_path / "store", SIZE, num_workers=0, progress=False, **options)
    images = [np.asarray(dataset[row]["image"]) for row in range(len(dataset))]
    assert [int((image[-1] > 127).sum()) for image in images] == expected
    for image in images:  # the lesion is what is bright, in its very place
        np.testing.assert_array_equal(image[-1] > 127, image[0] > 130)


def test_training_and_scores_go_by_slice(volumes: Path, tmp_path: Path) -> None:
    bundle = copy_bundle(TASK, tmp_path)
    settings = {"architecture": "densenet121", "image_size": SIZE, "batch_size": 8, "num_workers": 0}
    run_workflow(bundle, "train", dataset_dir=str(volumes), max_epochs=1, **settings)
    run_workflow(bundle, "evaluate", dataset_dir=str(volumes), num_workers=0)
    scored = pd.read_csv(next(bundle.glob("output/**/predictions.csv")))
    assert len(scored) == 3 * SLICES
    expected = [counted_by_nibabel(volumes, row.file, row.frame) for row in scored.itertuples()]
    assert scored["reference_pixels"].tolist() == expected
    assert len(set(expected)) > SLICES
    assert expected.count(0) == 2 * 3 + 4
    assert scored["dice"].isna().tolist() == [count == 0 for count in expected]


def test_a_sealed_store_holds_the_masks_of_the_slices(volumes: Path, tmp_path: Path) -> None:
    pack_records(volumes, tmp_path / "store", SIZE, TASK, volumes, workers=0, blank="keep", progress=False)
    (part,) = tmp_path.glob("store/*/part-00000/images.npy")
    records = read_records(volumes / "records.csv", require_label=False)
    expected = [counted_by_nibabel(volumes, row.image, row.frame) for row in records.itertuples()]
    images = np.load(part)
    assert [int((image[..., -1] > 127).sum()) for image in images] == expected
