"""What a packed image depends on, in a form that can be compared: the transform's configuration, the file's state."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import stat
import sys
import types
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, OneOf, Randomizable, RandomOrder, SomeOf

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.moved import module_in_first_release

Stamp = tuple[int, int] | str

_encode = json.JSONEncoder(ensure_ascii=False).encode


def describe_transform(transform: Any) -> Any:
    """The configuration of a deterministic transform as JSON values, equal for equal pixels.

    An object becomes its class name and, recursively, its state (what ``pickle`` would keep, so a class that caches
    results leaves them out in ``__getstate__``); an array becomes the hash of its values; a function its name and the
    hash of its byte code, constants and closure. The versions of the packages that the classes come from are part of
    it, since a new version may compute other pixels.

    Raises
    ------
    ConfigurationError
        For a random transform (its result cannot be stored), or an object whose state cannot be seen.
    """
    packages: set[str] = set()
    described = _describe(transform, "transform", packages, ())
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in sorted(packages)}
    return {"transform": described, "versions": {name: version for name, version in versions.items() if version}}


def digest(description: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_stamp(path: str) -> Stamp:
    """Size in bytes and modification time in nanoseconds; for a folder a hash of those of all files below it.

    Raises
    ------
    OSError
        If there is nothing at ``path`` or it may not be looked at.
    """
    status = os.stat(path)  # noqa: PTH116  # a million times: half of the time of Path.stat
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime_ns
    files = []
    for name in _files_below(path):
        status = Path(path, name).stat()
        files.append([name, status.st_size, status.st_mtime_ns])
    return digest(files)


def image_key(path: str, frame: int | None, stamp: Stamp, sha256: str | None, extra: Sequence[Any]) -> bytes:
    """16 bytes that stand for one frame of a file in a known state.

    Parameters
    ----------
    path
        Path of the file; made absolute here.
    frame
        Frame of the record; ``None`` if it has none.
    stamp
        From `file_stamp`.
    sha256
        SHA-256 of the file, if the record has it.
    extra
        JSON values of further columns that the transform reads.
    """
    text = _encode([os.path.abspath(path), frame, stamp, sha256, list(extra)])  # noqa: PTH100  # as above
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def source_sha256(path: str) -> bytes:
    """SHA-256 of a file's bytes; of a folder, that of the lines ``path NUL hash`` of all files below it, sorted.

    Asked again for the same file or folder in the same state, as for each frame of a volume, it does not read it again.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return _source_sha256(path, file_stamp(path))


@functools.lru_cache(maxsize=4)
def _source_sha256(path: str, stamp: Stamp) -> bytes:
    del stamp  # part of the key
    if not os.path.isdir(path):  # noqa: PTH112  # as above
        return bytes.fromhex(file_digest(path))
    lines = hashlib.sha256()
    for name in sorted(_files_below(path)):
        file = os.path.join(path, name)
        lines.update(f"{name}\0{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return lines.digest()


def _files_below(path: str) -> list[str]:
    """Names relative to a folder, in the order of `os.walk`, also of files behind links."""
    names = []
    for folder, subfolders, files in os.walk(path, followlinks=True):
        real = Path(folder).resolve()
        # A link to a folder above would go round in circles.
        subfolders[:] = sorted(name for name in subfolders if not _is_above(Path(folder, name), real))
        inner = [Path(folder, name) for name in sorted(files)]
        names += [file.relative_to(path).as_posix() for file in inner if file.is_file()]
    return names


def _is_above(folder: Path, real: Path) -> bool:
    return folder.is_symlink() and real.is_relative_to(folder.resolve())


def _describe(value: Any, place: str, packages: set[str], above: tuple[int, ...]) -> Any:
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        return value.hex()  # JSON has no infinities and no NaN
    if id(value) in above:
        return f"cycle {len(above) - above.index(id(value))}"
    above = (*above, id(value))

    def inner(part: Any, name: object) -> Any:
        return _describe(part, f"{place}.{name}", packages, above)

    if isinstance(value, np.random.RandomState | np.random.Generator):
        return type(value).__name__  # MONAI's Compose owns one even where nothing is random
    if isinstance(value, enum.Enum):
        return [_name(type(value)), value.name]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, os.PathLike):
        return ["path", os.fspath(value)]
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        array = np.ascontiguousarray(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)
        return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, np.dtype | torch.dtype | torch.device | slice | complex | types.EllipsisType):
        return [type(value).__name__, str(value)]
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {key: inner(item, key) for key, item in value.items()}
        entries = [[inner(key, "key"), inner(item, key)] for key, item in value.items()]
        return ["mapping", sorted(entries, key=lambda entry: json.dumps(entry[0], sort_keys=True))]
    if isinstance(value, Set):
        return ["set", sorted(json.dumps(inner(item, "item"), sort_keys=True) for item in value)]
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | np.ufunc):
        return ["name", _name(value)]
    if isinstance(value, functools.partial):
        return ["partial", inner(value.func, "func"), inner(value.args, "args"), inner(value.keywords, "keywords")]
    if isinstance(value, types.MethodType):
        return ["method", value.__name__, inner(value.__self__, value.__name__)]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = [_describe_code(value.__code__), inner(value.__defaults__, "defaults"), inner(cells, "closure")]
        return ["function", _name(value), *parts, inner(value.__kwdefaults__, "kwdefaults")]
    if type(value) in (list, tuple):
        return [inner(item, position) for position, item in enumerate(value)]
    return _describe_object(value, place, packages, inner)


def _describe_object(value: Any, place: str, packages: set[str], inner: Any) -> Any:
    kind = type(value)
    random_compose = isinstance(value, OneOf | RandomOrder | SomeOf)
    if random_compose or (isinstance(value, Randomizable) and not isinstance(value, Compose)):
        raise ConfigurationError(
            f"{place}: {kind.__name__} is random, and a packed store keeps one result for ever; "
            "give the dataset an augmentation instead"
        )
    packages.add(kind.__module__.partition(".")[0])
    state = value.__getstate__()
    if state is None and not isinstance(value, Sequence):
        if hasattr(value, "__dict__") or kind is object:
            return {"class": _name(kind), "state": None}
        text = repr(value)
        if " at 0x" in text:
            raise ConfigurationError(
                f"{place}: the state of a {_name(kind)} cannot be seen, so a change of it would go unnoticed; "
                "give its class a __getstate__"
            )
        return {"class": _name(kind), "state": text}
    described = {"class": _name(kind), "state": inner(state, kind.__name__)}
    if isinstance(value, Sequence):
        described["items"] = [inner(item, position) for position, item in enumerate(value)]
    return described


def _describe_code(code: types.CodeType) -> list[Any]:
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            constants.append(_describe_code(constant))
        elif isinstance(constant, frozenset):
            constants.append(sorted(map(repr, constant)))  # its own order changes with the process
        else:
            constants.append(repr(constant))
    return [hashlib.sha256(code.co_code).hexdigest(), constants, list(code.co_names)]


def _name(thing: Any) -> str:
    name = str(getattr(thing, "__qualname__", None) or getattr(thing, "__name__", repr(thing)))
    # As in 0.1, so that stores outlive a move of the code.
    module = module_in_first_release(getattr(thing, "__module__", None) or "", name)
    return f"{module}.{name}" if module else name
