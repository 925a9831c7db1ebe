"""The intensity policy a model was trained with: saved beside it and compared before the model is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.trained.model_file import trained_fact
from radimagenet_monai.engine.trained.preprocessing import Steps, applied_by, require_trained_preprocessing, runs_in
from radimagenet_monai.intensity.transforms import IntensityPolicyd
from radimagenet_monai.store.fingerprint import describe_transform

# Header strictness and record keys change no pixel of an accepted image; the body part of CT images of unknown region
# is a fact about the data; windows are compared by value, whether named or not.
_WITHOUT_EFFECT = (
    *("ct_region", "windows_named", "allow_modality_mismatch", "allow_missing_keys"),
    *("keys", "frame_key", "modality_key"),
)


def intensity_facts(intensity: Callable[..., Any], preprocessing: Steps | None = None) -> Any:
    """What an intensity policy does to pixels, as JSON values, for a run's settings.

    ``None`` if ``preprocessing`` is given and does not contain the policy, or if it is not one of ours: then
    `preprocessing_facts` says what ran.
    """
    if preprocessing is not None:
        applied = applied_by("validate::dataset", preprocessing)
        if not (isinstance(intensity, IntensityPolicyd) and runs_in(intensity, applied)):
            return None
    return _stripped(describe_transform(intensity)["transform"])


def require_trained_intensity(
    model: str | os.PathLike[str], intensity: Callable[..., Any], preprocessing: Steps | None = None
) -> None:
    """Refuse images prepared in another way than in training: the model would give wrong answers without an error.

    Parameters
    ----------
    model
        Path of ``model.pt`` or of the bundle folder.
    intensity
        The policy of this run.
    preprocessing
        The transforms of this run; configs of version 0.1 do not give them.

    Raises
    ------
    ConfigurationError
        If the policies or the transforms differ; the message names both.
    """
    if preprocessing is not None:
        require_trained_preprocessing(model, preprocessing, intensity)
    elif trained_fact(model, "preprocessing", None):
        raise ConfigurationError(
            f"the model in {os.fspath(model)} was trained with a 'preprocessing' of its own, which configs of version "
            "0.1 cannot repeat; use this version's configs of the bundle"
        )
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
