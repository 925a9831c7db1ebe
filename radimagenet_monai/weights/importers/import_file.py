"""Recognize a weight file, report what it is, and import it into the weight store completely or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.encoders.encoder import Encoder
from radimagenet_monai.encoders.spec import WeightSpec
from radimagenet_monai.weights.batch_norm import BatchNormReport, inspect_batch_norm
from radimagenet_monai.weights.catalogue import CATALOGUE, RANDOM, SOURCES
from radimagenet_monai.weights.container import Container, recognize_container
from radimagenet_monai.weights.fingerprint import take_fingerprint
from radimagenet_monai.weights.importers.keras_h5 import read_keras
from radimagenet_monai.weights.importers.published import IMAGENET_CLASSES, Layout, PublishedWeights
from radimagenet_monai.weights.importers.torch_layouts import read_torch
from radimagenet_monai.weights.own_files import file_of
from radimagenet_monai.weights.store import (
    StoredWeights,
    is_stored,
    read_stored,
    read_stored_tensors,
    split_name,
    stored_path,
    write_stored,
)
from radimagenet_monai.weights.strict import load_strictly


@dataclass(frozen=True)
class ImportReport:
    """What was imported, and how much is known about it.

    Attributes
    ----------
    evidence
        How the weights were recognized.
    hash_known
        Whether the catalogue lists the file's SHA-256 for these weights.
    """

    stored: StoredWeights
    published: PublishedWeights
    evidence: str
    hash_known: bool
    batch_norm: BatchNormReport

    def describe(self) -> list[str]:
        """Readable lines."""
        record, spec, published = self.stored.record, self.stored.spec, self.published
        known = "equal to the known one" if self.hash_known else "not known, recorded"
        lines = [
            f"recognized    {published.architecture}: {published.layout}",
            f"imported as   {spec.name} ({self.evidence})",
            f"origin        {spec.origin}",
            f"input         {spec.convention.describe()}, x the image in [0, 1]; the encoder does this by itself",
            f"network       {spec.describe_network()}",
            f"parameters    {record['num_parameters']:,}, from {published.num_values:,} numbers in the file",
            f"SHA-256       {record['source']['sha256']} ({known})",
        ]
        if published.folded_biases:
            lines.append(f"folded        {published.folded_biases} convolution biases into the batch norms behind them")
        if published.prefix:
            lines.append(f"prefix        {published.prefix!r}, taken off the names of the encoder")
        if published.head:
            lines.append(f"left out      {len(published.head)} tensors outside the encoder: {_some(published.head)}")
        lines += [f"batch norm    {line}" for line in self.batch_norm.describe()]
        values = ", ".join(f"{value:.4g}" for value in record["fingerprint"][:4])
        lines += [
            f"fingerprint   {values}, ... (pooled features of the test pattern)",
            f"stored        {self.stored.path}",
        ]
        return lines


def import_weights(
    path: str | os.PathLike[str],
    name: str | None = None,
    replace_existing: bool = False,
    prefix: str | None = None,
) -> ImportReport:
    """Import a weight file into the store.

    The file is recognized by its content. It must hold every tensor of the encoder; only batch counters may be
    missing, and a classification head may be left over. Nothing in the file is executed.

    Parameters
    ----------
    path
        A Keras ``.h5``, a torch file or safetensors with one of the published layouts, a model, checkpoint or bundle
        of this package, or a file of another weight store.
    name
        Full name, such as ``"resnet50.radimagenet_keras"``, or the tag alone; needed if the content does not
        distinguish RadImageNet from ImageNet. For encoders you trained yourself, a new name.
    replace_existing
        Overwrite other weights stored under the name.
    prefix
        For a torch or safetensors file with several encoders, such as a student and a teacher: start of the tensor
        names of the wanted one, or the key of its state dict. Not needed if there is only one encoder.

    Returns
    -------
    ImportReport

    Raises
    ------
    WeightsError
        If the file is damaged, needs code to load, has an unknown architecture, holds NaN or infinity,
        or contradicts ``name``. The store is then unchanged.
    ConfigurationError
        If ``name`` is required but missing, or not allowed.
    """
    path = file_of(path)
    container = recognize_container(path)
    sha256 = file_digest(path)
    if container is Container.SAFETENSORS and is_stored(path):
        published = _read_stored(path)
    else:
        published = read_keras(path) if container is Container.HDF5 else read_torch(path, prefix)
    spec, evidence = _choose(published, sha256, name)
    batch_norm = inspect_batch_norm(published.tensors, path)
    source = published.source or {
        "file": path.name,
        "sha256": sha256,
        "bytes": path.stat().st_size,
        "layout": str(published.layout),
    }
    _refuse_overwriting(spec, str(source["sha256"]), replace_existing)
    encoder = Encoder(spec.architecture, spec)
    load_strictly(encoder.backbone, published.tensors, path)
    provenance = {
        "source": source,
        "num_parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "fingerprint": take_fingerprint(encoder),
    }
    stored = write_stored(spec, encoder.state_dict(), provenance)
    return ImportReport(stored, published, evidence, _is_known(spec, str(source["sha256"])), batch_norm)


def _read_stored(path: Path) -> PublishedWeights:
    stored = read_stored(path)
    tensors = {
        name.removeprefix("backbone."): tensor
        for name, tensor in read_stored_tensors(stored).items()
        if name.startswith("backbone.")
    }
    return PublishedWeights(
        path,
        Layout.STORED,
        stored.spec.architecture,
        tensors,
        sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point()),
        spec=stored.spec,
        source=dict(stored.record["source"]),
    )


def _choose(published: PublishedWeights, sha256: str, name: str | None) -> tuple[WeightSpec, str]:
    """Which weights these are, and why; raises if that is ambiguous or contradicted."""
    full = _full_name(published, name)
    if published.spec is not None:
        return _choose_own(published, published.spec, full)
    possible = _possible_tags(published)
    known = next((spec.name for spec in CATALOGUE.values() if _is_known(spec, sha256)), None)
    if known and full and known != full:
        raise WeightsError(
            f"{published.path} is known by its SHA-256 to be {known}, not {full}; import it without --as, or give "
            f"--as {known}"
        )
    if known:
        full, evidence = known, "by its SHA-256"
    elif full:
        evidence = "as you said; the file's own tensors do not contradict"
    elif len(possible) == 1 and not published.prefix:
        full, evidence = f"{published.architecture}.{possible[0]}", _why(published)
    else:
        choices = " or ".join(f"--as {published.architecture}.{tag}" for tag in possible)
        raise ConfigurationError(
            f"{published.path} holds {published.architecture} ({published.layout}), which does not tell what it was "
            f"trained on; say which with {choices}"
        )
    architecture, tag = split_name(full)
    if full not in CATALOGUE or tag == RANDOM:
        raise ConfigurationError(
            f"{full!r} is not in the catalogue; {published.path} can be "
            f"{' or '.join(f'{architecture}.{item}' for item in possible)}"
        )
    if tag not in possible:
        raise WeightsError(
            f"{published.path} cannot be {full}: it holds {published.layout}"
            + (f" with {published.head_classes} classes" if published.head_classes else "")
            + f"; it can be {' or '.join(f'{architecture}.{item}' for item in possible)}"
        )
    return CATALOGUE[full], evidence


def _full_name(published: PublishedWeights, name: str | None) -> str | None:
    if name is None:
        return None
    full = name if "." in name else f"{published.architecture}.{name}"
    architecture, _ = split_name(full)
    if architecture != published.architecture:
        raise WeightsError(f"{published.path} holds {published.architecture}, not {architecture} as {name!r} says")
    return full


def _choose_own(published: PublishedWeights, spec: WeightSpec, full: str | None) -> tuple[WeightSpec, str]:
    if published.layout is Layout.STORED:
        if full not in (None, spec.name):
            raise WeightsError(f"{published.path} holds {spec.name}, not {full}; import it without --as")
        known = CATALOGUE.get(spec.name)
        if known is not None and (known.convention, known.variant) != (spec.convention, spec.variant):
            raise WeightsError(
                f"{published.path} was imported with another input convention than this version's; import the original"
            )
        return spec, "as the other store had it"
    if full is None or full in CATALOGUE:
        raise ConfigurationError(
            f"{published.path} holds an encoder trained with this package; give it a name of its own, such as "
            f"--as {published.architecture}.my_training"
        )
    return replace(spec, tag=split_name(full)[1]), "your own training, with the input convention in its buffers"


def _possible_tags(published: PublishedWeights) -> list[str]:
    """Tags of the catalogue that a file of this layout can be.

    Keras files and plain library names look the same whatever they were trained on, unless the head of ImageNet is
    still there. The other two layouts are known from one publication each.
    """
    tags = [spec.tag for spec in CATALOGUE.values() if spec.architecture == published.architecture]
    own = [tag for tag in tags if tag not in SOURCES and tag != RANDOM]  # a plug-in's
    possible = {
        Layout.KERAS: ["radimagenet_keras", "imagenet_keras"],
        Layout.CHILDREN: ["radimagenet_torch"],
        Layout.BIASED: ["radimagenet_keras"],
        Layout.LIBRARY: ["radimagenet_torch", "imagenet_torchvision", "imagenet_timm", *own],
    }[published.layout]
    if published.head_classes == IMAGENET_CLASSES:
        possible = [tag for tag in possible if tag.startswith("imagenet")]
    return [tag for tag in possible if tag in tags]


def _why(published: PublishedWeights) -> str:
    if published.head_classes == IMAGENET_CLASSES:
        return f"by its names and its head of {IMAGENET_CLASSES} classes"
    return "by its layout, which is known from this publication alone; if it was trained on something else, stop here"


def _is_known(spec: WeightSpec, sha256: str) -> bool:
    return any(sha256.startswith(digits) for digits in spec.sha256)


def _refuse_overwriting(spec: WeightSpec, sha256: str, replace_existing: bool) -> None:
    path = stored_path(spec.name)
    if replace_existing or not path.is_file():
        return
    try:
        there = read_stored(path).record["source"]["sha256"]
    except WeightsError:
        return  # a damaged file may be replaced
    if there != sha256:
        raise WeightsError(
            f"{spec.name} is already in the weight store, from another file (SHA-256 {there[:12]}...); give --replace "
            "to put this one in its place"
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
