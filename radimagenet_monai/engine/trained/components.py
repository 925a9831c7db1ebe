"""The network, loss, optimizer and schedule of a run, as config dictionaries for its settings."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.plain_config import LEFT_OUT, RESOLVED, is_own, is_plain, recorded
from radimagenet_monai.engine.distributed import rank
from radimagenet_monai.engine.start.config_keys import evaluating_parser
from radimagenet_monai.models.recorded import name_of, why_not_rebuilt

logger = logging.getLogger(__name__)

NETWORK = "network_def"
_REFERENCE = re.compile(r"@((?:\w|::|#)+)")
_MOST_ELEMENTS = 4096


def component_facts(place: str) -> Any:
    """The config of a component of this run, as it was built, in JSON values; ``None`` if the run has none.

    Taken from the `ConfigParser` that evaluates this call, with expressions replaced by their values. References to
    other components, such as the optimizer's parameters, are left out. What a network takes from an expression that
    gives no plain value is kept as text; a log line then says that evaluation needs ``--network_def``, too.

    Parameters
    ----------
    place
        Key of the component, such as ``"loss_function"``.
    """
    parser = evaluating_parser()
    if parser is None or place not in parser:
        return None
    if place == NETWORK:
        facts = recorded(parser, place, lambda text: _text_of_component(parser, text), lambda text, value: text)
    else:
        facts = recorded(parser, place, lambda text: _no_component(parser, text), lambda text, value: _as_plain(value))
    return None if facts is LEFT_OUT else facts


def architecture_facts(architecture: str) -> str:
    """The architecture of this run: the bundle's, or a short name of the library's network in ``network_def``."""
    network = component_facts(NETWORK)
    if is_own(network):
        return architecture
    if rank() == 0 and (reason := why_not_rebuilt(network)):
        logger.warning("evaluation, inference and export of this model will need --network_def again: %s", reason)
    return name_of(network)


def weights_facts(weights: str) -> str:
    """The initial weights of this run; a library's network brings its own."""
    return weights if is_own(component_facts(NETWORK)) else f"as {NETWORK} states"


def same_setting(name: str, before: Any, now: Any) -> bool:
    """Whether a run may go on with a setting. A schedule may depend on the number of epochs, which may change."""
    if name in ("lr_scheduler", "schedule") and isinstance(before, Mapping) and isinstance(now, Mapping):
        return bool(before.get("_target_") == now.get("_target_"))
    return bool(before == now)


def in_words(facts: Any) -> str:
    """A component's config on one line, as a call."""
    if not isinstance(facts, Mapping) or "_target_" not in facts:
        return repr(facts)
    arguments = ", ".join(f"{key}={in_words(value)}" for key, value in facts.items() if key != "_target_")
    return f"{facts['_target_']}({arguments})"


def _text_of_component(parser: ConfigParser, text: str) -> Any:
    """An expression that would build a component, as text."""
    return text if text.startswith("$") and _reaches_component(parser, text, set()) else RESOLVED


def _no_component(parser: ConfigParser, text: str) -> Any:
    return LEFT_OUT if _reaches_component(parser, text, set()) else RESOLVED


def _reaches_component(parser: ConfigParser, raw: Any, seen: set[str]) -> bool:
    """Whether evaluating a part of the config would build a component, such as a dataset."""
    if isinstance(raw, Mapping):
        return "_target_" in raw or any(_reaches_component(parser, item, seen) for item in raw.values())
    if isinstance(raw, list):
        return any(_reaches_component(parser, item, seen) for item in raw)
    if not isinstance(raw, str) or raw[:1] not in ("@", "$"):
        return False
    for reference in _REFERENCE.findall(raw):
        place = reference.replace("#", "::")
        if place in seen:
            continue
        seen.add(place)
        if place not in parser:
            raise ConfigurationError(f"{raw!r} refers to {place!r}, which the config does not have")
        if _reaches_component(parser, parser[place], seen):
            return True
    return False


def _as_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | torch.Tensor):
        elements = int(np.prod(value.shape))
        return value.tolist() if elements <= _MOST_ELEMENTS else f"{type(value).__name__} of {tuple(value.shape)}"
    return value if is_plain(value) else str(value)
