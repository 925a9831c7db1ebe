"""Verification of a bundle without running any of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.collection.archive import archive_problems, extract_archive
from radimagenet_monai.collection.bundle_files import (
    HUB_FOLDER,
    MODEL_FACTS,
    MODEL_FILE,
    MODEL_INFO,
    REQUIRED_FILES,
    SUMS_FILE,
    BundleError,
    BundleFiles,
    list_bundle_files,
    parse_sums,
)
from radimagenet_monai.collection.check import check_metadata
from radimagenet_monai.collection.verification.config_code import config_findings
from radimagenet_monai.collection.verification.config_tree import MAX_CONFIG_BYTES
from radimagenet_monai.collection.verification.findings import Finding, Grade
from radimagenet_monai.collection.verification.logging_config import logging_problems
from radimagenet_monai.collection.verification.portable_profile import portable_findings
from radimagenet_monai.collection.verification.torch_file import torch_file_problems
from radimagenet_monai.core.errors import one_line
from radimagenet_monai.core.file_hash import file_digest

VERSION = re.compile(r"\d+(?:\.\d+){1,3}(?:(?:a|b|rc)\d+)?")
NAME = re.compile(r"(?!.*_v)[a-z][a-z0-9_]{0,99}")
"""A bundle's name; MONAI cuts it at ``_v``."""

Profile = Literal["any", "portable"]
"""What a bundle is meant for: anything, or platforms without this package, see `portable_profile`."""

MAX_SUMS_BYTES = 1_000_000
CHECKS_TIMEOUT = 900.0
_OF_TRAINING = ("configs/train.json", "configs/evaluate.json")


@dataclass
class Verification:
    """Result of verifying one bundle.

    Attributes
    ----------
    findings
        Problems with their grades; empty if the bundle passes.
    facts
        What was compared with what, and what could not be checked.
    """

    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """One sentence for each finding."""
        return [finding.sentence for finding in self.findings]

    @property
    def grade(self) -> Grade | None:
        """The worst grade found, or ``None`` if there are no findings."""
        grades = {finding.grade for finding in self.findings}
        return next((grade for grade in Grade if grade in grades), None)

    def add(self, grade: Grade, *sentences: str) -> None:
        """Add findings of one grade."""
        self.findings += [Finding(grade, sentence) for sentence in sentences]

    def summary(self) -> str:
        """The verdict: ``ok``, or the number of findings of each grade; each unknown name counts once."""
        unknown = {finding.subject or finding.sentence for finding in self.findings if finding.grade is Grade.UNKNOWN}
        counts = {
            Grade.DANGEROUS: sum(finding.grade is Grade.DANGEROUS for finding in self.findings),
            Grade.UNKNOWN: len(unknown),
            Grade.STYLE: sum(finding.grade is Grade.STYLE for finding in self.findings),
        }
        return ", ".join(f"{count} {grade}" for grade, count in counts.items() if count) or "ok"


def verify_bundle(path: str | os.PathLike[str], run_checks: bool = False, profile: Profile = "any") -> list[str]:
    """Problems of the bundle in a folder or zip archive, one sentence each; empty if it passes.

    Nothing in the bundle is executed, imported or unpickled unless ``run_checks`` is given.

    Parameters
    ----------
    path
        Folder of a bundle, or ``<name>_v<version>.zip``.
    run_checks
        If nothing dangerous or unknown was found, also run MONAI's own checks in a separate process. This builds the
        bundle's network and thus runs what the configs name.
    profile
        ``"portable"``: configs may name only MONAI, torch and ignite; if nothing dangerous or unknown was found, the
        network is built and must give the outputs that were recorded when the bundle was made.

    Raises
    ------
    BundleError
        If there is neither a folder nor a file.
    """
    return inspect_bundle(path, run_checks, profile).problems


def inspect_bundle(path: str | os.PathLike[str], run_checks: bool = False, profile: Profile = "any") -> Verification:
    """Like `verify_bundle`, with grades and the facts that were checked."""
    path = Path(path)
    if path.is_dir():
        found = _inspect_folder(path, path.resolve().name, profile)
        _run_checks(path, found, run_checks, profile)
    elif path.is_file():
        found = _inspect_archive(path, run_checks, profile)
    else:
        raise BundleError(f"'{path}' does not exist, expected the folder or the zip archive of a bundle")
    return Verification([replace(item, sentence=_printable(item.sentence)) for item in found.findings], found.facts)


def inspect_release(
    folder: str | os.PathLike[str], run_checks: bool = False, profile: Profile = "any"
) -> dict[str, Verification]:
    """Results for each archive and each hub repository in the folder of a release, and for its lists.

    Missing archives that ``SHA256SUMS`` names, and a ``model_info.json`` that states another SHA-1, are problems too.

    Raises
    ------
    BundleError
        If ``SHA256SUMS`` is missing or not in the format of sha256sum.
    """
    folder = Path(folder)
    try:
        sums = parse_sums(_read_text(folder / SUMS_FILE))
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / SUMS_FILE} cannot be read: {error}") from error
    listed = _read_json(folder / MODEL_INFO)
    found = {}
    for name in sorted(sums.keys() | {path.name for path in folder.glob("*.zip")}):
        path = folder / Path(name).name
        if not path.is_file():
            found[name] = Verification([Finding(Grade.DANGEROUS, f"{_printable(name)} is in {SUMS_FILE}, but missing")])
            continue
        found[name] = inspect_bundle(path, run_checks, profile)
        entry = listed.get(path.stem)
        if not isinstance(entry, dict) or entry.get("checksum") != file_digest(path, "sha1"):
            found[name].add(Grade.DANGEROUS, f"{MODEL_INFO} does not state the SHA-1 of {name}")
    hub = folder / HUB_FOLDER
    for path in sorted(hub.iterdir()) if hub.is_dir() else []:
        found[f"{HUB_FOLDER}/{_printable(path.name)}"] = inspect_bundle(path, profile=profile)
    return found


def _inspect_archive(path: Path, run_checks: bool, profile: Profile) -> Verification:
    problems = archive_problems(path)
    if problems:
        return Verification([Finding(Grade.DANGEROUS, problem) for problem in problems])
    with tempfile.TemporaryDirectory(prefix="bundle_") as scratch:
        folder = extract_archive(path, scratch)
        found = _inspect_folder(folder, folder.name, profile)
        if not (folder / SUMS_FILE).is_file():
            found.add(Grade.STYLE, f"{SUMS_FILE} is missing, which a released bundle has")
        files = list_bundle_files(folder)
        found.add(Grade.DANGEROUS, *(f"{name} is no part of a bundle" for name in files.by_products))
        _check_archive_name(path, folder, found)
        _compare_with_neighbour(path, found)
        _run_checks(folder, found, run_checks, profile)
    return found


def _check_archive_name(path: Path, folder: Path, found: Verification) -> None:
    version = _read_json(folder / "configs" / "metadata.json").get("version")
    expected = f"{folder.name}_v{version}.zip"
    if path.name != expected:
        found.add(Grade.DANGEROUS, f"the archive is called '{path.name}', but holds what belongs into '{expected}'")


def _compare_with_neighbour(path: Path, found: Verification) -> None:
    neighbour = path.parent / SUMS_FILE
    if not neighbour.is_file():
        found.facts.append(f"no {SUMS_FILE} beside the archive, so its own hash was compared with nothing")
        return
    try:
        expected = parse_sums(_read_text(neighbour)).get(path.name)
    except (BundleError, OSError, ValueError) as error:
        found.add(Grade.DANGEROUS, one_line(error))
        return
    if expected is None:
        found.add(Grade.DANGEROUS, f"{path.name} is not in the {SUMS_FILE} beside it")
    elif expected != file_digest(path):
        found.add(Grade.DANGEROUS, f"the SHA-256 of {path.name} differs from the {SUMS_FILE} beside it")
    else:
        found.facts.append(f"SHA-256 of the archive as in the {SUMS_FILE} beside it: {expected}")


def _inspect_folder(folder: Path, name: str, profile: Profile) -> Verification:
    found = Verification()
    files = list_bundle_files(folder)
    for path, reason in files.foreign.items():
        found.add(files.grades[path], f"{path} is {reason}")
    required = REQUIRED_FILES if profile == "any" else [path for path in REQUIRED_FILES if path not in _OF_TRAINING]
    found.add(Grade.STYLE, *(f"{path} is missing" for path in required if path not in files.files))
    if files.by_products:
        found.facts.append(f"not looked at: {', '.join(map(_printable, files.by_products))}")
    if "models/model.onnx" in files.files:
        found.facts.append("not looked into: models/model.onnx (data for an ONNX runtime, known by its hash alone)")
    _check_hashes(files, found)
    _check_configs(files, found, profile)
    for path, file in files.files.items():
        found.add(Grade.DANGEROUS, *(f"{path}: {problem}" for problem in _file_problems(path, file)))
    if _read_json(folder / "configs" / "metadata.json"):
        _check_metadata(folder, name, found)
    _check_model_facts(files, found)
    return found


def _check_configs(files: BundleFiles, found: Verification, profile: Profile) -> None:
    configs, prose = {}, []
    for path, file in files.files.items():
        if not path.endswith(".json"):
            continue
        try:
            # Reading one byte more than allowed shows whether the file is too large.
            with open(file, "rb") as stream:
                configs[path] = stream.read(MAX_CONFIG_BYTES + 1)
        except OSError as error:
            found.add(Grade.DANGEROUS, f"{path}: {one_line(error)}")
        if not path.startswith("configs/") or path == "configs/metadata.json":
            prose.append(path)
    for path, findings in config_findings(configs, prose).items():
        found.findings += [replace(finding, sentence=f"{path}: {finding.sentence}") for finding in findings]
    if profile == "portable":
        found.findings += portable_findings({path: data for path, data in configs.items() if path not in prose})


def _file_problems(path: str, file: Path) -> list[str]:
    try:
        if path == "configs/logging.conf":
            return logging_problems(_read_text(file))
        if path == MODEL_FILE:
            return torch_file_problems(file)
        if path == SUMS_FILE:
            return []
        if path.endswith((".md", ".txt")) or path == "LICENSE":
            _read_text(file)
    except (OSError, ValueError) as error:
        return [one_line(error)]
    return []


def _check_hashes(files: BundleFiles, found: Verification) -> None:
    if SUMS_FILE not in files.files:
        found.facts.append(
            f"no {SUMS_FILE} in the bundle, so no file was compared with a hash (a working copy has none)"
        )
        return
    try:
        sums = parse_sums(_read_text(files.files[SUMS_FILE]))
    except (BundleError, OSError, ValueError) as error:
        found.add(Grade.DANGEROUS, one_line(error))
        return
    present = {path: file for path, file in files.files.items() if path != SUMS_FILE}
    found.add(
        Grade.DANGEROUS, *(f"{path} is in {SUMS_FILE}, but missing" for path in sorted(sums.keys() - present.keys()))
    )
    found.add(Grade.DANGEROUS, *(f"{path} is not in {SUMS_FILE}" for path in sorted(present.keys() - sums.keys())))
    different = [path for path in present.keys() & sums.keys() if file_digest(present[path]) != sums[path]]
    found.add(Grade.DANGEROUS, *(f"{path} differs from its SHA-256 in {SUMS_FILE}" for path in sorted(different)))
    if not different:
        found.facts.append(f"{len(present)} files compared with the {SUMS_FILE} in the bundle")


def _check_metadata(folder: Path, name: str, found: Verification) -> None:
    found.add(Grade.STYLE, *(one_line(problem)[:300] for problem in check_metadata(folder)))
    metadata = _read_json(folder / "configs" / "metadata.json")
    if not NAME.fullmatch(name):
        found.add(Grade.STYLE, f"{name!r} is no name of a bundle (lower case, digits and '_', without '_v')")
    if metadata.get("name") != name:
        found.add(
            Grade.STYLE, f"metadata.json: the name is {metadata.get('name')!r}, but the folder is called {name!r}"
        )
    if not VERSION.fullmatch(str(metadata.get("version"))):
        found.add(Grade.STYLE, f"metadata.json: {metadata.get('version')!r} is not a version such as 0.1.0")


def _check_model_facts(files: BundleFiles, found: Verification) -> None:
    if MODEL_FACTS not in files.files or found.grade is Grade.DANGEROUS:
        return
    if MODEL_FILE not in files.files:
        found.add(Grade.DANGEROUS, f"{MODEL_FACTS} describes a {MODEL_FILE} that is missing")
    elif _read_json(files.files[MODEL_FACTS]).get("sha256") != file_digest(files.files[MODEL_FILE]):
        found.add(Grade.DANGEROUS, f"{MODEL_FACTS} describes another {MODEL_FILE} (SHA-256 differs)")


def _run_checks(folder: Path, found: Verification, run_checks: bool, profile: Profile) -> None:
    """What builds the network, if nothing dangerous or unknown was found."""
    if found.grade in (None, Grade.STYLE) and profile == "portable":
        from radimagenet_monai.collection.portable import network_problem  # imports torch

        if problem := network_problem(folder):
            found.add(Grade.DANGEROUS, problem)
        else:
            found.facts.append("the network gives the outputs that were recorded when the bundle was made")
    if run_checks and found.grade in (None, Grade.STYLE):
        _run_monai_checks(folder, found)


def _run_monai_checks(folder: Path, found: Verification) -> None:
    """Run MONAI's checks in a separate process, because they leave loggers, seeds and modules behind."""
    command = [sys.executable, "-m", "radimagenet_monai.collection.verification.monai_checks", str(folder.resolve())]
    with tempfile.TemporaryDirectory(prefix="checks_") as scratch:
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=CHECKS_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            found.add(Grade.STYLE, f"MONAI's own checks did not end within {CHECKS_TIMEOUT:.0f} s")
            return
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        found.add(Grade.STYLE, f"MONAI's own checks stopped: {reason}")
        return
    result = json.loads(lines[-1])
    found.add(Grade.STYLE, *result["problems"])
    found.facts.append(f"MONAI's own checks were run: {', '.join(result['checks'])}")


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_SUMS_BYTES:
        raise ValueError(f"it is larger than {MAX_SUMS_BYTES:,} bytes")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _printable(text: str) -> str:
    """``text`` without control characters, which could change what a terminal shows."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in one_line(text)
    )
