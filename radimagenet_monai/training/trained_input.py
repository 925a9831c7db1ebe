"""The intensity policy a model was trained with: kept beside it, and asked for again before it is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from radimagenet_monai.data.fingerprint import describe_transform
from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.training.model_file import trained_fact

# How strictly a header is believed, and what a record is called, change no pixel of an image that is accepted; what CT
# images of unknown region show is a fact of the images at hand; windows are compared as such, named or not.
_WITHOUT_EFFECT = (
    *("ct_region", "windows_named", "allow_modality_mismatch", "allow_missing_keys"),
    *("keys", "frame_key", "modality_key"),
)


def intensity_facts(intensity: Callable[..., Any]) -> Any:
    """What an intensity policy does to pixels, as JSON values, for a run's settings."""
    return _stripped(describe_transform(intensity)["transform"])


def require_trained_intensity(model: str | os.PathLike[str], intensity: Callable[..., Any]) -> None:
    """Refuse to give a trained model other intensities than it was trained with: it would answer, and be wrong.

    Parameters
    ----------
    model
        Path of ``model.pt``, or folder of the bundle that holds it.
    intensity
        The policy of this run.

    Raises
    ------
    ConfigurationError
        Names both policies.
    """
    trained = trained_fact(model, "intensity", None)
    given = intensity_facts(intensity)
    if trained is not None and trained != given:
        raise ConfigurationError(
            f"the model in {os.fspath(model)} was trained with intensities by {_in_words(trained)}, this run has "
            f"{_in_words(given)}; give the same --intensity as in training"
        )


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in _WITHOUT_EFFECT}
    return [_stripped(item) for item in value] if isinstance(value, list) else value


def _in_words(facts: Any) -> str:
    if not isinstance(facts, dict) or "class" not in facts:
        return str(facts)
    name = str(facts["class"]).rpartition(".")[2]
    options = {
        key: [item[0] for item in value] if key == "windows" else value
        for key, value in dict(facts.get("state") or {}).items()
        if not isinstance(value, dict)
    }
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
