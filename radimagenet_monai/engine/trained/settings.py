"""The settings of a run: what its records, model and checkpoints keep of its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.flags import parse_flag
from radimagenet_monai.engine.start.config_keys import evaluating_parser
from radimagenet_monai.engine.start.label_run import continued_model
from radimagenet_monai.engine.trained.components import architecture_facts, component_facts, weights_facts
from radimagenet_monai.engine.trained.intensity import intensity_facts
from radimagenet_monai.engine.trained.model_file import read_facts
from radimagenet_monai.engine.trained.preprocessing import augmentation_facts, preprocessing_facts
from radimagenet_monai.loading import white_level_of
from radimagenet_monai.loading.random_steps import Steps

SETTINGS = (
    *("architecture", "weights", "freeze", "classes", "findings", "aggregate", "image_size", "batch_size"),
    *("learning_rate", "max_epochs", "threshold", "split", "fold", "seed", "amp", "runtime"),
    *("weight_decay", "reference_batch", "warmup_epochs", "label_smoothing", "logit_adjustment", "ema_decay"),
    *("accumulate", "clip_gradient_norm", "progressive_resizing", "first_image_size", "shuffle_window"),
)
"""Keys at the top of a config that say what is computed. The others say where, how fast and with which care."""

_COMPONENTS = ("network_def", "loss_function", "optimizer", "schedule", "lr_scheduler")


def training_settings(
    bundle: str,
    bundle_version: str,
    records: Sequence[Mapping[str, Any]],
    intensity: Callable[..., Any],
    validation: Steps,
    training: Steps,
    augmentation: Any,
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings of a training: `SETTINGS`, components and image preparation, as JSON values.

    Taken from the `ConfigParser` that evaluates this call.

    Parameters
    ----------
    bundle, bundle_version
        Name and version of the bundle.
    records
        Training records, for the white level that they state.
    intensity, augmentation
        Intensity policy and augmentation of the run, see `intensity_facts` and `augmentation_facts`.
    validation, training
        Transforms of validation and training, see `preprocessing_facts`.
    further
        Further settings to record.
    """
    settings = evaluation_settings(bundle, bundle_version)
    if "architecture" in settings:
        settings["architecture"] = architecture_facts(settings["architecture"])
    if "weights" in settings:
        settings["weights"] = weights_facts(settings["weights"])
    parser = evaluating_parser()
    settings |= {place: component_facts(place) for place in _COMPONENTS if parser is not None and place in parser.get()}
    if (model := continued_model(parser)) is not None and model.is_file():
        # Not of new weights: what the continued model started from stays true of its successor.
        settings["weights"] = read_facts(model).get("weights", settings.get("weights"))
        settings["continued_from"] = file_digest(model)
    settings["white_level"] = white_level_of(records)
    settings["intensity"] = intensity_facts(intensity, validation)
    settings["preprocessing"] = preprocessing_facts(validation, intensity, training)
    settings["augmentation"] = augmentation_facts(augmentation, training)
    return settings | dict(further or {})


def evaluation_settings(bundle: str, bundle_version: str, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of an evaluation: `SETTINGS` that its config has.

    Taken from the `ConfigParser` that evaluates this call.

    Parameters
    ----------
    bundle, bundle_version, further
        See `training_settings`.
    """
    parser = evaluating_parser()
    settings: dict[str, Any] = {"bundle": bundle, "bundle_version": bundle_version}
    for key in SETTINGS:
        if parser is not None and key in parser.get():  # `in parser` looks for the nearest key, which is slow
            settings[key] = parser.get_parsed_content(key)
    if "amp" in settings:  # text, from a command line
        settings["amp"] = parse_flag(settings["amp"])
    return settings | dict(further or {})
