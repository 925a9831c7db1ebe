"""The preparation of images that a model was trained with, where it is not the bundle's own: saved, rebuilt, compared.

A second config file may replace a bundle's ``preprocessing``, for example by MONAI's own transforms. What then prepared
the images is saved with the model, so that evaluation and inference prepare theirs alike.
"""

from __future__ import annotations

import inspect
import logging
import os
import pydoc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import monai.data
import monai.transforms
from monai.bundle import ConfigParser
from monai.transforms import Compose, Transform

from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.core.plain_config import RESOLVED, NotPlainError, rebuilt, recorded, require_known
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.datasets.masks.channel import AppendMaskd
from radimagenet_monai.engine.distributed import is_first_process
from radimagenet_monai.engine.start.config_keys import evaluating_parser
from radimagenet_monai.engine.trained.model_file import trained_fact
from radimagenet_monai.intensity import CanonicalRangeCheckd
from radimagenet_monai.intensity.transforms import IntensityPolicyd
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading.augmentation import AffineAugmentation
from radimagenet_monai.loading.file_grid import reads_masks, without_mask
from radimagenet_monai.loading.random_steps import Steps, deterministic, is_random, split_where_random
from radimagenet_monai.loading.resize import ResizeCanonicald
from radimagenet_monai.loading.whole_image import EachSlice
from radimagenet_monai.store.fingerprint import describe_transform, digest

logger = logging.getLogger(__name__)

_INTENSITY = "@intensity"
_LEFT_TO_MASKS = (
    "; so is that masks are as large as their images and become 0 and 1 (ScaleIntensityd); no scan region is cut out, "
    "and no spacing is read: distances are in pixels"
)
# They write files, or call what an argument names.
_REFUSED = ("Save", "Lambda", "RandLambda", "TorchVision", "RandTorchVision", "TorchIO", "RandTorchIO", "CuCIM")


def preprocessing_facts(preprocessing: Steps, intensity: Callable[..., Any], training: Steps | None = None) -> Any:
    """What prepared the images of a run, for its settings; ``None`` for the bundle's own reader, policy and check.

    The config is taken from the `ConfigParser` that evaluates this call, with its references resolved.

    Parameters
    ----------
    preprocessing
        Transforms of validation, in whose config ``validate::preprocessing`` or ``preprocessing`` is.
    intensity
        The run's intensity policy. If it is one of ours, a reference to it is saved as such, since its settings are
        saved by `intensity_facts`.
    training
        Transforms of training, if they may differ; a difference is logged.

    Returns
    -------
    dict or None
        ``steps``, names of the transforms; ``digest`` of what they do; ``config`` to build them from, or ``None`` if
        it holds more than plain values, and ``reason`` then says what.
    """
    parser = evaluating_parser()
    place = "preprocessing"
    if parser is not None and training is not None:
        place = "validate::preprocessing"
        if _has_transform(parser, "validate::dataset"):
            place = "validate::dataset::transform"
        preprocessing = applied_by("validate::dataset", preprocessing)
        training = applied_by("train::dataset", training)
    described = _described(preprocessing)
    deterministic_steps = [step for part in _parts(preprocessing) for step in part]
    if training is not None and _described(training) != described:
        logger.warning(
            "training prepares its images by %s, validation by %s: give both the same, but for random transforms",
            _in_words(training),
            _in_words(preprocessing),
        )
    if isinstance(intensity, IntensityPolicyd) and described == _described(_own_steps(intensity)):
        return None
    facts = {"steps": [type(step).__name__ for step in deterministic_steps], "digest": digest(described)}
    is_foreign = not any(isinstance(step, LoadNativeImaged) for step in deterministic_steps)
    if training is not None and is_foreign and is_first_process():
        logger.warning(
            "images are read by %s, not by LoadNativeImaged: that they are upright (LoadImaged puts columns first), in "
            "HU for CT, and scaled by the statistics of their series for MR, is then up to your transforms%s",
            ", ".join(facts["steps"][:1]) or "no transform",
            _LEFT_TO_MASKS if any(isinstance(step, AppendMaskd) for step in flattened(training)) else "",
        )
    try:
        if parser is None:
            raise NotPlainError("it was not built from a config")
        config = _without_last_steps(_recorded(parser, place, isinstance(intensity, IntensityPolicyd), strict=True))
        require_known(config, place, _known_transform, (_INTENSITY,))
        return {**facts, "config": config}
    except NotPlainError as error:
        return {**facts, "config": None, "reason": str(error)}


def augmentation_facts(augmentation: Any, preprocessing: Steps) -> dict[str, Any] | None:
    """What is random about the images of a run, for its settings; ``None`` for `AffineAugmentation` alone.

    A run resumes only with the same. The configs are taken from the `ConfigParser` that evaluates this call.

    Parameters
    ----------
    augmentation
        Transform, sequence of transforms or ``None``, as under ``augmentation``.
    preprocessing
        Transforms of training, whose random ones run on the stored image.
    """
    parser = evaluating_parser()
    place = "train::preprocessing"
    if parser is not None and _has_transform(parser, "train::dataset"):
        place, preprocessing = "train::dataset::transform", applied_by("train::dataset", preprocessing)
    random = [step for step in _steps(preprocessing) if is_random(step)]
    if not random and (augmentation is None or isinstance(augmentation, AffineAugmentation)):
        return None
    steps = [*random, *flattened(augmentation)]
    facts: dict[str, Any] = {"steps": [type(step).__name__ for step in steps]}
    if parser is not None:
        facts["augmentation"] = _recorded(parser, "augmentation")
        if random:
            facts["preprocessing"] = _recorded(parser, place)
    return facts


def applied_by(dataset: str, preprocessing: Steps) -> Steps:
    """The transforms that a dataset of the config applies: its own ``transform``, or else ``preprocessing``."""
    parser = evaluating_parser()
    if parser is None or not _has_transform(parser, dataset):
        return preprocessing
    applied: Steps = parser.get_parsed_content(f"{dataset}::transform")
    return applied


def _has_transform(parser: ConfigParser, dataset: str) -> bool:
    raw = parser.get(dataset)
    return isinstance(raw, Mapping) and raw.get("transform") is not None


def runs_in(intensity: Callable[..., Any], preprocessing: Steps) -> bool:
    """Whether the transforms contain the intensity policy."""
    return any(step is intensity for step in _steps(preprocessing))


def trained_preprocessing(
    transforms: Sequence[Callable[..., Any]],
    model: str | os.PathLike[str],
    intensity: Callable[..., Any] | None = None,
    slices: str | None = None,
    plane: str = "acquired",
    trained_plane: str | Sequence[str] | None = None,
    white: str | None = None,
) -> Compose:
    """The transforms of a bundle, or those that the model was trained with where a config replaced the bundle's.

    Parameters
    ----------
    transforms
        The bundle's own. A `ResizeCanonicald` at their end stays the last step in any case.
    model
        Path of ``model.pt`` or of the bundle folder.
    intensity
        Policy of this run, for preparations that refer to it.
    slices, plane, trained_plane, white
        If ``slices`` is given, the transforms also take whole images (`radimagenet_monai.loading.EachSlice`).

    Raises
    ------
    ConfigurationError
        If the model's preparation is known and cannot be built from ``model.json``.
    """
    steps = _trained_steps(Compose(list(transforms)), model, intensity)
    if slices is None:
        return steps
    each = without_mask(steps) if reads_masks(steps) else steps.transforms
    # Clients take the transforms out of a Compose and call them one by one.
    return Compose([EachSlice(each, slices, plane, trained_plane, white)])


def _trained_steps(own: Compose, model: str | os.PathLike[str], intensity: Callable[..., Any] | None) -> Compose:
    facts = trained_fact(model, "preprocessing", None)
    if not facts:
        return own
    way_out = "give the config file that replaced 'preprocessing' in training as a further --config_file of this run"
    config = facts.get("config")
    if config is None:
        raise ConfigurationError(
            f"the model in {os.fspath(model)} was trained on images prepared by {_listed(facts)}, which its model.json "
            f"cannot rebuild ({facts.get('reason', 'no config')}); {way_out}"
        )
    try:
        built = rebuilt(config, "preprocessing", _known_transform, _built_transform, {_INTENSITY: intensity})
    except NotPlainError as error:
        raise ConfigurationError(f"model.json of {os.fspath(model)}: {error}; {way_out}") from None
    except Exception as error:
        raise ConfigurationError(
            f"the preprocessing in model.json of {os.fspath(model)} cannot be built ({one_line(error)}); {way_out}"
        ) from error
    logger.info("images are prepared as in the model's training: %s", _listed(facts))
    last = own.transforms[-1] if own.transforms else None
    if isinstance(last, ResizeCanonicald):
        before, later = split_where_random(built)
        return Compose([before, last, *deterministic(later)])
    if not _parts(built)[1]:  # else the first random transform says where a packed store ends
        built = _parts(built)[0] if any(map(is_random, _steps(built))) else built
    return built if isinstance(built, Compose) else Compose(built)


def require_trained_preprocessing(
    model: str | os.PathLike[str], preprocessing: Steps, intensity: Callable[..., Any]
) -> None:
    """Refuse images prepared in another way than in training.

    Raises
    ------
    ConfigurationError
        If the preparation is known and differs; the message names both.
    """
    trained = trained_fact(model, "preprocessing", False)
    parser = evaluating_parser()
    raw = parser.get("preprocessing") if parser is not None else None
    if trained is False or (isinstance(raw, Mapping) and str(raw.get("_target_")).endswith(".trained_preprocessing")):
        return  # of a version that did not save it, or built from what is compared
    given = preprocessing_facts(preprocessing, intensity)
    if given == trained or (given and trained and given["digest"] == trained.get("digest")):
        return
    if given and trained and given["config"] is not None and given["config"] == trained.get("config"):
        return
    before = _listed(trained) if trained else "the bundle's own preprocessing"
    now = _in_words(preprocessing)
    now = "them with other options" if now == before else now
    raise ConfigurationError(
        f"the model in {os.fspath(model)} was trained on images prepared by {before}, this run has {now}; "
        "leave the 'preprocessing' of this run out, or give that of training"
    )


def _own_steps(intensity: Callable[..., Any]) -> Compose:
    return Compose([LoadNativeImaged("image"), intensity, CanonicalRangeCheckd("image")])


def _steps(preprocessing: Steps) -> list[Callable[..., Any]]:
    """Single transforms, without those that are the bundle's own affair: the mask and the final size."""
    return [step for step in flattened(preprocessing) if not isinstance(step, AppendMaskd | ResizeCanonicald)]


def _parts(preprocessing: Steps) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
    """The deterministic transforms before the first random one, and those after it, which see the resized image."""
    steps = _steps(preprocessing)
    first = next((place for place, step in enumerate(steps) if is_random(step)), len(steps))
    return steps[:first], deterministic(steps[first:])


def _described(preprocessing: Steps) -> Any:
    return [describe_transform(Compose(part))["transform"] for part in _parts(preprocessing)]


def _in_words(preprocessing: Steps) -> str:
    return ", ".join(type(step).__name__ for part in _parts(preprocessing) for step in part)


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(map(str, facts.get("steps") or ["unknown transforms"]))


def _recorded(parser: ConfigParser, place: str, keep_intensity: bool = True, strict: bool = False) -> Any:
    """The config at ``place`` as JSON values.

    What stands for no plain value is refused, or kept as its text if not ``strict``.
    """

    def refused(text: str, value: Any) -> Any:
        if strict:
            raise NotPlainError(f"{text!r} is no plain value")
        return text

    def instead(text: str) -> Any:
        return text if keep_intensity and text == _INTENSITY else RESOLVED

    return recorded(parser, place, instead, refused)


def _without_last_steps(config: Any) -> Any:
    """Without the steps that `_steps` leaves out."""
    if isinstance(config, Mapping):
        return {key: _without_last_steps(value) if key == "transforms" else value for key, value in config.items()}
    if isinstance(config, list):
        return [_without_last_steps(part) for part in config if not _is_last_step(part)]
    return config


def _is_last_step(part: Any) -> bool:
    target = str(part.get("_target_", "")) if isinstance(part, Mapping) else ""
    return target.rpartition(".")[2] in (AppendMaskd.__name__, ResizeCanonicald.__name__)


def _built_transform(found: Any, config: Mapping[str, Any], arguments: dict[str, Any], place: str) -> Any:
    return found(**arguments)


def _known_transform(config: Mapping[str, Any], place: str) -> Any:
    """The class of a transform; only of MONAI or of this package, since a model file must run no code."""
    target, reader = config["_target_"], config.get("reader")
    found = _located(str(target))
    if found is None:
        raise NotPlainError(f"{target!r} is not a transform of MONAI or of this package")
    if "_mode_" in config:
        raise NotPlainError(f"{place} has the mode {config['_mode_']!r}")
    if not (reader is None or _is_known_reader(reader)):
        raise NotPlainError(f"the reader {reader!r} is not one of MONAI's")
    return found


def _located(name: str) -> Any:
    if "." not in name:
        name = f"monai.transforms.{name}"
    if not name.startswith(("monai.transforms.", "radimagenet_monai.")):
        return None
    try:
        found: Any = pydoc.locate(name)
    except pydoc.ErrorDuringImport:
        return None
    is_known = (
        inspect.isclass(found)
        and issubclass(found, Transform)
        and found.__module__.startswith(("monai.transforms.", "radimagenet_monai."))
        and not found.__name__.startswith(_REFUSED)
    )
    return found if is_known else None


def _is_known_reader(value: Any) -> bool:
    return isinstance(value, str) and inspect.isclass(getattr(monai.data, value, None))
