"""Running bundles in tests: in this process, or as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import create_workflow

REPOSITORY = Path(__file__).parents[2]
BUNDLES = sorted(path.parent.parent for path in (REPOSITORY / "bundles").glob("*/configs/metadata.json"))

# Small enough for seconds, large enough for several batches an epoch.
TINY: dict[str, Any] = {
    "architecture": "densenet121",
    "image_size": 64,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "num_workers": 0,
}


def copy_bundle(name: str, folder: Path) -> Path:
    """A bundle as someone downloads it, outside the repository."""
    return Path(shutil.copytree(REPOSITORY / "bundles" / name, folder / name))


def run_workflow(bundle: Path, config: str, **overrides: Any) -> Any:
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
    """Run a config as a user does, in a process of its own."""
    return subprocess.run(
        command(bundle, config, overrides),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
