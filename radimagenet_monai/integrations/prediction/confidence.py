"""How sure an answer is: calibrated probabilities, abstention, and a warning for images unlike those of validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.outputs.writers import digits
from radimagenet_monai.statistics.familiarity import Familiarity
from radimagenet_monai.statistics.recalibration import Recalibration

ABSTAINED = "abstained"


class Confidence:
    """What a model kept of its validation split, see `radimagenet_monai.engine.trained.confidence`.

    Parameters
    ----------
    facts
        Content of ``model.json``; a model of an earlier version has neither calibration nor features.
    names
        Outputs that are decided on.
    exclusive
        Whether they are classes, of which one holds.
    abstain_below
        Smallest calibrated probability of a decision; below it, the decision is `ABSTAINED`.

    Raises
    ------
    ConfigurationError
        If abstention is asked for and the model has no calibration of all outputs.
    """

    def __init__(
        self, facts: Mapping[str, Any], names: list[str], exclusive: bool, abstain_below: float | None = None
    ) -> None:
        kept = dict(facts.get("calibration") or {})
        self.calibrations = {name: Recalibration.from_dict(kept[name]) for name in names if name in kept}
        features = facts.get("validation_features")
        self.familiarity = Familiarity.from_dict(features) if features else None
        self.exclusive = exclusive
        self.abstain_below = abstain_below
        if abstain_below is None:
            return
        if not 0 <= abstain_below <= 1:
            raise ConfigurationError(f"abstain_below {abstain_below:g} was given; expected a probability from 0 to 1")
        missing = [name for name in names if name not in self.calibrations]
        if missing or not names:
            what = f"no calibration of {', '.join(missing)}" if missing else "no decision by a threshold"
            raise ConfigurationError(
                f"--abstain_below needs calibrated probabilities, and the model has {what}; they are kept when a "
                "classifier of two classes, or of findings, is trained with at least 5 validation images of each class"
            )

    def columns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of calibrated probabilities, and decisions after abstention; empty values without an answer.

        Parameters
        ----------
        row
            Columns of `radimagenet_monai.engine.outputs.writers.prediction_columns`.
        """
        added: dict[str, Any] = {}
        for name, calibration in self.calibrations.items():
            probability = row.get(f"probability_{name}")
            keys = [f"calibrated_{name}", f"calibrated_{name}_low", f"calibrated_{name}_high"]
            if probability is None:
                added |= dict.fromkeys(keys)
                continue
            values = calibration.calibrated(float(probability))
            added |= {key: digits(value) for key, value in zip(keys, values, strict=True)}
            decision = "decision" if self.exclusive else f"decision_{name}"
            called = row[decision] == (name if self.exclusive else 1)
            if self.abstain_below is not None and (values[0] if called else 1 - values[0]) < self.abstain_below:
                added[decision] = ABSTAINED
        return added

    def distance_columns(self, features: np.ndarray | None) -> dict[str, Any]:
        """Distance of a study: the median over its slices; ``unusual`` is 1 beyond the limit.

        Parameters
        ----------
        features
            Features of the slices, ``(n, d)``; ``None`` without an answer.
        """
        if self.familiarity is None:
            return {}
        if features is None or not len(features):
            return {"distance": None, "unusual": None}
        distance = float(np.median(self.familiarity.distances(features)))
        return {"distance": float(f"{distance:.6g}"), "unusual": int(distance > self.familiarity.limit)}

    def stated(self) -> dict[str, Any]:
        """For ``predictions.json``: how probabilities were calibrated, and the limit of distances."""
        return {
            "calibration": {name: fitted.to_dict() for name, fitted in self.calibrations.items()},
            "distance_limit": None if self.familiarity is None else self.familiarity.limit,
            "distance_reference_images": None if self.familiarity is None else self.familiarity.items,
        }
