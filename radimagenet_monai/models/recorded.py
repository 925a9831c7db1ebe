"""The network of a trained model: one of this package, or that of a library, rebuilt from its recorded config.

``model.json`` records the config of the network that was trained. It comes with a model from anywhere, so nothing in it
may run code: it may only name networks of a few libraries, and classes of networks of installed plug-ins, with plain
values as arguments.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.core.plain_config import SPECIAL, NotPlainError, is_own, rebuilt, require_known
from radimagenet_monai.core.registry import plugin_packages
from radimagenet_monai.models.classifier import build_classifier
from radimagenet_monai.models.unet import build_unet

LIBRARIES = ("monai.networks.nets", "monai.networks.blocks", "monai.networks.layers", "timm", "torch.nn", "torchvision")
"""Packages whose networks a model may name, beside those of installed plug-ins."""

_NAME = re.compile(r"[A-Za-z]\w*(\.\w+)*", re.ASCII)
# They only say which weights to begin with; the trained ones are loaded afterwards.
_NO_INITIAL_WEIGHTS = {"pretrained": False, "use_pretrained": False, "weights": None, "weights_backbone": None}
_INITIAL_WEIGHTS = {
    *_NO_INITIAL_WEIGHTS,
    *("cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "progress"),
}
_PLACE = "network_def"
_WAY_OUT = "give --network_def as in training"


def name_of(config: Mapping[str, Any]) -> str:
    """A short name of a recorded network: its target, with the model's name where the target takes one."""
    model = config.get("model_name") or config.get("name")
    return f"{config.get('_target_')}({model})" if isinstance(model, str) else str(config.get("_target_"))


def trained_classifier(
    recorded: Mapping[str, Any] | str | None = None,
    architecture: str = "resnet50",
    num_classes: int = 2,
    weights: str = "random",
    freeze: str = "none",
    dropout: float = 0.5,
) -> nn.Module:
    """The classifier of a trained model, without its weights.

    Parameters
    ----------
    recorded
        ``network_def`` of its ``model.json``, or the same as JSON text. If it is a network of a library, it is rebuilt.
    architecture, num_classes, weights, freeze, dropout
        For `build_classifier`, if it is one of this package or was not recorded.

    Raises
    ------
    ConfigurationError
        See `rebuild_network` and `build_classifier`.
    """
    config = json.loads(recorded) if isinstance(recorded, str) else recorded
    if config is not None and not is_own(config):
        return rebuild_network(config)
    return build_classifier(architecture, num_classes, weights, freeze, dropout)


def trained_unet(
    recorded: Mapping[str, Any] | str | None = None,
    architecture: str = "resnet50",
    num_classes: int = 2,
    weights: str = "random",
    freeze: str = "none",
) -> nn.Module:
    """As `trained_classifier`, for a segmentation: by default `build_unet`."""
    config = json.loads(recorded) if isinstance(recorded, str) else recorded
    if config is not None and not is_own(config):
        return rebuild_network(config)
    return build_unet(architecture, weights, num_classes, freeze)


def rebuild_network(config: Mapping[str, Any]) -> nn.Module:
    """A network of one of the `LIBRARIES`, or of an installed plug-in, from its config.

    Its weights are random; nothing is downloaded.

    Raises
    ------
    ConfigurationError
        If the config names anything else, which is not imported, holds an expression or a reference, or its library is
        not installed.
    """
    try:
        built = rebuilt(config, _PLACE, _known_network, _built_network)
    except NotPlainError as error:
        raise ConfigurationError(f"model.json: {error}; {_WAY_OUT}") from None
    if not isinstance(built, nn.Module):
        raise ConfigurationError(f"{_PLACE} of model.json gives a {type(built).__name__}; {_WAY_OUT}")
    return built


def why_not_rebuilt(config: Any) -> str:
    """Why `rebuild_network` would refuse a config, in words; empty if it would not."""
    try:
        require_known(config, _PLACE, _known_network)
    except (NotPlainError, ConfigurationError) as error:
        return str(error)
    return ""


def _built_network(target: Any, config: Mapping[str, Any], arguments: dict[str, Any], place: str) -> Any:
    if config.get("_mode_") == "callable":
        return target
    try:
        known = inspect.signature(target).parameters
        kept = {key: item for key, item in arguments.items() if key not in _INITIAL_WEIGHTS}
        return target(**kept, **{key: off for key, off in _NO_INITIAL_WEIGHTS.items() if key in known})
    except Exception as error:
        raise ConfigurationError(
            f"{place} of model.json, {name_of(config)}, cannot be built ({one_line(error)}); {_WAY_OUT}"
        ) from error


def _known_network(config: Mapping[str, Any], place: str) -> Any:
    """The class of a network, or a function of a library that returns one."""
    mode, model = config.get("_mode_", "default"), config.get("model_name", "")
    if mode not in ("default", "callable"):
        raise NotPlainError(f"{place} has the mode {mode!r}")
    if mode == "callable" and set(config) - set(SPECIAL):
        raise NotPlainError(f"{place} hands on a component with arguments")
    if not (isinstance(model, str) and re.fullmatch(r"[\w.-]*", model)):
        raise NotPlainError(f"{place} takes its network from {model!r}, expected the name of a model")
    return _located(config["_target_"], place)


def _located(target: Any, place: str) -> Any:
    name = str(target)
    plugins = plugin_packages()
    library = next((item for item in (*LIBRARIES, *plugins) if name.startswith(f"{item}.")), None)
    if _NAME.fullmatch(name) and "." not in name:
        library = next((item for item in LIBRARIES[:3] if hasattr(importlib.import_module(item), name)), None)
        name = f"{library}.{name}"
    if library is None or not _NAME.fullmatch(name) or ".__" in name:
        known = ", ".join(LIBRARIES)
        raise NotPlainError(f"{place} names {target!r}, expected a network of {known} or of an installed plug-in")
    found = _object(name, place)
    root = library.partition(".")[0]
    if inspect.isclass(found) and issubclass(found, nn.Module) and found.__module__.partition(".")[0] == root:
        return found
    if inspect.isfunction(found) and library not in plugins and _gives_network(found, root):
        return found
    raise NotPlainError(f"{place} names {target!r}, which is not known to be a network of {library}")


def _object(name: str, place: str) -> Any:
    """The object of that full name, importing modules of its library as needed; ``None`` if there is none."""
    first, *rest = name.split(".")
    try:
        found: Any = importlib.import_module(first)
        for part in rest:
            inner = getattr(found, part, None)
            if inner is None and isinstance(found, ModuleType):
                inner = _submodule(found, part)
            found = inner
    except Exception as error:  # a library beside a torch that it was not made for raises more than ImportError
        raise ConfigurationError(
            f"{place} of model.json is a network of the library {first!r}, which cannot be imported "
            f"({one_line(error)[:100]}); install it"
        ) from None
    return found


def _submodule(package: ModuleType, name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"{package.__name__}.{name}")
    except ImportError:
        return None


def _gives_network(function: Any, root: str) -> bool:
    """Whether a function of a library states that it returns a network, and takes none to change."""
    if function.__module__.partition(".")[0] != root or function.__name__.startswith("_"):
        return False
    try:
        hints = typing.get_type_hints(inspect.unwrap(function))
    except (NameError, TypeError):
        return False
    returned = hints.pop("return", None)
    takes = [hint for hint in hints.values() if inspect.isclass(hint) and issubclass(hint, nn.Module)]
    return inspect.isclass(returned) and issubclass(returned, nn.Module) and not takes
