"""The trained network of a bundle as ONNX or TorchScript, stating what the bundle's metadata state."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radimagenet_monai.collection.bundle_files import MODEL_FILE, BundleError
from radimagenet_monai.core.atomic import scratch_folder
from radimagenet_monai.core.errors import ConfigurationError

METADATA = "metadata.json"
"""Key of the bundle's metadata in the properties of an ONNX file, as in the extra files of TorchScript."""

_STATED = ("architecture", "image_size", "classes", "findings", "threshold", "thresholds", "aggregate", "sha256")


def export_model(bundle: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Export by `monai.bundle.onnx_export` or `monai.bundle.ckpt_export`, and return the file.

    Both are given the size of the model's images. An ONNX file also states ``metadata.json`` whole, name and version of
    the bundle, and each known one of architecture, image_size, classes, findings, threshold and the weights' SHA-256 as
    JSON, in its ``metadata_props``, where MONAI's command leaves nothing.

    Parameters
    ----------
    bundle
        Folder with ``models/model.pt``.
    out
        ``*.onnx`` or ``*.ts``; replaced atomically.

    Raises
    ------
    BundleError
        If there is no trained model.
    ConfigurationError
        If the file ends otherwise, or the package onnx is needed and not installed.
    """
    bundle, out = Path(bundle), Path(out)
    if out.suffix not in (".onnx", ".ts"):
        raise ConfigurationError(f"'{out.name}' was given, expected a file name that ends in .onnx or .ts")
    if not (bundle / MODEL_FILE).is_file():
        raise BundleError(f"'{bundle}' has no {MODEL_FILE}; train the bundle first, or give one with weights")
    if not out.parent.is_dir():
        raise ConfigurationError(f"the folder of '{out}' does not exist")
    if out.suffix == ".onnx" and any(find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise ConfigurationError("to write ONNX, packages are missing: pip install 'radimagenet-monai[onnx]'")
    import monai.bundle

    arguments: dict[str, Any] = {
        "net_id": "network_def",
        "ckpt_file": str(bundle / MODEL_FILE),
        "meta_file": str(bundle / "configs" / METADATA),
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
    }
    with scratch_folder(out.parent, out.name) as scratch:
        part = scratch / out.name
        if out.suffix == ".ts":
            monai.bundle.ckpt_export(filepath=str(part), **arguments)
        else:
            options = bundle / "configs" / "onnx_export.json"
            args_file = str(options) if options.is_file() else None
            monai.bundle.onnx_export(filepath=str(part), args_file=args_file, **arguments)
            _state_metadata(part, bundle / "configs" / METADATA)
        part.replace(out)
    return out


def _state_metadata(model: Path, metadata: Path) -> None:
    import onnx

    network = onnx.load(model)
    onnx.helper.set_model_props(network, _properties(json.loads(metadata.read_text(encoding="utf-8"))))
    onnx.save(network, model)


def _properties(metadata: Mapping[str, Any]) -> dict[str, str]:
    facts = metadata.get("trained_model") or {}
    stated = {key: json.dumps(facts[key], ensure_ascii=False) for key in _STATED if key in facts}
    known = {key: str(metadata[key]) for key in ("name", "version", "task", "intended_use") if metadata.get(key)}
    return {**known, **stated, METADATA: json.dumps(metadata, ensure_ascii=False)}
