"""A trained bundle, loaded once, that answers for one image or series after another."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from radimagenet_monai.catalog.tasks import TASKS, Task
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.engine.postprocessing import UPRIGHT_MASKS, AggregateSlicesd, RestoreMaskd
from radimagenet_monai.engine.start.config_keys import inference_parser
from radimagenet_monai.engine.trained.confidence import FeatureCollector
from radimagenet_monai.engine.trained.intensity import require_trained_intensity
from radimagenet_monai.engine.trained.model_file import load_model, operating_points, read_facts
from radimagenet_monai.integrations.prediction.confidence import Confidence
from radimagenet_monai.integrations.prediction.studies import Exam, Group
from radimagenet_monai.loading.native_dataset import NativeImages, find_native_images
from radimagenet_monai.loading.whole_image import USED_SLICES, EachSlice, UsedSlices


@dataclass(frozen=True)
class ExamAnswer:
    """What the network says of one image or series.

    Attributes
    ----------
    used
        The slices.
    canonical
        ``(C, slices, h, w)`` network input in [0, 1], on the CPU.
    features
        ``(slices, d)``, see `radimagenet_monai.engine.trained.confidence`; empty if they are not asked for.
    slices
        Probabilities ``(slices, outputs)`` of a classifier, float64.
    voxels, affine
        Label map of a segmenter, see `radimagenet_monai.integrations.prediction.Mask`.
    upright
        Its masks ``(rows, columns)`` slice by slice, as a viewer shows them.
    """

    used: UsedSlices
    canonical: Tensor
    features: np.ndarray
    slices: np.ndarray | None = None
    voxels: np.ndarray | None = None
    affine: np.ndarray | None = None
    upright: Sequence[np.ndarray] = ()


class TrainedBundle:
    """The parts of a bundle's ``inference.json``, with the weights, checked as ``monai.bundle run`` checks them.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    settings
        Top-level keys of its ``inference.json``.
    abstain_below
        See `Confidence`.

    Raises
    ------
    ConfigurationError
        For a folder without a bundle, one whose config is of version 0.1, or intensities other than in training.
    UsageError
        For an unknown key or a value of the wrong type.
    WeightsError
        If there is no trained model, or it has another architecture.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        settings: Mapping[str, Any] | None = None,
        abstain_below: float | None = None,
    ) -> None:
        self.folder = Path(bundle)
        self.name = self.folder.resolve().name
        self._parser = inference_parser(self.folder, settings)

        self.version = str(_metadata(self.folder).get("version") or "unknown")
        self.checkpoint = Path(str(self._get("checkpoint")))
        self.device = torch.device(self._get("device"))
        self.classes: list[str] = [str(name) for name in self._get("classes")]
        self.findings: list[str] = [str(name) for name in self._get("findings") or ()]
        load_model(self.checkpoint, self._get("network_def"), str(self._get("architecture")))
        preprocessing = self._get("preprocessing")
        require_trained_intensity(self.checkpoint, self._get("intensity"), preprocessing)
        self.facts = read_facts(self.checkpoint)
        self.sha256 = file_digest(self.checkpoint)
        self.network = self._get("network")
        if isinstance(self.network, torch.nn.Module):
            self.network.to(self.device).eval()
        self.inferer = self._get("inferer")
        self.before, self.after = _steps(preprocessing), _steps(self._get("postprocessing"))
        if not self.before or not isinstance(self.before[0], EachSlice):
            raise ConfigurationError(
                f"the inference.json of '{self.folder}' takes single slices, as those of version 0.1 do; take the "
                "configs of this version's bundle and keep its models folder"
            )
        self.segments = any(isinstance(step, RestoreMaskd) for step in self.after)
        aggregation = next((step for step in self.after if isinstance(step, AggregateSlicesd)), None)
        self.rule = "mean" if aggregation is None else aggregation.rule
        self.threshold: float | None = self._get("threshold")
        self.thresholds: dict[str, float] = {}
        if not self.segments:
            decided = self.findings or (self.classes[1:] if len(self.classes) == 2 else [])
            self.thresholds = operating_points(self.checkpoint, decided, self.threshold)
        self.confidence = Confidence(self.facts, list(self.thresholds), self.exclusive, abstain_below)
        self._collector = FeatureCollector(self.network)

    @property
    def exclusive(self) -> bool:
        """Whether the outputs of a classifier are classes, of which one holds."""
        return not self.findings

    @property
    def task(self) -> Task | None:
        """The task of the catalogue that the model was trained for; ``None`` for any other bundle."""
        return TASKS.get(str(self.facts.get("bundle") or self.name)) or TASKS.get(self.name)

    @property
    def group(self) -> Group:
        """What one answer is for: a study if the task's exams are studies and the model combines slices."""
        combines = self._get("aggregate") not in (None, "none") and not self.segments
        return "study" if combines and self.task is not None and self.task.exam == "study" else "series"

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return self.findings or self.classes

    def images_in(self, root: str) -> NativeImages:
        """What the bundle's inference uses of a file or folder."""
        each = self.before[0]
        body_parts = self._get("dataset::data::body_parts") or ()
        return find_native_images(root, each.slices, each.plane, each.trained_plane, each.white, body_parts)

    def answer(self, exam: Exam) -> ExamAnswer:
        """The answer for one image or series.

        Raises
        ------
        UnreadableImageError
            If none of its slices can be used.
        """
        item: dict[str, Any] = self.before[0].of_slices(exam.listed, exam.root)
        for step in self.before[1:]:
            item = step(item)
        image = torch.as_tensor(item["image"]).as_subclass(Tensor)
        used: UsedSlices = item[USED_SLICES]
        if self.confidence.familiarity is not None:
            self._collector.start()
        with torch.inference_mode():
            item["pred"] = self.inferer(image[None].to(self.device), self.network)[0].cpu()
        self._collector.stop()
        features = self._collector.features()
        slices = None
        for step in self.after:
            if isinstance(step, AggregateSlicesd):
                slices = np.asarray(item["pred"].detach().float(), dtype=np.float64).reshape(-1, len(self.outputs))
                continue
            item = step(item)
        canonical = image if image.ndim == 4 else image[:, None]
        if not self.segments:
            if slices is None:
                slices = np.asarray(item["pred"].detach().float(), dtype=np.float64).reshape(-1, len(self.outputs))
            return ExamAnswer(used, canonical, features, slices)
        mask = item["pred"]
        affine = np.asarray(mask.affine, dtype=np.float64)
        return ExamAnswer(used, canonical, features, None, np.asarray(mask[0]), affine, item[UPRIGHT_MASKS])

    def _get(self, key: str) -> Any:
        try:
            return self._parser.get_parsed_content(key)
        except KeyError:
            return None


def _steps(transform: Any) -> list[Any]:
    return list(getattr(transform, "transforms", (transform,)))


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
