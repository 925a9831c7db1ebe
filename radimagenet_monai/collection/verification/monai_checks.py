"""MONAI's own checks of one bundle; run as ``python -m radimagenet_monai.collection.verification.monai_checks FOLDER``.

This builds the network that the configs name, so it runs after `verify` and in a separate process.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from radimagenet_monai.collection.bundle_files import MODEL_FILE
from radimagenet_monai.collection.check import SCHEMA_FILE, check_properties
from radimagenet_monai.core.errors import one_line


def run_monai_checks(folder: Path) -> dict[str, list[str]]:
    """The names of the checks that were run (``checks``) and the problems found (``problems``)."""
    checks: dict[str, Callable[[], list[str]]] = {
        "verify_metadata": lambda: _verify_metadata(folder),
        "check_properties": lambda: check_properties(folder),
        "verify_net_in_out": lambda: _verify_network(folder),
    }
    if (folder / MODEL_FILE).is_file():
        checks["ckpt_export"] = lambda: _export(folder)
    problems = []
    for name, check in checks.items():
        try:
            problems += check()
        except Exception as error:  # MONAI's checks can raise anything, depending on the config
            problems.append(f"{name}: {type(error).__name__}: {one_line(error)[:300]}")
    return {"checks": list(checks), "problems": problems}


def _verify_metadata(folder: Path) -> list[str]:
    from monai.bundle import verify_metadata

    schema = importlib.resources.files("radimagenet_monai.collection") / SCHEMA_FILE
    with importlib.resources.as_file(schema) as path:
        # MONAI uses an existing schema at `filepath` and then needs no internet access.
        verify_metadata(meta_file=str(folder / "configs" / "metadata.json"), filepath=str(path))
    return []


def _verify_network(folder: Path) -> list[str]:
    from monai.bundle import verify_net_in_out

    verify_net_in_out(
        net_id="network_def",
        meta_file=str(folder / "configs" / "metadata.json"),
        config_file=str(folder / "configs" / "inference.json"),
        bundle_root=str(folder),
    )
    return []


def _export(folder: Path) -> list[str]:
    from monai.bundle import ckpt_export

    with tempfile.TemporaryDirectory() as scratch:
        ckpt_export(
            net_id="network_def",
            filepath=str(Path(scratch) / "model.ts"),
            ckpt_file=str(folder / MODEL_FILE),
            meta_file=str(folder / "configs" / "metadata.json"),
            config_file=str(folder / "configs" / "inference.json"),
            bundle_root=str(folder),
        )
    return []


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = run_monai_checks(Path(sys.argv[1]))
    print(json.dumps(result))
