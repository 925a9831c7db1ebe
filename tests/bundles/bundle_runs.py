"""Running bundles in tests: in this process, or as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forks
from monai.bundle import create_workflow
from shallow_densenet import make_shallow, shallow_densenet

REPOSITORY = Path(__file__).parents[2]
BUNDLES = sorted(path.parent.parent for path in (REPOSITORY / "bundles").glob("*/configs/metadata.json"))

# Small enough for seconds, large enough for several batches an epoch.
TINY: dict[str, Any] = {
    "architecture": "densenet121",
    "image_size": 32,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "num_workers": 0,
}


def copy_bundle(name: str, folder: Path) -> Path:
    """A bundle as someone downloads it, outside the repository."""
    return Path(shutil.copytree(REPOSITORY / "bundles" / name, folder / name))


def run_workflow(bundle: Path, config: str, **overrides: Any) -> Any:
    """Run a config in this process, DenseNet121 being shallow, and return the workflow."""
    with shallow_densenet():
        return run_whole_workflow(bundle, config, **overrides)


def run_whole_workflow(bundle: Path, config: str, **overrides: Any) -> Any:
    """Run a config in this process and return the workflow."""
    workflow = create_workflow(
        config_file=str(bundle / "configs" / f"{config}.json"),
        workflow_type="train" if config == "train" else "inference",
        bundle_root=str(bundle),
        **overrides,
    )
    workflow.run()
    workflow.finalize()
    return workflow


def command(bundle: Path, config: str, overrides: Mapping[str, Any]) -> list[str]:
    """The command line of a bundle run."""
    arguments = [sys.executable, "-m", "monai.bundle", "run"]
    arguments += ["--config_file", str(bundle / "configs" / f"{config}.json"), "--bundle_root", str(bundle)]
    return arguments + [part for key, value in overrides.items() for part in (f"--{key}", str(value))]


def run_command(bundle: Path, config: str, cwd: Path, **overrides: Any) -> subprocess.CompletedProcess:
    """Run a config as a user does, in a fork of a process that has imported everything; DenseNet121 is shallow."""
    arguments, environment = command(bundle, config, overrides), {**os.environ, "PYTHONUNBUFFERED": "1"}
    return forks.run(arguments, cwd=cwd, env=environment, first=make_shallow)
