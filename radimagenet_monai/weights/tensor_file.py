"""Reads tensors from torch and safetensors files. Nothing in a file is executed."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.weights.container import Container, recognize_container

# Keys under which training programs save the state dict; "network" is this package's own.
_WRAPPERS = ("state_dict", "model_state_dict", "network", "model")
_DEEPEST = 4  # wrappers around a state dict
_NEEDS_CODE = re.compile(r"\bGLOBAL ([\w.]+)")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors of the state dict in the file, on the CPU, by name.

    A state dict under one of the usual checkpoint keys is found, and the ``module.`` that data-parallel training puts
    before every name is removed.

    Raises
    ------
    WeightsError
        If the file is damaged, needs code to load, or holds no state dict.
    """
    path = Path(path)
    container = recognize_container(path)
    if container is Container.HDF5:
        raise WeightsError(f"{path} is an HDF5 file, expected a torch file or safetensors")
    content = _read_safetensors(path) if container is Container.SAFETENSORS else read_torch_file(path)
    state = _state_dict(path, content)
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def read_state_dicts(path: str | os.PathLike[str]) -> dict[str, dict[str, Tensor]]:
    """Every state dict in the file, by its keys joined with dots; usual places first.

    Raises
    ------
    WeightsError
        See `read_tensors`.
    """
    path = Path(path)
    container = recognize_container(path)
    if container is Container.HDF5:
        raise WeightsError(f"{path} is an HDF5 file, expected a torch file or safetensors")
    content = _read_safetensors(path) if container is Container.SAFETENSORS else read_torch_file(path)
    found = dict(_nested(content, "", _DEEPEST))
    if not found:
        _state_dict(path, content)  # raises
    usual = [place for place in _WRAPPERS if place in found]
    return {place: found[place] for place in dict.fromkeys([*usual, *found])}


def _nested(content: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping) or depth < 0:
        return
    tensors = {str(name): item.detach() for name, item in content.items() if isinstance(item, Tensor)}
    if tensors:
        yield place, tensors
    for name, item in content.items():
        if isinstance(name, str):  # optimizer states have integer keys
            yield from _nested(item, f"{place}.{name}" if place else name, depth - 1)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is a damaged safetensors file: {error}") from error


def read_torch_file(path: Path) -> Any:
    """Content of a torch file: tensors and plain containers, nothing that needs code.

    Raises
    ------
    WeightsError
        If the file is damaged or needs code to load.
    OSError
        If the file does not exist or is not readable.
    """
    try:
        with warnings.catch_warnings():
            # Warnings about pickle protocols; such a file is either fine or refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except pickle.UnpicklingError as error:
        # The rest of torch's message is advice to run the code.
        found = _NEEDS_CODE.search(str(error))
        if found is None:
            raise WeightsError(
                f"{path} is a damaged torch file, or a pickle that could run code; expected tensors saved by torch"
            ) from error
        raise WeightsError(
            f"{path} would run code when loaded ({found[1]}), expected tensors only; have its owner save "
            "model.state_dict() in its place, or for a checkpoint of Lightning the part under its key 'state_dict'"
        ) from error
    except Exception as error:  # RuntimeError, EOFError, OSError, ... depending on where the file is damaged
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise WeightsError(f"{path} is a damaged or incomplete torch file: {reason}") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and not is_state_dict(content):
        content = next((content[key] for key in _WRAPPERS if is_state_dict(content.get(key))), content)
    if not is_state_dict(content):
        what = f"a mapping of {', '.join(map(str, list(content)[:4]))}" if isinstance(content, Mapping) else None
        raise WeightsError(f"{path} holds {what or f'a {type(content).__name__}'}, expected a state dict of tensors")
    return {str(name): tensor.detach() for name, tensor in content.items()}


def is_state_dict(content: Any) -> bool:
    """Whether ``content`` is a non-empty mapping of tensors."""
    return isinstance(content, Mapping) and bool(content) and all(isinstance(item, Tensor) for item in content.values())
