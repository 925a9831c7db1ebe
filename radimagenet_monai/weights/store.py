"""The weight store: one safetensors file per set of weights, with specification and provenance in the metadata.

A file ``<name>.safetensors`` holds the complete state dict of an `Encoder`, so that its input convention and network
variant are in the tensors themselves; the metadata gives their origin as JSON under ``radimagenet``. Only reading
tensors imports torch; listing and look-up do not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radimagenet_monai.core.atomic import atomic_write_bytes
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.version import __version__
from radimagenet_monai.encoders.architectures import ARCHITECTURES, get_architecture
from radimagenet_monai.encoders.spec import WeightSpec
from radimagenet_monai.weights.catalogue import CATALOGUE, RANDOM, refuse_other_architecture, unknown_weights

if TYPE_CHECKING:
    from torch import Tensor

HOME_VARIABLE = "RADIMAGENET_HOME"
_SUFFIX = ".safetensors"
_METADATA_KEY = "radimagenet"
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_TAG = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class StoredWeights:
    """One file of the store, as described by its header.

    Attributes
    ----------
    spec
        Specification of the weights, with the input and network variant they need.
    record
        Provenance: ``source`` (file, SHA-256, size, layout), ``tool``, ``num_parameters``, ``tensors_sha256``,
        ``fingerprint``.
    """

    path: Path
    spec: WeightSpec
    record: Mapping[str, Any]


@dataclass(frozen=True)
class WeightSource:
    """Where requested weights come from.

    Attributes
    ----------
    spec
        Specification to build an `Encoder` from; a loaded state dict overrides it.
    path
        The file to load, or None for random initialization.
    stored
        The header, if the file is in the weight store.
    """

    spec: WeightSpec
    path: Path | None = None
    stored: StoredWeights | None = None


@dataclass(frozen=True)
class ListedWeights:
    """One line of `list_weights`.

    Attributes
    ----------
    name
        ``architecture.tag``, as accepted by `load_encoder`.
    available
        Whether they can be used now: random, or imported into the store.
    input
        The input convention as text, for an image in [0, 1]. The encoder applies it itself.
    """

    name: str
    architecture: str
    tag: str
    available: bool
    input: str
    origin: str
    licence: str
    path: Path | None


def weights_folder() -> Path:
    """The folder of the store: ``$RADIMAGENET_HOME/weights``, by default in the platform's user data folder."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home).expanduser() / "weights"
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "radimagenet" / "weights"


def stored_path(name: str) -> Path:
    """Path for weights of that full name, imported or not."""
    return weights_folder() / f"{name}{_SUFFIX}"


def split_name(name: str) -> tuple[str, str]:
    """Split ``"resnet50.radimagenet_keras"`` into architecture and tag.

    Raises
    ------
    ConfigurationError
        If the name does not have that form.
    """
    architecture, _, tag = name.partition(".")
    if architecture not in ARCHITECTURES or not _TAG.fullmatch(tag):
        raise ConfigurationError(
            f"{name!r} is no name of weights; expected ARCHITECTURE.TAG with an architecture of "
            f"{', '.join(ARCHITECTURES)} and a tag of a-z, 0-9, _ and -, such as resnet50.radimagenet_keras"
        )
    return architecture, tag


def list_weights(architecture: str | None = None) -> list[ListedWeights]:
    """All weights of the catalogue and the store. Reads no tensors and does not import torch.

    Parameters
    ----------
    architecture
        Restrict the list to this architecture; None lists all.

    Returns
    -------
    list of ListedWeights
        In catalogue order, followed by weights imported under custom names.

    Raises
    ------
    ConfigurationError
        For an unknown architecture.
    WeightsError
        If a file in the store is damaged.

    Examples
    --------
    >>> from radimagenet_monai import list_weights
    >>> for weights in list_weights("densenet121"):
    ...     print(weights.tag, "|", weights.input)
    random | RGB, (x - 0.5) / 0.5
    radimagenet_keras | BGR, (x * 255 - [103.939, 116.779, 123.68]) / 255
    radimagenet_torch | BGR, (x * 255 - 127.5) / 127.5
    imagenet_torchvision | RGB, (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    imagenet_keras | RGB, (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    >>> list_weights("densenet121")[0].available
    True
    """
    if architecture is not None:
        get_architecture(architecture)
    stored = stored_names()
    specs = [*CATALOGUE.values(), *(read_stored(stored_path(name)).spec for name in stored if name not in CATALOGUE)]
    return [
        ListedWeights(
            spec.name,
            spec.architecture,
            spec.tag,
            spec.tag == RANDOM or spec.name in stored,
            spec.convention.describe(),
            spec.origin,
            spec.licence,
            stored_path(spec.name) if spec.name in stored else None,
        )
        for spec in specs
        if architecture in (None, spec.architecture)
    ]


def stored_names() -> list[str]:
    """Full names of the stored weights, sorted."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in weights_folder().glob(f"[!.]*{_SUFFIX}"))


def find_weights(architecture: str, weights: str) -> WeightSource:
    """Find ``weights`` for ``architecture``, by a name in the catalogue or the store, or by path.

    Parameters
    ----------
    architecture
        A name of `ARCHITECTURES`.
    weights
        A tag (``"radimagenet_keras"``), a full name (``"resnet50.radimagenet_keras"``), or the path of stored weights,
        of a trained ``model.pt``, of a ``checkpoint.pt`` or of a bundle's folder, whose encoder is taken.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or name, or a name of another architecture.
    WeightsError
        If the weights are known but not in the store, the store's file is damaged or out of date, or the path does
        not exist.
    """
    get_architecture(architecture)
    name = str(weights)
    full = name if name.partition(".")[0] in ARCHITECTURES else f"{architecture}.{name}"
    tag = full.partition(".")[2]
    own = full.startswith(f"{architecture}.") and _TAG.fullmatch(tag) is not None
    if own and tag == RANDOM:
        return WeightSource(CATALOGUE[full])
    if own and (full in CATALOGUE or stored_path(full).is_file()):
        stored = _stored(full)
        return WeightSource(stored.spec, stored.path, stored)
    if Path(name).exists():
        return _from_path(architecture, Path(name))
    if os.sep in name or "/" in name or Path(name).suffix in {".pt", ".pth", ".h5", _SUFFIX}:
        raise WeightsError(f"weights {name!r}: there is no such file; give a path that exists or a name of weights")
    refuse_other_architecture(architecture, name)
    also = tuple(stored.partition(".")[2] for stored in stored_names() if stored not in CATALOGUE)
    raise unknown_weights(architecture, name, also)


def read_source(source: WeightSource) -> dict[str, Tensor]:
    """Read the state dict of an `Encoder` from the source found by `find_weights`.

    Raises
    ------
    WeightsError
        If the file is damaged or holds no encoder of this package.
    """
    from radimagenet_monai.weights.own_files import encoder_prefix, encoder_state, file_of
    from radimagenet_monai.weights.strict import recognize_architecture
    from radimagenet_monai.weights.tensor_file import read_tensors

    assert source.path is not None
    if source.stored is not None:
        return read_stored_tensors(source.stored)
    path = file_of(source.path)
    tensors = read_tensors(path)
    prefix = encoder_prefix(tensors)
    if prefix is None:
        raise WeightsError(
            f"{path} holds no encoder trained with this package; bring other files into the weight store with "
            f"'radimagenet weights import {path}'"
        )
    state = encoder_state(tensors, prefix)
    found = recognize_architecture({name.removeprefix("backbone."): tuple(state[name].shape) for name in state})
    if found not in (None, source.spec.architecture):
        raise WeightsError(
            f"{path} holds an encoder of {found}, but the architecture is {source.spec.architecture!r}; "
            f"give --architecture {found} or other weights"
        )
    return state


def identify_weights(architecture: str, weights: str) -> dict[str, str]:
    """Name and hashes that identify the initial weights of a run, for its ``run.json``.

    Returns
    -------
    dict
        ``name``; for a file of the store ``source_sha256`` (of the file imported) and ``tensors_sha256``; for a path
        ``sha256``.
    """
    source = find_weights(architecture, weights)
    if source.stored is not None:
        record = source.stored.record
        return {
            "name": source.spec.name,
            "source_sha256": record["source"]["sha256"],
            "tensors_sha256": record["tensors_sha256"],
        }
    if source.path is None:
        return {"name": source.spec.name}
    from radimagenet_monai.weights.own_files import file_of

    return {"name": str(source.path), "sha256": file_digest(file_of(source.path))}


def write_stored(
    spec: WeightSpec, state: Mapping[str, Tensor], provenance: Mapping[str, Any], path: Path | None = None
) -> StoredWeights:
    """Write the state dict of an encoder to the store, atomically, replacing any weights of that name.

    Parameters
    ----------
    spec
        Specification of the weights.
    state
        State dict of an `Encoder`.
    provenance
        ``source``, ``num_parameters`` and ``fingerprint`` of the record; the rest is added here.
    path
        Output path outside the store; None writes to the store.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    record = {
        "spec": spec.to_dict(),
        "tool": f"radimagenet-monai {__version__}",
        **provenance,
        "tensors_sha256": tensors_sha256(tensors),
    }
    path = path or stored_path(spec.name)
    # A single key: safetensors writes several in any order, and the same import should give the same bytes.
    atomic_write_bytes(path, save(tensors, {_METADATA_KEY: json.dumps(record, sort_keys=True)}))
    return read_stored(path)


def is_stored(path: Path) -> bool:
    """Whether a safetensors file was written by `write_stored`, in this store or another."""
    return _METADATA_KEY in read_metadata(path)


def read_stored(path: str | os.PathLike[str]) -> StoredWeights:
    """Read the header of a stored file.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or was not written by this package.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if _METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path} was not written by this package; bring it into the weight store with 'radimagenet weights import'"
        )
    try:
        record = json.loads(metadata[_METADATA_KEY])
        spec = WeightSpec.from_dict(record.pop("spec"))
        split_name(spec.name)
        for key in ("tensors_sha256", "fingerprint", "num_parameters", "tool"):
            record[key]
        record["source"]["sha256"]
    except (ValueError, TypeError, KeyError, AttributeError, ConfigurationError) as error:
        raise WeightsError(f"{path} has a damaged specification ({error}); import the weights again") from error
    return StoredWeights(path, spec, record)


def read_stored_tensors(stored: StoredWeights) -> dict[str, Tensor]:
    """Read the state dict of a stored file and check it against the hash taken at import.

    Raises
    ------
    WeightsError
        If any bit has changed.
    """
    from radimagenet_monai.weights.tensor_file import read_tensors

    tensors = read_tensors(stored.path)
    if tensors_sha256(tensors) != stored.record["tensors_sha256"]:
        raise WeightsError(f"{stored.path} has changed since it was imported; import the weights again")
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, from its header.

    Raises
    ------
    WeightsError
        If the file has no readable header.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= min(_MAX_HEADER, path.stat().st_size - 8):
                raise ValueError(f"the header claims {length} bytes")
            header = json.loads(stream.read(length))
        return dict(header.get("__metadata__", {}))
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _stored(full: str) -> StoredWeights:
    path = stored_path(full)
    known = CATALOGUE.get(full)
    if not path.is_file():
        assert known is not None
        raise WeightsError(
            f"weights {full!r} are not in the weight store ({weights_folder()}). {known.obtain}; import your copy with "
            "'radimagenet weights import FILE', or train from scratch with --weights random"
        )
    stored = read_stored(path)
    if stored.spec.name != full:
        raise WeightsError(f"{path} holds {stored.spec.name}: it was renamed; import the weights again")
    if known is not None and (stored.spec.convention, stored.spec.variant) != (known.convention, known.variant):
        raise WeightsError(
            f"{path} was imported by {stored.record['tool']} with another input convention than this version's; "
            "import the weights again"
        )
    return stored


def _from_path(architecture: str, path: Path) -> WeightSource:
    if path.is_file() and path.stat().st_size > 8:
        with path.open("rb") as stream:
            is_safetensors = stream.read(9)[8:] == b"{"
        if is_safetensors and is_stored(path):
            stored = read_stored(path)
            if stored.spec.architecture != architecture:
                raise ConfigurationError(
                    f"{path} holds {stored.spec.name}, but the architecture is {architecture!r}; "
                    f"give --architecture {stored.spec.architecture} or other weights"
                )
            return WeightSource(stored.spec, path, stored)
    return WeightSource(CATALOGUE[f"{architecture}.{RANDOM}"], path)
