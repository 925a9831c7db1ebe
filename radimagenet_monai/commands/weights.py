"""The subcommands of ``radimagenet weights``. Imports torch only to read tensors."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from typing import Any

from radimagenet_monai.core.command_line import Options, Parameter
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.store import (
    ListedWeights,
    list_weights,
    read_stored,
    split_name,
    stored_names,
    stored_path,
    weights_folder,
)


def list_(architecture: str | None = None, json: bool = False) -> None:
    """Show which weights exist, which can be used now, and what input each expects.

    Args:
        architecture: show only weights of this architecture.
        json: print one JSON list.
    """
    listed = list_weights(None if architecture is None else str(architecture))
    if json:
        print(json_format.dumps([_plain(item) for item in listed], indent=2, ensure_ascii=False))
        return
    print(f"weight store: {weights_folder()}\n\n  name (* can be used now)             input, x the image in [0, 1]")
    for item in listed:
        print(f"{'*' if item.available else ' '} {item.name:36} {item.input}")
    print("\nmore: radimagenet weights show NAME; bring a file in: radimagenet weights import FILE")


def import_(file: str, replace: bool = False, prefix: str | None = None, **flags: Any) -> None:
    """Import a weight file into the store.

    It may be a Keras .h5, a torch file, safetensors, or a trained model, checkpoint or bundle of this package, and is
    recognized by its content. If the content does not distinguish RadImageNet from ImageNet, say which with --as NAME,
    for example --as resnet50.radimagenet_keras; use it also to name encoders that you trained yourself.

    Args:
        file: path of the file, or a bundle folder.
        replace: overwrite other weights stored under the name.
        prefix: for a checkpoint with several encoders, the start of the tensor names of the wanted one: student.
        flags: --as NAME, name of the weights.
    """
    name = flags.pop("as", None)  # a keyword of Python, so it cannot be a parameter
    if flags:
        raise ConfigurationError(f"unknown flag --{next(iter(flags))}")
    from radimagenet_monai.weights.importers.import_file import import_weights

    as_name, start = (None if item is None else str(item) for item in (name, prefix))
    report = import_weights(str(file), as_name, replace_existing=bool(replace), prefix=start)
    print("\n".join(report.describe()))


def verify(name: str | None = None) -> None:
    """Check that stored weights are bit for bit as imported and give the same output. Exit status 1 if not.

    Args:
        name: full name of the weights; by default all stored weights.
    """
    from radimagenet_monai.weights.verification import verify_stored

    names = stored_names() if name is None else [str(name)]
    if not names:
        print(f"the weight store ({weights_folder()}) is empty")
    failed = False
    for item in names:
        try:
            print(f"{item}: {verify_stored(item)}")
        except RadImageNetError as error:
            failed = True
            print(f"{item}: FAILED: {error}")
    if failed:
        raise SystemExit(1)


def show(name: str, json: bool = False) -> None:
    """Show everything known about a set of weights: input, network variant, origin, licence, hashes, references.

    Args:
        name: full name, such as resnet50.radimagenet_keras.
        json: print one JSON object.
    """
    name = str(name)
    split_name(name)
    path = stored_path(name)
    stored = read_stored(path) if path.is_file() else None
    if stored is None and name not in CATALOGUE:
        raise ConfigurationError(f"unknown weights {name!r}; 'radimagenet weights list' shows those there are")
    spec = CATALOGUE[name] if stored is None else stored.spec
    content = {
        **spec.to_dict(),
        "input": spec.convention.describe(),
        "path": None if stored is None else str(stored.path),
        "record": None if stored is None else dict(stored.record),
    }
    if json:
        print(json_format.dumps(content, indent=2, ensure_ascii=False))
        return
    lines = {
        "name": name,
        "origin": spec.origin,
        "input": f"{content['input']}, x the image in [0, 1]; the encoder does this by itself",
        "network": spec.describe_network(),
        "file": spec.file,
        "licence": spec.licence,
        "known SHA-256": ", ".join(spec.sha256),
        "references": "; ".join(spec.references),
        "stored": str(path) if stored else None if not spec.obtain else f"no. {spec.obtain}",
    }
    if stored is not None:
        source = stored.record["source"]
        lines |= {
            "imported from": f"{source.get('file')}, {source.get('bytes', 0):,} bytes, SHA-256 {source['sha256']}",
            "imported by": stored.record["tool"],
            "parameters": f"{stored.record['num_parameters']:,}",
        }
    for key, value in lines.items():
        if value:
            print(f"{key:14} {value}")


def ablate(weights: str, architecture: str, convention: str, out: str) -> None:
    """Write trained weights with a wrong input convention, to measure the value of the right one.

    Args:
        weights: a name in the store or a path; not random.
        architecture: resnet50, densenet121, inceptionv3 or inceptionresnetv2.
        convention: the wrong input convention, named by weights that expect it, such as imagenet_torchvision.
        out: output path, ending in .safetensors; can be given to --weights.
    """
    from radimagenet_monai.weights.ablation import write_ablation

    stored = write_ablation(str(weights), str(architecture), str(convention), str(out))
    print(f"{stored.spec.origin}\n{stored.path}")


def where() -> None:
    """Print the folder of the weight store. RADIMAGENET_HOME moves it."""
    print(weights_folder())


def _plain(item: ListedWeights) -> dict[str, Any]:
    return {**vars(item), "path": None if item.path is None else str(item.path)}


def _import_options(given: Mapping[str, Any]) -> Options:
    return Options("radimagenet weights import", (Parameter("as", str, None, "name of the weights"),))


COMMANDS = {
    "weights": {
        "list": list_,
        "import": import_,
        "verify": verify,
        "show": show,
        "where": where,
        "ablate": ablate,
    }
}
OPTIONS = {"weights import": _import_options}
