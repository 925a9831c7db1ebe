"""Run a bundle's config as a user would, in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radimagenet_monai.core.errors import RadImageNetError

# Lines printed by the bundles' logging.conf; the rest of the output is MONAI listing its arguments.
_PROGRESS = re.compile(r"^\d\d:\d\d:\d\d (INFO|WARNING) ")


class BundleRunError(RadImageNetError):
    """A bundle run failed."""


def bundle_command(bundle: str | os.PathLike[str], config: str, overrides: Mapping[str, Any]) -> list[str]:
    """The command line of a bundle run, ready to type.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    config
        Name of the config, such as ``"train"``.
    overrides
        Top-level keys of the config.
    """
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += ["--config_file", str(Path(bundle) / "configs" / f"{config}.json"), "--bundle_root", str(bundle)]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    return command


def run_bundle(
    bundle: str | os.PathLike[str], config: str, overrides: Mapping[str, Any], log: str | os.PathLike[str]
) -> None:
    """Run a config of a bundle; its output goes to ``log``, progress lines also to the terminal.

    Raises
    ------
    BundleRunError
        If the run fails, with the last line of the log.
    """
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    last = ""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            bundle_command(bundle, config, overrides),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                stream.write(line)
                last = line.strip() or last
                if _PROGRESS.match(line):
                    print(f"  {line.rstrip()}", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BundleRunError(f"the {config} run of {Path(bundle).name} failed: {last} (all of its output: {log})")
