"""A release of bundles: archives, MONAI's list, hashes, and one repository per bundle for the Hugging Face hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from radimagenet_monai.catalog.tasks import TASKS, Task, get_task
from radimagenet_monai.collection.archive import write_archive
from radimagenet_monai.collection.bundle_files import (
    HUB_FOLDER,
    LARGE_FILES,
    MODEL_FACTS,
    MODEL_FILE,
    MODEL_INFO,
    SBOM_FILE,
    SUMS_FILE,
    ZOO_FOLDER,
    BundleError,
    format_sums,
    list_bundle_files,
)
from radimagenet_monai.collection.model_card import GIT_ATTRIBUTES, front_matter, state_data_license, state_weights
from radimagenet_monai.collection.render import render_bundle, render_zoo_test
from radimagenet_monai.collection.sbom import bill_of_materials
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.core.atomic import scratch_folder
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.datasets.records.data_source import described
from radimagenet_monai.engine.trained.stated_facts import state_trained_facts

WeightsChoice = Literal["auto", "include", "leave"]

_ABOUT_DATA = (
    *("task", "description", "data_source", "data_type", "label_classes", "pred_classes"),
    *("intended_use", "references"),
)
_ONNX_FILE = "models/model.onnx"
_MODEL_FILES = (MODEL_FILE, MODEL_FACTS, _ONNX_FILE)
_RELEASED = (".zip", ".pt", ".onnx")


@dataclass(frozen=True)
class _Staged:
    """A bundle in the form in which it is released, in a separate folder."""

    task: Task
    name: str
    version: str
    folder: Path
    has_weights: bool

    @property
    def title(self) -> str:
        return f"{self.name}_v{self.version}"

    @property
    def files(self) -> dict[str, Path]:
        return list_bundle_files(self.folder).files


def release_bundles(
    bundles: str | os.PathLike[str],
    out: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    url: str | None = None,
    weights: WeightsChoice = "auto",
    portable: bool = False,
) -> list[Path]:
    """Write a release of the bundles in the folder ``bundles`` into ``out`` and return its archives.

    ``out`` receives ``<name>_v<version>.zip`` (with one folder ``<name>``, as `monai.bundle.download` requires, and a
    ``SHA256SUMS`` of its files), ``model_info.json`` (MONAI's list: SHA-1 and address), ``SHA256SUMS`` of all archives,
    ``huggingface/<name>/``, the content of a repository on the hub; with ``url``, ``model_zoo/<name>/``, the content of
    a pull request to MONAI's model zoo, whose ``large_files.yml`` states address and SHA-256 of the weights,
    ``model_zoo/unit_tests/test_<name>.py``, which belongs in the zoo's ``ci/unit_tests``, and the weights as
    single files, ``<name>_v<version>_model.pt``; and ``sbom.cdx.json``, a software bill of materials (CycloneDX), the
    only file that depends on the installed packages. All other bytes depend only on the bundles' contents: not
    on times, permissions, folders or machines. Every archive has passed `verify_bundle`.

    Parameters
    ----------
    names
        Names of the bundles; by default all in the folder.
    url
        Address of the folder from which archives and weights will be downloaded. Without it ``model_info.json``
        contains file names instead of addresses.
    weights
        Whether trained weights in ``models/`` become part of the release. ``"auto"`` includes them unless they derive
        from RadImageNet or from weights of unknown origin, in which case nothing is released; ``"include"`` includes
        these too, for those who hold the right to redistribute them; ``"leave"`` leaves all weights out.
    portable
        Release the portable forms, ``<name>_portable``, see `radimagenet_monai.collection.portable`.

    Raises
    ------
    ConfigurationError
        If a name is unknown, or ``out`` contains anything but an earlier release.
    BundleError
        If a bundle contains a file that does not belong to it, does not pass verification, or has no portable form.
    """
    if weights not in get_args(WeightsChoice):
        raise ConfigurationError(f"weights is {weights!r}, expected one of {', '.join(get_args(WeightsChoice))}")
    bundles, out = Path(bundles), Path(out)
    out = out if out.name else out.resolve()  # "." has no name to rename to
    chosen = _choose(bundles, names)
    _refuse_to_overwrite(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out.parent, out.name) as scratch:
        release = scratch / "release"
        release.mkdir()
        staged = [_stage(bundles / name, scratch / name, weights) for name in chosen]
        if portable:
            staged = _portable(bundles, staged)
        archives = [_release_one(one, release).name for one in staged]
        if url is not None:
            for one in staged:
                _write_for_model_zoo(one, release, url)
        sums = {name: file_digest(release / name) for name in archives}
        _write_text(release / SUMS_FILE, format_sums(sums))
        _write_text(release / MODEL_INFO, _model_info(release, archives, url))
        _write_text(release / SBOM_FILE, json.dumps(bill_of_materials(sums), indent=1) + "\n")
        for name in archives:
            problems = verify_bundle(release / name, profile="portable" if portable else "any")
            if problems:
                raise BundleError(
                    f"{name} is not released, because it does not pass verification: {'; '.join(problems)}"
                )
        _put_in_place(release, out, scratch)
    return [out / name for name in archives]


def _choose(bundles: Path, names: Iterable[str] | None) -> list[str]:
    there = sorted(path.parent.parent.name for path in bundles.glob("*/configs/metadata.json"))
    chosen = sorted(set(names or there))
    if not chosen:
        raise ConfigurationError(f"'{bundles}' holds no bundle; write them with 'radimagenet bundles render'")
    for name in chosen:
        if name not in there:
            raise ConfigurationError(f"'{bundles}' holds no bundle {name!r}; there are {', '.join(there) or 'none'}")
        if name not in TASKS:
            raise ConfigurationError(f"{name!r} is no task of this package, so its model card cannot be written")
    return chosen


def _refuse_to_overwrite(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    known, may_be = {SUMS_FILE, MODEL_INFO, HUB_FOLDER}, {SBOM_FILE, ZOO_FOLDER}
    found = {path.name for path in out.iterdir() if path.suffix not in _RELEASED} if out.is_dir() else set()
    if found - may_be == known:
        return
    raise ConfigurationError(f"'{out}' exists and is not an earlier release; give another folder")


def _stage(source: Path, folder: Path, weights: WeightsChoice) -> _Staged:
    """Copy the files that belong to a bundle, and state its weights in its documents."""
    found = list_bundle_files(source)
    if found.foreign:
        reasons = "; ".join(f"{path} is {reason}" for path, reason in found.foreign.items())
        raise BundleError(f"{source.name} is not released: {reasons}")
    # Rewritten for the release.
    left_out = {SUMS_FILE, LARGE_FILES, "README.md", ".gitattributes"} | (
        set(_MODEL_FILES) if weights == "leave" else set()
    )
    for path, file in found.files.items():
        if path not in left_out:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    staged = [path for path in _MODEL_FILES if (folder / path).is_file()]
    if staged:
        _state_weights(source.name, folder, weights)
    version = str(json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8")).get("version"))
    return _Staged(get_task(source.name), source.name, version, folder, bool(staged))


def _portable(bundles: Path, staged: Sequence[_Staged]) -> list[_Staged]:
    """Turn staged bundles into their portable forms; all that have none are named at once."""
    from radimagenet_monai.collection.portable import SUFFIX, NotPortableError, make_portable  # imports torch

    made, refused = [], []
    for one in staged:
        if not one.has_weights:
            refused.append(f"{one.name}: it has no trained model, or its weights were left out")
            continue
        portable = replace(one, name=f"{one.name}{SUFFIX}")
        try:
            make_portable(bundles / one.name, one.folder, portable.name)
        except NotPortableError as error:
            refused.append(f"{one.name}: {error}")
        made.append(portable)
    if refused:
        raise BundleError(f"no portable form of {'; '.join(refused)}. Nothing was released")
    return made


def _state_weights(name: str, folder: Path, weights: WeightsChoice) -> None:
    way_out = (
        "leave them out with --weights leave, or, where you hold the right to pass them on, give --weights include"
    )
    if not (folder / MODEL_FILE).is_file() or not (folder / MODEL_FACTS).is_file():
        raise BundleError(
            f"{name}: trained weights are {MODEL_FILE} and {MODEL_FACTS}, and only some are there; {way_out}"
        )
    facts = json.loads((folder / MODEL_FACTS).read_text(encoding="utf-8"))
    origin = str(facts.get("weights", "unknown"))
    derived = "radimagenet" if facts.get("derived_from_radimagenet") else origin
    if weights == "auto" and (reason := _contested(name, derived)):
        raise BundleError(f"{name}: its weights {reason}; {way_out}")
    if Path(origin).name != origin:
        # A path would reveal folders of the machine used for training.
        facts["weights"] = Path(origin).name
        _write_text(folder / MODEL_FACTS, json.dumps(facts, indent=2) + "\n")
    _describe_data(name, folder, facts)
    for path, change in (
        ("docs/README.md", lambda text: state_weights(text, {**facts, "sha256": file_digest(folder / MODEL_FILE)})),
        ("docs/data_license.txt", state_data_license),
    ):
        _write_text(folder / path, change((folder / path).read_text(encoding="utf-8")))
    state_trained_facts(folder)


def _describe_data(name: str, folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace the template's description of its own dataset by the known facts on the training data."""
    task = get_task(name)
    classes = tuple(facts.get("classes") or task.classes)
    about, dataset = described(task, classes, facts.get("source"), owner="Data of whoever trained this model")
    if about is task:
        return
    rendered = render_bundle(about, dataset)
    for name in ("docs/README.md", "docs/data_license.txt"):
        _write_text(folder / name, rendered[name])
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    described_data = json.loads(rendered["configs/metadata.json"])
    metadata |= {key: described_data[key] for key in _ABOUT_DATA}
    _write_text(path, json.dumps(metadata, indent=4, ensure_ascii=False) + "\n")


def _contested(name: str, origin: str) -> str | None:
    """Reason why trained weights may not be redistributable, or ``None``."""
    if TASKS[name].dataset == "radimagenet" or "radimagenet" in origin.lower():
        return "derive from RadImageNet, and whether such weights may be redistributed is contested"
    if not origin.split(".")[-1].startswith(("random", "imagenet")):
        return f"started from weights of unknown origin ({Path(origin).name})"
    return None


def _release_one(staged: _Staged, release: Path) -> Path:
    """Write the archive and the hub's repository of one bundle."""
    _write_sums(staged.folder)
    archive = release / f"{staged.title}.zip"
    write_archive(archive, staged.files, staged.name)
    hub = release / HUB_FOLDER / staged.name
    for path, file in staged.files.items():
        (hub / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, hub / path)
    card = (staged.folder / "docs" / "README.md").read_text(encoding="utf-8")
    _write_text(hub / "README.md", front_matter(staged.task, staged.has_weights) + card)
    _write_text(hub / ".gitattributes", GIT_ATTRIBUTES)
    _write_sums(hub)
    return archive


def _write_for_model_zoo(staged: _Staged, release: Path, url: str) -> None:
    """A bundle as it is added to MONAI's model zoo, which keeps no weights: with their addresses and hashes instead."""
    folder = release / ZOO_FOLDER / staged.name
    listed = ""
    for path, file in staged.files.items():
        if path in (MODEL_FILE, _ONNX_FILE):
            name = f"{staged.title}_{file.name}"
            shutil.copyfile(file, release / name)
            address = f"{url.rstrip('/')}/{name}"
            listed += f'  - path: "{path}"\n    url: {json.dumps(address)}\n'
            listed += f'    hash_val: "{file_digest(file)}"\n    hash_type: "sha256"\n'
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / path)
    sums = {path: file_digest(file) for path, file in staged.files.items() if path != SUMS_FILE}
    if listed:
        _write_text(folder / LARGE_FILES, f"large_files:\n{listed}")
        sums[LARGE_FILES] = file_digest(folder / LARGE_FILES)
    _write_text(folder / SUMS_FILE, format_sums(sums))
    test = render_zoo_test(staged.task) if "configs/train.json" in staged.files else None
    if test is not None:
        tests = release / ZOO_FOLDER / "unit_tests"
        tests.mkdir(exist_ok=True)
        _write_text(tests / f"test_{staged.name}.py", test)


def _write_sums(folder: Path) -> None:
    files = {path: file for path, file in list_bundle_files(folder).files.items() if path != SUMS_FILE}
    _write_text(folder / SUMS_FILE, format_sums({path: file_digest(file) for path, file in files.items()}))


def _model_info(release: Path, archives: Iterable[str], url: str | None) -> str:
    base = "" if url is None else url.rstrip("/") + "/"
    info: dict[str, Any] = {
        name.removesuffix(".zip"): {"checksum": file_digest(release / name, "sha1"), "source": f"{base}{name}"}
        for name in archives
    }
    return json.dumps(info, indent=4, sort_keys=True) + "\n"


def _put_in_place(release: Path, out: Path, scratch: Path) -> None:
    # A release made under a strict umask must still be readable by a web server.
    for path in [release, *release.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    if out.exists():
        out.rename(scratch / "earlier")
    release.rename(out)


def _write_text(path: Path, text: str) -> None:
    # The folder appears complete or not at all, so its files need no separate rename.
    path.write_text(text, encoding="utf-8", newline="\n")
