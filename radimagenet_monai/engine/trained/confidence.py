"""What a training keeps of its validation split for judging later answers: calibration and features.

Features are the encoder's last map, averaged over the image and projected to a few directions that are random and the
same for every model of that width. The summary takes a few kilobytes in ``model.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radimagenet_monai.statistics.familiarity import familiarity
from radimagenet_monai.statistics.predictions import PredictionTable
from radimagenet_monai.statistics.recalibration import recalibrate

DIMENSIONS = 16
_SEED = 20260101
_MOST_ITEMS = 20_000


def calibration_facts(table: PredictionTable, names: Sequence[str]) -> dict[str, Any]:
    """Recalibration of each output that is decided on, by name; without those that have too few images.

    Parameters
    ----------
    table
        Labeled predictions of the validation split.
    names
        The positive class of two, or the findings.
    """
    labels = np.asarray(table.labels)
    found: dict[str, Any] = {}
    for column, name in enumerate(names):
        truth = labels if table.exclusive else labels[:, column]
        scores = table.scores if table.exclusive else table.probabilities[:, column]
        known = ~np.isnan(truth.astype(np.float64))
        fitted = recalibrate(truth[known].astype(np.int64), scores[known]) if known.any() else None
        if fitted is not None:
            found[str(name)] = fitted.to_dict()
    return found


class FeatureCollector:
    """Collects the features of all images that go through a network.

    Parameters
    ----------
    network
        One of our classifiers or U-Nets; of other networks nothing is collected.
    """

    def __init__(self, network: Any) -> None:
        encoder = getattr(network, "encoder", None)
        self._encoder: nn.Module | None = encoder if isinstance(encoder, nn.Module) else None
        self._remove: Callable[[], None] | None = None
        self._parts: list[np.ndarray] = []
        self._items = 0

    def start(self) -> None:
        """Forget what was collected, and collect from now on."""
        self.stop()
        self._parts, self._items = [], 0
        if self._encoder is not None:
            self._remove = self._encoder.register_forward_hook(self._take).remove

    def stop(self) -> None:
        """Collect no more."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    def features(self) -> np.ndarray:
        """What was collected, ``(images, DIMENSIONS)`` float32."""
        return np.concatenate(self._parts) if self._parts else np.empty((0, DIMENSIONS), np.float32)

    def _take(self, module: nn.Module, inputs: Any, output: Any) -> None:
        last = output[-1] if isinstance(output, list | tuple) else output
        if not isinstance(last, Tensor) or last.ndim != 4 or self._items >= _MOST_ITEMS:
            return
        with torch.no_grad():
            pooled = last.detach().float().mean(dim=(2, 3)).cpu().numpy()
        self._parts.append(pooled @ _directions(pooled.shape[1]))
        self._items += len(pooled)


def feature_facts(collector: FeatureCollector) -> dict[str, Any] | None:
    """Summary of collected features for ``model.json``; ``None`` if there are too few."""
    found = familiarity(collector.features())
    return None if found is None else found.to_dict()


def _directions(width: int) -> np.ndarray:
    drawn = np.random.default_rng([_SEED, width]).standard_normal((width, DIMENSIONS))
    return (drawn / np.sqrt(width)).astype(np.float32)
