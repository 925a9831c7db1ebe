"""Running a bundle's config as a user would, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radimagenet_monai.errors import RadImageNetError

# What the bundles' logging.conf prints; the rest of the output is MONAI's account of its arguments.
_PROGRESS = re.compile(r"^\d\d:\d\d:\d\d (INFO|WARNING) ")


class BundleRunError(RadImageNetError):
    """A bundle run that ended with an error."""


def bundle_command(bundle: str | os.PathLike[str], config: str, overrides: Mapping[str, Any]) -> list[str]:
    """The command line of a bundle run, which can be typed as it is.

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
    """Run a config of a bundle; everything it prints goes to ``log``, its progress lines to the terminal as well.

    Raises
    ------
    BundleRunError
        With the last line of the log, where the run does not end well.
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
