"""What a training decided, written into the bundle's own configs, metadata and model card.

A client that knows nothing of ``models/model.json`` then builds the right network and names the right classes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radimagenet_monai.core.atomic import atomic_write_text, read_json_if_whole
from radimagenet_monai.core.plain_config import is_own

CARD = "docs/README.md"
CARD_ROW = "| Weights in this bundle |"
_CONFIGS = ("inference", "evaluate", "train")
# Keys at the top of train.json that later trainings of the bundle go on with.
# Not the plane: of volumes acquired in another one it would ask for slices that nobody acquired.
_CONTINUED = ("architecture", "image_size", "classes", "findings", "aggregate")
_DEFAULT = re.compile(r"\$engine\.trained_fact\(@checkpoint, '(\w+)', .*\)", re.DOTALL)
_IN_METADATA = (
    *("architecture", "image_size", "classes", "findings", "threshold", "thresholds", "aggregate", "plane"),
    *("intensity", "preprocessing", "weights", "epoch", "sha256"),
)


def state_trained_facts(bundle: str | os.PathLike[str]) -> list[str]:
    """Write the facts of ``models/model.json`` into a bundle's configs, metadata and model card.

    In ``inference.json`` and ``evaluate.json``, the values that hold without a ``model.json`` beside the checkpoint
    become those of this model; ``train.json`` goes on from them; ``metadata.json`` states input size, classes and
    ``trained_model``, which exports to TorchScript and ONNX carry along. Other keys, and files that are missing or no
    JSON, stay as they are.

    Parameters
    ----------
    bundle
        Bundle folder.

    Returns
    -------
    list of str
        Names of the changed files, relative to the folder.
    """
    folder = Path(bundle)
    facts = read_json_if_whole(folder / "models" / "model.json")
    if not facts:
        return []
    changed = []
    for name in _CONFIGS:
        changed += _rewrite(
            folder, f"configs/{name}.json", lambda config, name=name: _stated_config(config, facts, name)
        )
    changed += _rewrite(folder, "configs/metadata.json", lambda metadata: _stated_metadata(metadata, facts))
    card = folder / CARD
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        stated = stated_card(text, facts)
        if stated is not None and stated != text:
            atomic_write_text(card, stated)
            changed.append(CARD)
    return changed


def stated_card(card: str, facts: Mapping[str, Any]) -> str | None:
    """A model card with its row on weights stating those of the model; ``None`` if it has no single such row."""
    lines = card.splitlines(keepends=True)
    rows = [index for index, line in enumerate(lines) if line.startswith(CARD_ROW)]
    if len(rows) != 1:
        return None
    known = [
        f"{title} {facts[key]}"
        for key, title in (("architecture", "architecture"), ("weights", "started from"), ("epoch", "epoch"))
        if facts.get(key) is not None
    ]
    if size := _size(facts):
        known.append(f"images of {size[0]} x {size[1]} pixels")
    if names := facts.get("findings") or facts.get("classes"):
        shown = ", ".join(map(str, names)) if len(names) <= 20 else f"{len(names)} classes"
        known.append(f"{'findings' if facts.get('findings') else 'classes'}: {shown}")
    if isinstance(facts.get("threshold"), float):
        known.append(f"decision threshold {facts['threshold']:.3g}")
    listed = f" ({'; '.join(known)})" if known else ""
    digest = f", SHA-256 `{facts['sha256']}`" if facts.get("sha256") else ""
    about = f"`models/model.pt`{listed}{digest}"
    lines[rows[0]] = f"{CARD_ROW} {about.replace('|', '/')} |\n"
    return "".join(lines)


def _rewrite(folder: Path, name: str, change: Any) -> list[str]:
    config = read_json_if_whole(folder / name)
    if not config or (stated := change(config)) == config:
        return []
    atomic_write_text(folder / name, json.dumps(stated, indent=4, ensure_ascii=False) + "\n")
    return [name]


def _stated_config(config: dict[str, Any], facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    stated: dict[str, Any] = _with_defaults(config, facts)
    if name != "train":
        return stated
    for key in _CONTINUED:
        if key == "architecture" and not is_own(facts.get("network_def")):
            continue  # the name of a library's network
        if (
            key in stated
            and facts.get(key) is not None
            and not _holds_code(stated[key])
            and not _holds_code(facts[key])
        ):
            stated[key] = facts[key]
    network = facts.get("network_def")
    if not is_own(network) and not _holds_code(network) and _is_library_network(network):
        stated["network_def"] = network
    return stated


def _is_library_network(network: Any) -> bool:
    """Whether evaluation would rebuild it: a model file from anywhere must not put code into a config."""
    from radimagenet_monai.models.recorded import why_not_rebuilt  # imports torch

    return not why_not_rebuilt(network)


def _with_defaults(part: Any, facts: Mapping[str, Any]) -> Any:
    """With the facts as defaults of all ``trained_fact`` expressions."""
    if isinstance(part, dict):
        return {key: _with_defaults(value, facts) for key, value in part.items()}
    if isinstance(part, list):
        return [_with_defaults(value, facts) for value in part]
    if not isinstance(part, str) or (found := _DEFAULT.fullmatch(part)) is None:
        return part
    name = found[1]
    if name not in facts or (name == "network_def" and is_own(facts[name])):
        return part
    literal = repr(facts[name])
    # MONAI takes these for references and expressions, even within a text.
    return part if set("@#$%") & set(literal) else f"$engine.trained_fact(@checkpoint, {name!r}, {literal})"


def _holds_code(value: Any) -> bool:
    """Whether MONAI would evaluate, look up or include any text of a value."""
    if isinstance(value, Mapping):
        return any(map(_holds_code, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return any(map(_holds_code, value))
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _stated_metadata(metadata: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads(json.dumps(metadata))
    layout = stated.get("network_data_format") or {}
    size = _size(facts)
    names = facts.get("findings") or facts.get("classes")
    for group in ("inputs", "outputs", "post_processed_outputs"):
        for entry in (layout.get(group) or {}).values():
            if size and len(entry.get("spatial_shape") or ()) == 2:
                entry["spatial_shape"] = list(size)
            if names and group != "inputs" and entry.get("dtype") != "uint8":  # a label map has one channel
                entry["channel_def"] = {str(index): str(name) for index, name in enumerate(names)}
                entry["num_channels"] = len(names)
    if names:
        listed = ", ".join(f"{index} {name}" for index, name in enumerate(names))
        stated |= {key: listed for key in ("label_classes", "pred_classes") if key in stated}
    stated["trained_model"] = {key: facts[key] for key in _IN_METADATA if facts.get(key) is not None}
    return stated


def _size(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    size = facts.get("image_size")
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None
