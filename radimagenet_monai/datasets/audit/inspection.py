"""Facts from reading an image file once: hashes, size, whether it is blank; in worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from pydicom.dataset import Dataset
from tqdm import tqdm

from radimagenet_monai.core.errors import IntensityError, RecordsError, UnreadableImageError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.workers import WorkerPool
from radimagenet_monai.datasets.audit.picture_hash import difference_hash, pack_hashes, thumbnail
from radimagenet_monai.intensity.checks.modality import POLICY_OF_MODALITY, stated_modality
from radimagenet_monai.intensity.checks.plausibility import (
    gray_levels,
    is_blank,
    questions_of_levels,
)
from radimagenet_monai.intensity.ct import CTWindow
from radimagenet_monai.intensity.mr import MRPercentile
from radimagenet_monai.intensity.policy import IntensityPolicy, as_rendered
from radimagenet_monai.intensity.radiograph import RadiographVOI
from radimagenet_monai.intensity.ultrasound import UltrasoundLuminance
from radimagenet_monai.intensity.values.grayscale import (
    Window,
    header_faults,
    is_inverted,
    is_padding,
    map_stored,
    modality_transform,
    padding_bounds,
    render_gray,
    voi_transform,
)
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.intensity.values.rendered import state_white
from radimagenet_monai.intensity.values.windows import WINDOWS
from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_frame

_FEW = 96  # images up to which this process is faster than starting workers
_SAMPLED = 200  # pixels along an axis sampled for gray levels
_TAILS = (0.5, 99.5)  # percentiles: a letter burned into a blank image is not content
_HOUNSFIELD = Window(*WINDOWS["abdomen"])
_POLICIES: dict[str, IntensityPolicy] = {
    "CT": CTWindow(),
    "MR": MRPercentile(),
    "US": UltrasoundLuminance(),
    "radiograph": RadiographVOI(allow_modality_mismatch=True),
}
_MR_SLICE = MRPercentile(scope="slice")
_AIR, _BONE = -500.0, 150.0  # a volume without a header that spans these values is taken for CT


@dataclass(frozen=True)
class FrameFacts:
    """Facts from reading one frame.

    Attributes
    ----------
    rows, columns
        Size in pixels.
    blank
        Whether the frame is blank by `radimagenet_monai.intensity.checks.plausibility.is_blank`, as in packing.
    digest
        16 bytes, equal for equal pixels regardless of file format, bit depth and number of equal color channels.
    hash
        32 bytes, one row of `radimagenet_monai.datasets.audit.picture_hash.pack_hashes`.
    thumbnail
        4096 bytes, `radimagenet_monai.datasets.audit.picture_hash.thumbnail`.
    questions
        Questions from `radimagenet_monai.intensity.checks.plausibility` about doubtful values.
    """

    rows: int
    columns: int
    blank: bool
    digest: bytes
    hash: bytes
    thumbnail: bytes
    questions: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """Facts from reading a file.

    Attributes
    ----------
    sha256
        Hash of its bytes, in hexadecimal; empty for a folder or a file that cannot be opened.
    frames
        For each requested frame its facts, or the reason why it cannot be read.
    """

    sha256: str
    frames: tuple[FrameFacts | str, ...]


Job = tuple[str, tuple[tuple[int, str], ...], str, str]
"""Path of a file or series folder; the frames wanted, from 0, each with the plane that it counts in (or ""); and the
modality and the white level that the records state, or ""."""


def inspect_files(jobs: Sequence[Job], workers: int, progress: bool = True) -> Iterator[FileFacts]:
    """Read files in worker processes; yields one result per job, in order.

    Raises
    ------
    RecordsError
        If a process dies, naming the file that it was reading.
    """
    images = sum(len(frames) for _, frames, *_ in jobs)
    few = workers <= 1 or images < _FEW
    bar = tqdm(total=images, desc="Reading images", unit="image", disable=None if progress else True)
    with bar, WorkerPool(_inspect, 0 if few else workers, len(jobs), _died) as pool:
        for facts in pool.map(jobs):
            yield facts
            bar.update(len(facts.frames))


def gray_picture(image: NativeImage, frame: int) -> np.ndarray:
    """Render a frame as a viewer shows it.

    DICOM images pass their modality LUT and VOI LUT or window (DICOM PS3.3 C.11). Hounsfield units without a window
    (CT; volumes and arrays that reach from air to bone) get the abdominal one, 50/400 HU. Eight-bit pictures are
    unchanged; other values are stretched from their 0.5th to their 99.5th percentile.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` uint8, luminance if the frame is in color.
    """
    gray = _luminance(image, frame)
    return _shown(image, frame, gray, _levels(gray))


def _died(job: Job, how: str) -> RecordsError:
    return RecordsError(
        f"'{job[0]}': the process that was reading it {how}; take the image out of the table, or use fewer workers if "
        "memory ran out"
    )


def _inspect(job: Job, _: None) -> FileFacts:
    path, frames, modality, white = job
    try:
        sha256 = "" if Path(path).is_dir() else file_digest(path)
    except OSError as error:
        return FileFacts("", (f"open: {error.strerror or type(error).__name__}",) * len(frames))
    return FileFacts(sha256, tuple(_inspect_frame(path, *frame, modality, white) for frame in frames))


def _inspect_frame(path: str, frame: int, plane: str, modality: str, white: str) -> FrameFacts | str:
    try:
        image, frame = read_frame(path, frame, cast(PlaneChoice, plane or "acquired"))
    except UnreadableImageError as error:
        return f"{error.stage}: {error.cause}"
    except MemoryError:
        return "decode: memory ran out"
    gray = _luminance(image, frame)
    levels = _levels(gray)
    picture = _shown(image, frame, gray, levels)
    state_white(image, float(white) if white else None)
    blank, questions = _looked_at(image, frame, modality)
    return FrameFacts(
        rows=gray.shape[0],
        columns=gray.shape[1],
        blank=blank,
        digest=_digest(gray),
        hash=pack_hashes(difference_hash(picture)[None]).tobytes(),
        thumbnail=thumbnail(picture).tobytes(),
        questions=questions,
    )


def _luminance(image: NativeImage, frame: int) -> np.ndarray:
    """``(rows, columns)`` stored values; equal color channels give the channel itself."""
    pixels = image.pixels[frame]
    if not image.is_color:
        return pixels
    if image.headers and str(image.headers[frame].get("PhotometricInterpretation", "")).startswith("YBR"):
        return pixels[..., 0]
    if pixels.dtype in (np.uint8, np.uint16):
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))
    return np.asarray(pixels.mean(axis=-1, dtype=np.float64), np.float32)


def _shown(image: NativeImage, frame: int, gray: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    if image.source == "dicom" and not image.is_color:
        try:
            with header_faults(image.path):
                rendered = _rendered(gray, image.headers[frame])
        except UnreadableImageError:
            rendered = None  # a damaged window does not affect the pixels
        if rendered is not None:
            return _eight_bits(rendered)
        picture = _stretched(gray, levels)
        return 255 - picture if is_inverted(image.headers[frame]) else picture
    if image.source in ("volume", "array") and levels[0] <= _AIR and levels[1] >= _BONE:
        return _eight_bits(_HOUNSFIELD(np.nan_to_num(gray, nan=_AIR)))
    return _stretched(gray, levels)


def _rendered(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """``(rows, columns)`` in [0, 1] rendered by the header, or ``None`` if it gives no instructions."""
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return color_luminance(stored, header)
    if voi_transform(header) is not None:
        return render_gray(stored, header, "values")
    if header.get("Modality") != "CT":
        return None
    hounsfield, bounds = modality_transform(header), padding_bounds(header)
    return map_stored(stored, lambda values: np.where(is_padding(values, bounds), 0, _HOUNSFIELD(hounsfield(values))))


def _eight_bits(rendered: np.ndarray) -> np.ndarray:
    return np.rint(255 * rendered).astype(np.uint8)


def _levels(gray: np.ndarray) -> tuple[float, float]:
    """The range that holds 99 % of a sample of the pixels; NaN and infinities are excluded."""
    sample = gray[:: max(1, gray.shape[0] // _SAMPLED), :: max(1, gray.shape[1] // _SAMPLED)]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0
    low, high = np.percentile(sample, _TAILS)
    return float(low), float(high)


def _stretched(gray: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    if gray.dtype == np.uint8:
        return gray
    low, high = levels
    scale = 1 / (high - low) if high > low else 0.0
    shown = np.nan_to_num((gray.astype(np.float32) - low) * scale, nan=0.0, posinf=1.0, neginf=0.0)
    return _eight_bits(np.clip(shown, 0, 1))


def _looked_at(image: NativeImage, frame: int, modality: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the canonical image of a frame is blank, and what is doubtful about it whatever the task's window."""
    stated = POLICY_OF_MODALITY.get(stated_modality(image) or "", "radiograph") if image.source == "dicom" else modality
    policy = stated or ("" if image.source == "picture" else "MR")
    try:
        with header_faults(image.path):
            if not policy:
                canonical = as_rendered(image, frame, "")
            elif policy == "MR" and image.source == "dicom" and len(image) == 1:
                canonical = _MR_SLICE.canonical(image, frame)  # each process would have to read the whole series
            else:
                canonical = _POLICIES[policy].canonical(image, frame)
    except (IntensityError, UnreadableImageError) as error:
        # The pixels can be compared although the policies refuse the image.
        return False, (*image.notes, f"no intensity policy takes it: {str(error).removeprefix(f'{image.path}: ')}")
    levels = gray_levels(canonical.pixels[0])
    if is_blank(levels):
        return True, image.notes
    asked = [] if policy in ("CT", "MR") else questions_of_levels(levels)
    return False, tuple(dict.fromkeys((*image.notes, *canonical.questions, *asked)))


def _digest(gray: np.ndarray) -> bytes:
    values = gray
    if values.dtype.kind == "f":
        whole = values.astype(np.int32) if np.abs(values).max(initial=0) < 2**31 else None
        if whole is not None and np.array_equal(whole, values):
            values = whole
    if values.dtype.kind in "iu" and values.dtype != np.uint8:
        small = values.size and values.min() >= 0 and values.max() < 256
        values = values.astype(np.uint8 if small else np.int64)
    header = f"{values.dtype.kind} {values.shape}".encode()
    return hashlib.blake2b(header + np.ascontiguousarray(values).tobytes(), digest_size=16).digest()
