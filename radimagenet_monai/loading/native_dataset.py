"""Native images without records, for inference."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from monai.transforms import Compose
from torch.utils.data import Dataset

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.datasets.masks.channel import AppendMaskd
from radimagenet_monai.datasets.readers.own_images import check_plane_option
from radimagenet_monai.datasets.records.slices import choose_of_volumes, choose_slices
from radimagenet_monai.datasets.records.table import frame_number
from radimagenet_monai.intensity.checks.plausibility import OTHER_BODY_PART
from radimagenet_monai.intensity.checks.stated_modality import require_fitting_modality
from radimagenet_monai.io.dicom.body_part import regions_in
from radimagenet_monai.io.dicom.header_facts import known_facts
from radimagenet_monai.io.dicom.series_kind import kind_against
from radimagenet_monai.io.discovery.left_out import LeftOut
from radimagenet_monai.io.discovery.survey import ImageItem, is_dicom, series_volumes, survey
from radimagenet_monai.io.frame_layout import frame_layout, plane_in_name
from radimagenet_monai.io.geometry import PLANES, PlaneChoice
from radimagenet_monai.loading.file_grid import without_mask
from radimagenet_monai.loading.random_steps import deterministic, split_where_random
from radimagenet_monai.loading.resize import CONTENT, QUESTIONS, SPACING, ResizeCanonicald
from radimagenet_monai.loading.sampler import SampleKey
from radimagenet_monai.store.packed_row import describe_failure

GEOMETRY = "geometry"
DOUBT = "doubt"
"""Key of an item: a doubt about the image before it is read, a sentence of `intensity.checks.plausibility`."""


class NativeImages(list[dict[str, Any]]):
    """What `list_native_images` found; in ``left_out``, by reason, what else there was; ``notes`` on what was found."""

    def __init__(
        self, images: Iterable[dict[str, Any]] = (), left_out: LeftOut | None = None, notes: Sequence[str] = ()
    ) -> None:
        super().__init__(images)
        self.left_out = LeftOut() if left_out is None else left_out
        self.notes = list(notes)


def list_native_images(
    root: str | os.PathLike[str],
    slices: str = "all",
    plane: str = "acquired",
    trained_plane: str | Sequence[str] | None = None,
    white: str | None = None,
    body_parts: Sequence[str] = (),
) -> NativeImages:
    """One dictionary for each frame of each image file below ``root``, or of that file.

    Empty for an empty ``root``: MONAI builds workflows without data to check them.

    Parameters
    ----------
    root
        A file or a folder.
    slices
        Rule of `choose_slices` for the slices of an exam that are used; it counts along the normal of the slices, in
        each volume of an exam of several.
    plane
        The plane of the slices, see `radimagenet_monai.io.read_image`. Slices that are files of their own and lie in
        another plane are left out.
    trained_plane
        The plane, or planes, that the model was trained on. With ``plane="acquired"``, images that were acquired in
        another one are left out.
    white
        The white level of the model's training data, which items then state under ``white_level``.
    body_parts
        Regions, of `radimagenet_monai.io.dicom.body_part.REGIONS`, that the model was made for. Items of DICOM images
        whose Body Part Examined names others only have a ``doubt``, which `NativeDataset` counts among their questions.

    Returns
    -------
    NativeImages
        Dictionaries with ``image`` (path), ``frame`` (int), ``exam`` (path): the file of many frames, or the first
        file of the DICOM series, that the image is a slice of; for any other image itself; and ``plane`` where it is
        known.

    Raises
    ------
    RecordsError
        If no image is found.
    UnreadableImageError
        If ``root`` does not exist.
    ConfigurationError
        For an unknown rule or plane.
    """
    if not root:
        choose_slices(1, slices)
        check_plane_option(plane)
        return NativeImages()
    images = find_native_images(root, slices, plane, trained_plane, white, body_parts)
    if not images:
        left_out = images.left_out
        noted = f"; {'; '.join(left_out.notes[:3])}" if left_out else ""
        raise RecordsError(
            f"'{os.fspath(root)}' holds no image; expected DICOM, NIfTI, NRRD, PNG, JPEG, TIFF or NPY{noted}"
        )
    return images


def find_native_images(
    root: str | os.PathLike[str],
    slices: str = "all",
    plane: str = "acquired",
    trained_plane: str | Sequence[str] | None = None,
    white: str | None = None,
    body_parts: Sequence[str] = (),
) -> NativeImages:
    """As `list_native_images`, but empty for a folder in which everything is left out.

    Raises
    ------
    UnreadableImageError
        If ``root`` does not exist.
    ConfigurationError
        For an unknown rule or plane.
    """
    choose_slices(1, slices)
    check_plane_option(plane)
    found, left_out = survey(root)
    notes = _notes_of_one(root, plane, trained_plane)
    exams: dict[str, list[list[dict[str, Any]]]] = {}
    listed = {item.path for item in found}
    taken: set[str] = set()
    for item in found:
        if item.path in taken:
            continue
        volumes = series_volumes(item.path) if item.frames == 1 else [[item.path]]
        volumes = [[path for path in volume if path in listed] for volume in volumes]
        taken.update(path for volume in volumes for path in volume)
        exam = next(path for volume in volumes for path in volume)
        if sum(map(len, volumes)) > 1:
            exams[exam] = [[{"image": path, "frame": 0} for path in volume] for volume in volumes if volume]
        else:
            exams[exam] = [[{"image": exam, "frame": frame} for frame in volume] for volume in _volumes_of(item, plane)]
    images = []
    for exam, members in exams.items():
        kept = []
        for volume in members:
            own, reason = _plane_and_reason_against(volume[0]["image"], plane, trained_plane)
            if reason is None:
                stated = {} if own is None else {"plane": own}
                kept.append([{**item, "exam": exam, **stated} for item in volume])
                continue
            for path in dict.fromkeys(item["image"] for item in volume):
                left_out.add(reason, path)
        images += choose_of_volumes(kept, slices) if kept else []
    if slices == "all":
        images.sort(key=lambda image: (image["image"], image["frame"]))
    if white:
        images = [{**image, "white_level": str(white)} for image in images]
    for image in images if body_parts else ():
        if _shows_another(image["image"], frozenset(body_parts)):
            image[DOUBT] = OTHER_BODY_PART
    return NativeImages(images, left_out, notes)


def _shows_another(path: str, body_parts: frozenset[str]) -> bool:
    facts = known_facts(path) if is_dicom(path) else None
    named = regions_in(facts.body_part) if facts is not None else frozenset()
    return bool(named) and not named & body_parts


def _volumes_of(item: ImageItem, plane: str) -> list[list[int]]:
    """Frames of each volume of a file; all of one that cannot be read, so that reading it gives the reason."""
    try:
        return frame_layout(item.path, cast(PlaneChoice, plane)).volumes
    except (UnreadableImageError, OSError):
        return [list(range(item.frames))]


def _plane_and_reason_against(
    path: str, plane: str, trained: str | Sequence[str] | None
) -> tuple[str | None, str | None]:
    """The plane of an image's slices, where it is known, and why they are left out, if they are."""
    try:
        own = frame_layout(path, cast(PlaneChoice, plane)).plane or plane_in_name(path)
    except UnreadableImageError as error:
        if plane != "acquired" and error.stage == "geometry":
            return None, f"no {plane} slices: {error.cause.partition('; ')[2] or error.cause}"
        return None, None
    except OSError:
        return None, None
    if own is not None and plane in PLANES and own != plane:
        return own, f"{own} image, {plane} ones were asked for"
    wanted = [trained] if isinstance(trained, str) else list(trained or ())
    if plane == "acquired" and own is not None and wanted and own not in wanted:
        return own, f"{own} image, the model was trained on {' and '.join(wanted)} ones (--plane {wanted[0]} reslices)"
    return own, None


def _notes_of_one(root: str | os.PathLike[str], plane: str, trained: str | Sequence[str] | None) -> list[str]:
    """Oddities of a single file given by name, which is used anyway."""
    wanted = [trained] if isinstance(trained, str) else list(trained or ())
    notes = []
    if plane in PLANES and wanted and plane not in wanted:
        notes.append(f"{plane} slices were asked for, the model was trained on {' and '.join(wanted)} ones")
    if Path(root).is_file():
        facts = known_facts(root) if is_dicom(os.fspath(root)) else None
        kind = kind_against(facts) if facts is not None else None
        if kind is not None:
            notes.append(f"'{Path(root).name}' is a {kind}, not a slice of an examination; its result means nothing")
    return notes


def left_out_of(data: Any) -> LeftOut:
    """What was left out when ``data``, the list of a `NativeDataset`, was made; nothing for any other list."""
    return data.left_out if isinstance(data, NativeImages) else LeftOut()


def white_level_of(data: Sequence[Mapping[str, Any]]) -> str | None:
    """The white level that the records of a data set state, for a run's settings; ``None`` if they state none.

    If they state several, as for pictures and arrays in one data set, the most frequent.
    """
    stated = Counter(str(record["white_level"]) for record in data if record.get("white_level"))
    return stated.most_common(1)[0][0] if stated else None


class NativeDataset(Dataset):
    """Images read and transformed when asked for, without a packed store.

    Items hold ``image``, what ``transform`` makes of it; ``index`` and ``frame`` (int); ``unreadable``, the reason why
    an image could not be read, or ``""``; ``questions``, what is doubtful about its values, a sentence a line. An
    unreadable image is then all zeros, so that a batch keeps its shape and its place. Where ``transform`` leaves a
    ``geometry`` and a ``spacing`` (see `ResizeCanonicald`), the item has them too, zeros for an unreadable image.

    Parameters
    ----------
    data
        One dictionary per image: ``image``, a path, and optionally ``frame``.
    transform
        Returns a canonical image of fixed size under ``image``.
    unreadable
        ``"skip"`` continues after an unreadable image; ``"stop"`` raises.
    placeholder
        Shape of the zeros.
    image_size
        If given, and ``transform`` has no `ResizeCanonicald`, images are resized where a packed store would do it, and
        random transforms are left out. If they end in `AppendMaskd`, as in training, the mask is left out as well.

    Raises
    ------
    IntensityError
        If a record states a modality that the transform does not take.
    UnreadableImageError
        From an item, with ``unreadable="stop"``.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any],
        placeholder: Sequence[int],
        unreadable: Literal["stop", "skip"] = "skip",
        image_size: int | None = None,
    ) -> None:
        if unreadable not in ("stop", "skip"):
            raise ConfigurationError(f"unreadable={unreadable!r}: expected 'stop' or 'skip'")
        self.data = data if isinstance(data, NativeImages) else list(data)
        require_fitting_modality(self.data, transform)
        if image_size is not None and not any(isinstance(step, ResizeCanonicald) for step in flattened(transform)):
            is_masked = any(isinstance(step, AppendMaskd) for step in flattened(transform))
            before, later = split_where_random(without_mask(transform) if is_masked else transform)
            resize = ResizeCanonicald("image", image_size, geometry_key=GEOMETRY if is_masked else None)
            transform = Compose([before, resize, *deterministic(later)])
        self.transform = transform
        self.placeholder = tuple(int(length) for length in placeholder)
        self.unreadable = unreadable

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: int | SampleKey) -> dict[str, Any]:
        index = item.index if isinstance(item, SampleKey) else int(item)
        record = self.data[index]
        problem = questions = ""
        geometry = None
        spacing = None
        content = None
        try:
            result = self.transform(dict(record))
            geometry = result.get(GEOMETRY)
            spacing = result.get(SPACING)
            content = result.get(CONTENT)
            questions = "\n".join(filter(None, (record.get(DOUBT), result.get(QUESTIONS))))
            image = torch.as_tensor(result["image"])
            # Batches hold plain tensors: MetaTensor would carry the header along.
            image = image.as_subclass(torch.Tensor)
        except Exception as error:
            failure = describe_failure(error, record)
            cause = failure.cause.removeprefix(f"{record['image']}: ")
            if self.unreadable == "stop":
                raise UnreadableImageError(str(record["image"]), failure.stage, cause) from error
            image, problem = torch.zeros(self.placeholder), f"{failure.stage}: {cause}"
        loaded = {"image": image, "index": index, "frame": frame_number(record), "unreadable": problem}
        loaded[QUESTIONS] = questions
        # A batch is collated by the keys of its first item, so every item has the keys.
        placed = [] if geometry is None else geometry.tolist()
        loaded[GEOMETRY] = torch.tensor([*placed, *[0] * (7 - len(placed))])
        loaded[CONTENT] = torch.zeros(4, dtype=torch.int64) if content is None else content
        loaded[SPACING] = torch.zeros(2, dtype=torch.float64) if spacing is None else spacing
        return loaded
