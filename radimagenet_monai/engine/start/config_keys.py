"""Refuses a run whose configuration has a misspelt key or a value of the wrong type, before anything runs.

``monai.bundle run`` adds every unknown key to the config, where nothing ever reads it: ``--wieghts`` would train from
random weights. The hook `check_keys`, the first in a bundle's ``initialize`` and ``run``, compares the config that is
about to run with the file it came from.
"""

from __future__ import annotations

import inspect
import json
import pydoc
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from radimagenet_monai.core.errors import ConfigurationError, UsageError
from radimagenet_monai.core.flags import did_you_mean, flag, names, nearest, number, one_of, optional, text, whole
from radimagenet_monai.core.plain_config import is_own
from radimagenet_monai.engine.start.error_lines import note_keys, show_errors_in_one_line
from radimagenet_monai.engine.start.label_run import take_label_files
from radimagenet_monai.engine.trained.model_file import trained_fact
from radimagenet_monai.models.recorded import name_of

Check = Callable[[Any], str | None]

_RUN_ARGUMENTS = ("config_file", "meta_file", "logging_file", "args_file", "tracking", "run_id", "init_id", "final_id")
"""Arguments of ``monai.bundle run`` that somebody may have meant by a misspelt key."""

_OWN_FILES = ("train.json", "evaluate.json", "inference.json")
_ALWAYS_KNOWN = frozenset({"_meta_", "initialize", "run", "finalize", "workflow_type", "properties_path"})
_MERGE, _SEPARATOR = "+", "::"
_REFERENCE = re.compile(r"@((?:\w|::|#)+)")


def _device(value: Any) -> str | None:
    import torch

    try:
        device = torch.device(value)
    except (RuntimeError, TypeError):
        return "expected a device such as cpu, cuda or cuda:1"
    if device.type == "cuda" and not torch.cuda.is_available():
        return "this machine has no GPU that torch can use; expected cpu"
    return None


_CHECKS: dict[str, Check] = {
    "bundle_root": text,
    "dataset_dir": text,
    "datalist": text,
    "output_dir": text,
    "store_dir": text,
    "checkpoint": text,
    "weights": text,
    "image_size": whole(1),
    "batch_size": whole(1),
    "learning_rate": number(0, above=True),
    "max_epochs": whole(1),
    "fold": optional(whole(0)),
    "seed": whole(0),
    "amp": flag,
    "device": _device,
    "num_workers": whole(0),
    "resume": flag,
    "overwrite": flag,
    "checkpoint_minutes": number(0),
    "unreadable": one_of("stop", "skip"),
    "val_interval": whole(1),
    "aggregate": one_of("none", "mean", "max"),
    "threshold": optional(number(0, 1)),
    "overlays": whole(0),
    "classes": names,
    "weight_decay": number(0),
    "reference_batch": whole(0),
    "warmup_epochs": number(0),
    "label_smoothing": number(0, 1),
    "logit_adjustment": number(0),
    "ema_decay": number(0, 1),
    "accumulate": whole(1),
    "clip_gradient_norm": number(0),
    "progressive_resizing": whole(0),
    "first_image_size": whole(1),
    "shuffle_window": whole(0),
    "compile": lambda value: flag(value) and one_of("auto", "true", "false")(str(value).lower()),
}
"""What the top-level keys of the bundles may be; another key may be what its default in the file is."""

_checked: weakref.WeakSet[ConfigParser] = weakref.WeakSet()


@dataclass
class _Call:
    """How a workflow was created, as far as MONAI's stack frames show."""

    parser: ConfigParser | None = None
    workflow: ConfigWorkflow | None = None
    files: list[Path] = field(default_factory=list)
    pairs: dict[str, Any] = field(default_factory=dict)
    tracking: Any = None
    loaded: str = ""
    added: set[str] = field(default_factory=set)


def check_keys(config: str) -> None:
    """Refuse unknown keys and values of the wrong type. Creates nothing.

    Within `monai.bundle.load` it also sets the architecture and classes of the trained model in the config; where a
    labelling client hands over label files, it makes records of them (`take_label_files`).

    A key is known if it is in the config file, in the signature of a component (``_target_``), or referenced with ``@``
    in the config. Give a deliberately new key with MONAI's sign for merging, ``--+key value``, or ``"+key"`` in a
    further config file. Covers ``python -m monai.bundle run`` and
    ``run_workflow``, with several config files and an args file, `monai.bundle.run`, `monai.bundle.create_workflow` and
    `monai.bundle.load` with ``net_override``.

    Parameters
    ----------
    config
        Name of the config without suffix, such as ``"train"``.

    Raises
    ------
    UsageError
        Names every unknown key with the nearest known one, or the wrong value with what was expected. In a process
        started as ``python -m monai.bundle`` it becomes one line on standard error and exit status 2.
    """
    show_errors_in_one_line()
    call = _find_call()
    if call.parser is None or call.parser in _checked:
        return
    base = _base(call, config)
    if base is None:
        return
    content = call.parser.get()
    note_keys(base)
    deliberate = _deliberate(call, base) | call.added
    referenced = set(_references(content))
    unknown = [
        (path, known)
        for path, known in _unknown(base, content, (), call.parser)
        if not _is_expected(path, deliberate, referenced, call.tracking)
    ]
    if unknown:
        raise UsageError(_in_words(unknown, call, config))
    if call.workflow is not None and call.workflow.run_id not in call.parser:
        raise UsageError(
            f"'{call.workflow.run_id}' is given beside the keys, and {config}.json has nothing of that name to run; a "
            "value with blanks needs quotes"
        )
    _check_values(base, content)
    _check_network(base, content)
    _checked.add(call.parser)
    if config == "train":
        take_label_files(call.parser)
    if call.loaded:
        _take_trained_facts(call.parser, call.loaded)


def check_settings(base: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a config's top-level keys do not know, or of the wrong type.

    Raises
    ------
    UsageError
        Names the nearest known key, or what was expected.
    """
    for key in settings:
        if key not in base:
            raise UsageError(f"unknown key --{key}: {did_you_mean(key, list(base), '--')} Nothing was run")
    _check_values(base, {**base, **settings})


def inference_parser(bundle: Path, settings: Mapping[str, Any] | None = None) -> ConfigParser:
    """The ``inference.json`` of a bundle folder with some of its top-level keys set.

    Raises
    ------
    ConfigurationError
        If there is no such config.
    UsageError
        See `check_settings`.
    """
    config = bundle / "configs" / "inference.json"
    if not config.is_file():
        raise ConfigurationError(f"'{bundle}' has no configs/inference.json; give the folder of a bundle")
    parser = ConfigParser()
    parser.read_config(config)
    check_settings(parser.get(), settings or {})
    for key, value in {"bundle_root": str(bundle), **(settings or {})}.items():
        parser[key] = value
    return parser


def evaluating_parser() -> ConfigParser | None:
    """The parser whose expression or component is being evaluated, or ``None`` outside of one."""
    return _find_call().parser


def _take_trained_facts(parser: ConfigParser, model: str) -> None:
    """Let ``monai.bundle.load`` build the trained network, wherever the bundle is.

    MONAI evaluates the config with ``bundle_root`` ".", where the bundle's model cannot be found.
    """
    for key in ("architecture", "classes", "findings", "image_size", "aggregate"):
        fact = trained_fact(model, key, None)
        if fact is not None and key in parser.get():
            parser[key] = fact
    network = trained_fact(model, "network_def", None)
    if not is_own(network):
        # As text, so that MONAI builds nothing of what a model names.
        recorded = json.dumps(network)
        parser["network_def"] = {"_target_": "radimagenet_monai.models.trained_classifier", "recorded": recorded}


def _find_call() -> _Call:
    """The parser that evaluates the hook, and the arguments of the calling MONAI functions."""
    call = _Call()
    frame = sys._getframe(1)
    while frame is not None:
        local = frame.f_locals
        owner = local.get("self")
        if isinstance(owner, ConfigParser):
            call.parser = call.parser or owner
        elif isinstance(owner, ConfigWorkflow):
            call.workflow = call.workflow or owner
        if frame.f_globals.get("__name__") == "monai.fl.client.monai_algo":
            call.added.add("run_name")  # whether anything uses it or not
        if frame.f_globals.get("__name__") == "monai.bundle.scripts":
            pairs = {**_pairs(local.get("kwargs")), **_pairs(local.get("override"))}
            from_file = _pairs(local.get("args_file"))
            call.pairs = {**from_file, **pairs, **call.pairs}
            call.files = call.files or _files(local.get("config_file") or from_file.get("config_file"))
            if frame.f_code.co_name == "load":
                call.loaded = str(local.get("full_path") or "")
            call.tracking = call.tracking or local.get("tracking") or call.pairs.get("tracking")
        frame = frame.f_back  # type: ignore[assignment]
    return call


def _pairs(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and Path(value).is_file():
        value = ConfigParser.load_config_file(value)
    return dict(value) if isinstance(value, Mapping) else {}


def _files(value: Any) -> list[Path]:
    if isinstance(value, str) and not Path(value).is_file():
        value = value.split(",")
    items = [value] if not isinstance(value, Sequence) or isinstance(value, str) else value
    return [Path(str(item)) for item in items if item]


def _base(call: _Call, config: str) -> dict[str, Any] | None:
    """Content of the config file of that name, or of the largest of several files (a user's copy of it).

    Configs of a bundle that are merged, such as train.json and evaluate.json, count together.
    """
    if call.files:
        merged = [path for path in call.files if path.name in _OWN_FILES]
        if any(path.name == f"{config}.json" for path in merged):
            return dict(ConfigParser.load_config_files(list(map(str, merged))))
        return max((_pairs(str(path)) for path in call.files), key=len, default=None) or None
    if call.workflow is None or call.parser is None:
        return None
    given = call.parser.get().keys()  # a workflow does not tell the names of its files
    files = [Path(call.workflow.config_root_path) / name for name in _OWN_FILES]
    merged = [path for path in files if path.name == f"{config}.json" or (_pairs(str(path)).keys() or {""}) <= given]
    return dict(ConfigParser.load_config_files([str(path) for path in merged if path.is_file()])) or None


def _deliberate(call: _Call, base: Mapping[str, Any]) -> set[str]:
    """Keys marked as new with a plus.

    Raises
    ------
    UsageError
        For a plus on the command line before an existing key: MONAI would replace it, not merge.
    """
    parser = ConfigParser(config=dict(base))
    for key in call.pairs:
        if key.startswith(_MERGE) and key[1:] in parser:
            raise UsageError(
                f"--{key}: MONAI merges in config files alone and would replace {key[1:]} here; give --{key[1:]} to "
                f'replace it, or "{key}" in a further --config_file to merge'
            )
    marked = [*call.pairs, *(key for path in call.files for key in _pairs(str(path)))]
    return {_normal(key[1:]) for key in marked if key.startswith(_MERGE)}


def _is_expected(path: tuple[str, ...], deliberate: set[str], referenced: set[str], tracking: Any) -> bool:
    places = {_SEPARATOR.join(path[: length + 1]) for length in range(len(path))}
    if places & deliberate or path[0] in _ALWAYS_KNOWN:
        return True
    mlflow: Any = DEFAULT_EXP_MGMT_SETTINGS["mlflow"]
    if tracking is not None and path[0] in mlflow["configs"]:
        return True
    whole_path = _SEPARATOR.join(path)
    return any(item == whole_path or item.startswith(whole_path + _SEPARATOR) for item in referenced)


def _unknown(
    base: Any, content: Any, path: tuple[str, ...], parser: ConfigParser
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Paths of keys in ``content`` that are in neither ``base`` nor a component's signature, with the known keys."""
    if isinstance(content, Mapping):
        same = isinstance(base, Mapping) and base.get("_target_") == content.get("_target_")
        known: Mapping[str, Any] = base if same and isinstance(base, Mapping) else {}
        # A replaced section has no keys to compare with, but a component still has a signature.
        compared = isinstance(base, Mapping) and (same or "_target_" in content)
        parameters: tuple[list[str], bool] | None = None
        for key, value in content.items():
            if key in known or not compared:
                yield from _unknown(known.get(key), value, (*path, str(key)), parser)
                continue
            if "_target_" in content:
                if str(key).startswith("_"):
                    continue
                parameters = parameters or _parameters(str(content["_target_"]), parser)
                if _accepts(str(key), parameters, known):
                    continue
                yield (*path, str(key)), [*parameters[0], *known]
            elif _are_components(known.values()) and _are_components([value]):
                # A table of components under names of the user's choice, such as metrics.
                yield from _unknown(None, value, (*path, str(key)), parser)
            else:
                yield (*path, str(key)), list(known)
    elif isinstance(content, list):
        pairs = base if isinstance(base, list) and len(base) == len(content) else [None] * len(content)
        for place, (before, now) in enumerate(zip(pairs, content, strict=True)):
            yield from _unknown(before, now, (*path, str(place)), parser)


def _are_components(values: Iterable[Any]) -> bool:
    items = list(values)
    return bool(items) and all(isinstance(item, Mapping) and "_target_" in item for item in items)


def _parameters(target: str, parser: ConfigParser) -> tuple[list[str], bool]:
    """Parameter names of a component, and whether it accepts any others."""
    located: Any = None
    try:
        module = None if "." in target else parser.locator.get_component_module_name(target)
        name = f"{module[0] if isinstance(module, list) else module}.{target}" if module else target
        located = pydoc.locate(name)
        parameters = inspect.signature(located).parameters
    except (pydoc.ErrorDuringImport, TypeError, ValueError):
        return [], True
    named = [item for item, value in parameters.items() if value.kind not in (value.VAR_KEYWORD, value.VAR_POSITIONAL)]
    return named, any(value.kind is value.VAR_KEYWORD for value in parameters.values())


def _accepts(key: str, parameters: tuple[list[str], bool], known: Mapping[str, Any]) -> bool:
    named, takes_others = parameters
    # Even if any name is accepted, one that nearly matches a known name is a typo.
    return key in named or (takes_others and nearest(key, [*named, *known]) is None)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str) and "@" in value:
        yield from (_normal(item) for item in _REFERENCE.findall(value))


def _normal(key: str) -> str:
    return key.replace("#", _SEPARATOR)


def _in_words(unknown: Sequence[tuple[tuple[str, ...], list[str]]], call: _Call, config: str) -> str:
    parts = []
    for path, known in unknown:
        name = _SEPARATOR.join(path)
        candidates = [*known, *_RUN_ARGUMENTS] if len(path) == 1 else known
        meant = nearest(path[-1], candidates)
        hint = _other_configs(path, call, config)
        if path[0].startswith(_MERGE):
            hint = "MONAI reads the plus in config files and on the command line, not in an args file."
        elif not hint and meant is not None:
            hint = f"did you mean --{_SEPARATOR.join([*path[:-1], meant])}?"
        listed = ", ".join(dict.fromkeys(item for item in known if not item.startswith("_")))
        parts.append(f"unknown key --{name}{_origin(name, call)}: {hint or f'known: {listed}.'}")
    first = _SEPARATOR.join(unknown[0][0]).lstrip(_MERGE)
    return f"{' '.join(parts)} Nothing was run. A key that is new on purpose is given as --+{first}"


def _origin(name: str, call: _Call) -> str:
    if name in {_normal(key) for key in call.pairs}:
        return ""
    for path in call.files:
        if name in {_normal(key) for key in _pairs(str(path))}:
            return f" (in {path.name})"
    return ""


def _other_configs(path: tuple[str, ...], call: _Call, config: str) -> str:
    """A note for a key that belongs to another config of the bundle, or an empty string."""
    if call.workflow is None or len(path) > 1:
        return ""
    for other in ("train", "evaluate", "inference"):
        file = Path(call.workflow.config_root_path) / f"{other}.json"
        if other != config and file.is_file() and path[0] in _pairs(str(file)):
            return f"it is a key of {other}.json and has no effect on {config}.json."
    return ""


def _check_values(base: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    for key, default in base.items():
        value = content.get(key)
        if isinstance(value, str) and value.startswith(("$", "@", "%")):
            continue  # known only when it is evaluated
        check = _CHECKS.get(key) or _by_default(default)
        problem = check(value) if check is not None else None
        if problem is not None:
            raise UsageError(f"--{key} {value} was given: {problem}. Nothing was run")
    epochs, interval = content.get("max_epochs"), content.get("val_interval")
    if isinstance(epochs, int) and isinstance(interval, int) and interval > epochs:
        raise UsageError(
            f"--val_interval {interval} was given with {epochs} epochs: no model would be validated, and only the best "
            f"of those that are is saved. Give --val_interval {epochs} or less. Nothing was run"
        )


def _check_network(base: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Refuse an encoder, weights or a policy of freezing that a ``network_def`` of the user's own does not use."""
    network = content.get("network_def")
    if not isinstance(network, Mapping) or network == base.get("network_def") or is_own(network):
        return
    used = set(_references(network))
    for key in ("architecture", "weights", "freeze"):
        if key in base and content.get(key) != base[key] and key not in used:
            raise UsageError(
                f"--{key} {content.get(key)} was given and has no effect: network_def is {name_of(network)}, which "
                f'does not use it; leave --{key} out, or refer to it in network_def as "@{key}". Nothing was run'
            )


def _by_default(default: Any) -> Check | None:
    """Check for a key without an entry in `_CHECKS`: any value of its default's type."""
    if isinstance(default, bool):
        return flag
    if isinstance(default, int | float):
        return number()
    return text if isinstance(default, str) and not default.startswith(("$", "@", "%")) else None
