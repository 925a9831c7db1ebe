"""The DICOM files of pydicom and pydicom-data, and the canonical image that pydicom's functions make of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path

import data_store
import numpy as np
import pydicom
import reference as truth
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import ImplicitVRLittleEndian

from radimagenet_monai.core.errors import RadImageNetError, UnreadableImageError
from radimagenet_monai.intensity import AutoIntensityd, CanonicalRangeCheckd
from radimagenet_monai.intensity.checks.modality import POLICY_OF_MODALITY
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_image

ROOTS = {
    "pydicom": Path(pydicom.__file__).parent / "data" / "test_files",
    "pydicom-data": Path(data_store.__file__).parent / "data",
}
TABLE = Path(__file__).with_name("canonical_conformance.csv")


@functools.cache
def all_files() -> dict[str, Path]:
    """Path of every file that pydicom takes for DICOM with rows, by its name ``collection/path``."""
    files = {}
    for collection, root in ROOTS.items():
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            try:
                dataset = pydicom.dcmread(path, force=True, specific_tags=["Rows"])
            except Exception:  # pydicom documents no list of what a damaged file raises
                continue
            if "Rows" in dataset:
                files[f"{collection}/{path.relative_to(root).as_posix()}"] = path
    return files


@functools.lru_cache(maxsize=4)
def read_or_refuse(path: Path) -> NativeImage | RadImageNetError:
    try:
        return read_image(path)
    except UnreadableImageError as error:
        return error


def attempts(path: Path) -> Iterator[tuple[str, AutoIntensityd]]:
    """The header's own policy, and where it has none the one that shows the pixels all the same."""
    yield "auto", AutoIntensityd("image", ct={"windows": ["abdomen"]})
    header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    if header.get("Modality") not in POLICY_OF_MODALITY:
        expected = "radiograph" if header.PhotometricInterpretation.startswith("MONOCHROME") else "US"
        yield f"{expected}, mismatch allowed", AutoIntensityd("image", expected, True)


def canonical_row(name: str, policy: str, transform: AutoIntensityd, path: Path) -> dict[str, str]:
    """One row of the committed table."""
    row = {"file": name, "policy": policy, "outcome": "canonical", "intensity": "", "shape": "", "crop": "", "mean": ""}
    image = read_or_refuse(path)
    if isinstance(image, RadImageNetError):
        return row | {"outcome": f"{type(image).__name__} in reading"}
    try:
        tensor = CanonicalRangeCheckd("image")(transform({"image": image, "frame": 0}))["image"]
    except RadImageNetError as error:
        return row | {"outcome": type(error).__name__}
    return row | {
        "intensity": tensor.meta["intensity"],
        "shape": " ".join(map(str, tensor.shape)),
        "crop": " ".join(map(str, tensor.meta["crop"])),
        "mean": f"{float(tensor.double().mean()):.4f}",
    }


@functools.lru_cache(maxsize=4)
def decoded(path: Path) -> tuple[np.ndarray, Dataset]:
    """All frames as pydicom alone decodes them, and a data set that says what they are."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    frames = pixel_array(dataset, raw=True)
    if int(dataset.get("NumberOfFrames") or 1) == 1:
        frames = frames[np.newaxis]
    if dataset.PhotometricInterpretation in ("YBR_RCT", "YBR_ICT"):
        # The JPEG 2000 decoder undoes this transform itself.
        dataset = copy.deepcopy(dataset)
        dataset.PhotometricInterpretation = "RGB"
    return frames, dataset


def turned_like(frame: np.ndarray, upright: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """``shown`` turned as ``frame`` must be to become ``upright``: which of the eight turns is the reader's matter."""
    for transpose in (False, True):
        for flip in ((), (0,), (1,), (0, 1)):

            def turn(array: np.ndarray, transpose: bool = transpose, axes: tuple[int, ...] = flip) -> np.ndarray:
                return np.flip(array.swapaxes(0, 1) if transpose else array, axes)

            turned = turn(frame)
            if turned.shape == upright.shape and np.array_equal(turned, upright):
                return turn(shown)
    raise AssertionError("the reader's pixels are not pydicom's, turned")


def series_of(path: Path, dataset: Dataset) -> list[Path]:
    """The readable single-frame files beside ``path`` with its Series Instance UID."""
    found = []
    for sibling in all_files().values():
        if sibling.parent != path.parent:
            continue
        other = pydicom.dcmread(sibling, force=True, stop_before_pixels=True)
        if (
            other.get("SeriesInstanceUID") != dataset.get("SeriesInstanceUID")
            or int(other.get("NumberOfFrames") or 1) > 1
        ):
            continue
        if not isinstance(read_or_refuse(sibling), RadImageNetError):
            found.append(sibling)
    return found


def true_canonical(path: Path, policy: str, frame: int) -> np.ndarray:
    """The uncropped canonical image of one frame by `reference`, as stored, not turned."""
    frames, dataset = decoded(path)
    if policy == "CT":
        return truth.reference_ct(frames[frame], dataset, 50, 400)
    if policy == "US" or not dataset.PhotometricInterpretation.startswith("MONOCHROME"):
        return truth.reference_ultrasound(frames[frame], dataset)
    if policy == "radiograph":
        return truth.reference_radiograph(frames[frame], dataset)
    if len(frames) > 1:
        return truth.reference_mr(frames, [dataset] * len(frames), frame)
    siblings = series_of(path, dataset)
    slices = [(decoded(sibling)) for sibling in siblings]
    return truth.reference_mr(
        [pixels[0] for pixels, _ in slices], [header for _, header in slices], siblings.index(path)
    )
