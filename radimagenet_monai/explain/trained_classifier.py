"""The trained classifier of a bundle, with the preprocessing of the bundle's config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from radimagenet_monai.core.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.engine.start.config_keys import inference_parser
from radimagenet_monai.engine.trained.intensity import require_trained_intensity
from radimagenet_monai.engine.trained.model_file import load_model, operating_points
from radimagenet_monai.loading.resize import ResizeCanonicald
from radimagenet_monai.models.classifier import Classifier
from radimagenet_monai.store.row_resize import content_box, pixel_aspect_of


@dataclass(frozen=True)
class PreparedImage:
    """An image as network input and as a picture for people.

    Attributes
    ----------
    canonical
        float32 ``(C, image_size, image_size)`` in [0, 1].
    picture
        uint8 ``(rows, columns)`` of the original image, upright, in the gray values of the intensity policy (of its
        first window for CT); black outside the part that the network saw, which also hides any text there.
    region
        First row, first column, end row and end column of that part.
    content
        The same four numbers for that part's place in ``canonical``: all of it, unless pixels are not square.
    """

    canonical: Tensor
    picture: np.ndarray
    region: tuple[int, int, int, int]
    content: tuple[int, int, int, int]

    def to_picture(self, heatmap: np.ndarray) -> np.ndarray:
        """A map at the network's size as float32 ``(rows, columns)`` on the original image, 0 outside the region."""
        top, left, bottom, right = self.region
        placed = np.zeros(self.picture.shape, np.float32)
        size = (right - left, bottom - top)
        first, start, end, stop = self.content
        seen = np.ascontiguousarray(heatmap[first:end, start:stop])
        placed[top:bottom, left:right] = cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR)
        return placed

    def from_picture(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the original image as ``(image_size, image_size)`` booleans at the network's size."""
        top, left, bottom, right = self.region
        seen = np.ascontiguousarray(mask[top:bottom, left:right], dtype=np.uint8)
        first, start, end, stop = self.content
        placed = np.zeros(tuple(self.canonical.shape[1:]), bool)
        placed[first:end, start:stop] = cv2.resize(seen, (stop - start, end - first), interpolation=cv2.INTER_NEAREST)
        return placed


class TrainedClassifier:
    """A classification bundle with its trained model.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    settings
        Top-level keys of the bundle's ``inference.json`` to override, such as ``allow_modality_mismatch``.

    Attributes
    ----------
    network
        The network in evaluation mode, on the device of the config.
    outputs
        Names of the network's outputs: classes, or findings that may occur together.
    exclusive
        Whether they are exclusive classes, one per image.

    Raises
    ------
    ConfigurationError
        For a folder without a classification bundle, an unknown key, or intensities that differ from training.
    WeightsError
        If there is no trained model, or it has another architecture.
    """

    def __init__(self, bundle: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(bundle)
        self.name = self.folder.resolve().name
        parser = inference_parser(self.folder, settings)
        target = str((parser.get("network_def") or {}).get("_target_", ""))
        if not target.endswith((".build_classifier", ".trained_classifier")):
            raise ConfigurationError(
                f"{self.name} is no classifier (its network is {target or 'unknown'}); give a classification bundle, a "
                "segmentation already says where it sees the lesion"
            )

        findings = parser.get_parsed_content("findings") if "findings" in parser.get() else None
        classes = list(parser.get_parsed_content("classes"))
        self.classes: list[str] = classes
        self.exclusive = not findings
        self.outputs: list[str] = list(findings or classes)
        self.architecture = str(parser.get_parsed_content("architecture"))
        self.image_size = int(parser.get_parsed_content("image_size"))
        self.device = torch.device(parser.get_parsed_content("device"))
        checkpoint = Path(str(parser.get_parsed_content("checkpoint")))
        self.network: Classifier = parser.get_parsed_content("network_def")
        load_model(checkpoint, self.network, self.architecture)
        preprocessing = parser.get_parsed_content("preprocessing")
        require_trained_intensity(checkpoint, parser.get_parsed_content("intensity"), preprocessing)
        self.network.to(self.device).eval()
        self._threshold: float | None = None
        if self.exclusive and len(classes) == 2:
            given = parser.get_parsed_content("threshold")
            self._threshold = operating_points(checkpoint, classes[1:], given)[classes[1]]
        self._to_canonical, self._resize = _split(flattened(preprocessing), self.name)

    def prepare(self, item: Mapping[str, Any]) -> PreparedImage:
        """Read and preprocess one image.

        Parameters
        ----------
        item
            ``image`` (path), and optionally ``frame`` and ``modality``.

        Raises
        ------
        Exception
            Any exception of a transform for an image that cannot be used; `describe_failure` puts it in words.
        """
        data: Any = dict(item)
        for transform in self._to_canonical:
            data = transform(data)
        canonical = data["image"]
        if "original_shape" not in getattr(canonical, "meta", {}):
            raise UnreadableImageError(
                str(item["image"]),
                "geometry",
                "the preprocessing of the model does not say what part of the image it took; maps can be drawn for "
                "models trained with LoadNativeImaged and an intensity policy of this package",
            )
        rows, columns = (int(length) for length in canonical.meta["original_shape"])
        top, left, bottom, right = (int(edge) for edge in canonical.meta["crop"])
        picture = np.zeros((rows, columns), np.uint8)
        gray = np.asarray(canonical.as_tensor()[0], dtype=np.float32)
        if gray.shape != (bottom - top, right - left):
            raise UnreadableImageError(
                str(item["image"]),
                "geometry",
                f"preprocessing gave {gray.shape} pixels of {(bottom - top, right - left)}",
            )
        picture[top:bottom, left:right] = np.rint(np.clip(gray, 0, 1) * 255).astype(np.uint8)
        tensor = torch.as_tensor(self._resize(data)["image"]).as_subclass(Tensor)
        size = (int(tensor.shape[1]), int(tensor.shape[2]))
        content = content_box((bottom - top, right - left), size, False, pixel_aspect_of(canonical))
        return PreparedImage(tensor, picture, (top, left, bottom, right), content)

    def probabilities(self, images: Tensor) -> np.ndarray:
        """``(N, outputs)`` in [0, 1] for canonical images ``(N, C, H, W)`` on the device."""
        with torch.inference_mode():
            logits = self.network(images).float()
        return (logits.softmax(dim=1) if self.exclusive else logits.sigmoid()).cpu().numpy()

    def decisions(self, probabilities: np.ndarray) -> np.ndarray:
        """``(N,)`` indices: by the operating threshold for two classes, otherwise the most probable output."""
        if self._threshold is not None:
            return (probabilities[:, 1] >= self._threshold).astype(np.int64)
        return probabilities.argmax(axis=1)

    def output(self, name: str) -> int:
        """Index of an output.

        Raises
        ------
        ConfigurationError
            If there is no output of that name; the message lists the valid names.
        """
        if name not in self.outputs:
            raise ConfigurationError(f"target {name!r} is unknown; choose one of {', '.join(self.outputs)}")
        return self.outputs.index(name)


def _split(transforms: list[Any], bundle: str) -> tuple[list[Any], ResizeCanonicald]:
    """The transforms that make the canonical image, and the one that resizes it, which must be last."""
    last = transforms[-1] if transforms else None
    if not isinstance(last, ResizeCanonicald) or last.keep_aspect:
        raise ConfigurationError(
            f"the preprocessing of {bundle} does not end in ResizeCanonicald without keep_aspect, which maps need to "
            "be put back on the image"
        )
    return transforms[:-1], last
