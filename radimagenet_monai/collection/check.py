"""Check that the bundles on disk match the task catalogue and that MONAI accepts them."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import jsonschema

from radimagenet_monai.catalog.tasks import TASKS, get_task
from radimagenet_monai.collection.render import stale_files
from radimagenet_monai.core.errors import ConfigurationError

SCHEMA_FILE = "meta_schema.json"
"""MONAI's schema of bundle metadata (version 20240725, Apache-2.0), kept here because checking must work offline."""

_WORKFLOWS = {"train.json": "train", "evaluate.json": "inference", "inference.json": "inference"}


def check_bundles(folder: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Problems of every bundle in ``folder``, or of ``folder`` if it is a bundle: sentences by name, empty if valid.

    Checks that the files equal the rendered ones, that the metadata follow MONAI's schema with the current version in
    the changelog, and that the train, evaluation and inference configs have every property that MONAI requires.

    Raises
    ------
    ConfigurationError
        If there is no bundle.
    """
    folder = Path(folder)
    if (folder / "configs" / "metadata.json").is_file():
        return {folder.resolve().name: check_bundle(folder)}
    names = {path.parent.parent.name for path in folder.glob("*/configs/metadata.json")}
    if not names:
        raise ConfigurationError(
            f"'{folder}' holds no bundle; write them with 'radimagenet bundles render --out {folder}'"
        )
    names |= {task.name for task in TASKS.builtin().values() if task.released}
    return {name: check_bundle(folder / name) for name in sorted(names)}


def check_bundle(folder: str | os.PathLike[str]) -> list[str]:
    """Problems of the bundle in ``folder``, one sentence each."""
    folder = Path(folder)
    task = get_task(folder.resolve().name)
    stale = stale_files(folder, task)
    problems = [f"{path} is missing or out of date; run 'radimagenet bundles render'" for path in stale]
    if any(not (folder / path).exists() for path in stale):
        return problems
    return problems + check_metadata(folder) + check_properties(folder)


def check_metadata(folder: str | os.PathLike[str]) -> list[str]:
    """Deviations of ``configs/metadata.json`` from MONAI's schema."""
    metadata = json.loads((Path(folder) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    schema = json.loads((files("radimagenet_monai.collection") / SCHEMA_FILE).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    problems = [f"metadata.json: {error.json_path}: {error.message}" for error in validator.iter_errors(metadata)]
    if metadata.get("version") not in metadata.get("changelog", {}):
        problems.append(f"metadata.json: version {metadata.get('version')} is not in the changelog")
    return problems


def check_properties(folder: str | os.PathLike[str]) -> list[str]:
    """Properties that MONAI's bundle workflows require and a config lacks."""
    from monai.bundle import create_workflow

    problems = []
    for name, kind in _WORKFLOWS.items():
        workflow = create_workflow(
            config_file=str(Path(folder) / "configs" / name),
            workflow_type=kind,
            logging_file=False,
            bundle_root=str(folder),
        )
        lacking = workflow.check_properties()
        problems += [f"{name} lacks the property {lack}" for lack in lacking or []]
    return problems
