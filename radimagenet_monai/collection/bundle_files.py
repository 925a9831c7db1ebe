"""The files that belong to a bundle, and their SHA-256 sums."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radimagenet_monai.collection.verification.findings import Grade
from radimagenet_monai.core.errors import RadImageNetError

SUMS_FILE = "SHA256SUMS"
"""Name of the list of hashes, in the format of ``sha256sum``, in a bundle and in a release."""

MODEL_INFO = "model_info.json"
"""MONAI's list of the bundles of a release."""

SBOM_FILE = "sbom.cdx.json"
"""What a release was made with, as CycloneDX."""

HUB_FOLDER = "huggingface"
"""Folder of a release with a repository a bundle."""

ZOO_FOLDER = "model_zoo"
"""Folder of a release with what a pull request to MONAI's model zoo adds: bundles without their weights."""

LARGE_FILES = "large_files.yml"
"""The model zoo's list of the files of a bundle that are kept elsewhere, with their hashes."""

REQUIRED_FILES = (
    "LICENSE",
    "configs/evaluate.json",
    "configs/inference.json",
    "configs/metadata.json",
    "configs/train.json",
    "docs/README.md",
    "docs/data_license.txt",
)

MODEL_FILE = "models/model.pt"
MODEL_FACTS = "models/model.json"

_BUNDLE_FILE = re.compile(
    r"""LICENSE | SHA256SUMS
    | README\.md | \.gitattributes                              # of a Hugging Face repository
    | large_files\.yml                                          # of MONAI's model zoo
    | configs/[a-z0-9_]+\.json | configs/logging\.conf
    | docs/README\.md | docs/data_license\.txt
    | models/(?:\.gitkeep | model\.pt | model\.json | model\.onnx)""",
    re.VERBOSE,
)
_FOLDERS = {"configs", "docs", "models"}

# What runs and downloads leave in a bundle's folder. None of it is released or a config.
_BY_PRODUCTS = re.compile(
    r"(?:output|eval|store|models/runtimes|\.cache|\.git|__pycache__)(?:/|\Z)|.*(?:\.part|/\.DS_Store|\.lock)\Z|\.DS_Store\Z",
    re.DOTALL,
)

_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


class BundleError(RadImageNetError):
    """An invalid bundle, bundle archive or download."""


@dataclass
class BundleFiles:
    """Files under a bundle's folder, as paths relative to it with ``/``.

    Attributes
    ----------
    files
        Sorted paths of the files that belong to a bundle.
    by_products
        Files and whole folders that runs and downloads leave behind; not part of a bundle.
    foreign
        Everything else, including links and special files, each with the reason why it does not belong to a bundle.
    grades
        Grade of each foreign path.
    """

    files: dict[str, Path] = field(default_factory=dict)
    by_products: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    grades: dict[str, Grade] = field(default_factory=dict)

    def add_foreign(self, path: str, reason: str, grade: Grade) -> None:
        """Record a file or folder that does not belong to a bundle."""
        self.foreign[path] = reason
        self.grades[path] = grade


def list_bundle_files(folder: str | os.PathLike[str]) -> BundleFiles:
    """Sort the contents of ``folder`` into the bundle's files, by-products and the rest. Links are not followed.

    Raises
    ------
    BundleError
        If ``folder`` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"'{folder}' is not a folder, expected a bundle")
    found = BundleFiles()
    for path, entry in sorted(_walk(folder, "")):
        mode = entry.lstat().st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            found.add_foreign(path, "a link or special file", Grade.DANGEROUS)
        elif _BY_PRODUCTS.match(path):
            found.by_products.append(path)
            for link in _links(entry, path):
                # A run would write through the link.
                found.add_foreign(link, "a link or special file", Grade.DANGEROUS)
        elif stat.S_ISDIR(mode):
            if path not in _FOLDERS:
                found.add_foreign(path, "a folder that is no part of a bundle", _grade_folder(entry, path))
        elif _BUNDLE_FILE.fullmatch(path):
            found.files[path] = entry
        else:
            found.add_foreign(path, *_why_foreign(path))
    return found


def _links(entry: Path, path: str) -> Iterator[str]:
    """Links and special files anywhere below a by-product."""
    for folder, folders, files in os.walk(entry):
        for name in [*folders, *files]:
            below = Path(folder, name)
            mode = below.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                yield f"{path}/{below.relative_to(entry).as_posix()}"


def _grade_folder(entry: Path, path: str) -> Grade:
    """The worst grade of the contents of a folder that does not belong to a bundle."""
    grades = [Grade.DANGEROUS for _ in _links(entry, path)]
    grades += [_why_foreign(f"{path}/{name}")[1] for _, _, files in os.walk(entry) for name in files]
    return next((grade for grade in Grade if grade in grades), Grade.STYLE)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        yield path, entry
        # A foreign or by-product folder is named once, not file by file.
        if path in _FOLDERS and not entry.is_symlink() and entry.is_dir():
            yield from _walk(entry, f"{path}/")


def _why_foreign(path: str) -> tuple[str, Grade]:
    lower = path.lower()
    if Path(lower).name.startswith(".") and not lower.endswith(_HARMLESS):
        return "a hidden file", Grade.DANGEROUS
    if lower.endswith(".ts"):
        return (
            "a TorchScript program, which cannot be checked; 'monai.bundle ckpt_export' makes it where it is needed",
            Grade.UNKNOWN,
        )
    if lower.endswith((*_CODE, *_CODE_ELSEWHERE)):
        return "code; the code of a bundle is the installed package", Grade.DANGEROUS
    if lower.endswith((".pkl", ".pickle", ".npy", ".npz", ".joblib", ".h5", ".keras")):
        return "a file that may run code when it is read", Grade.DANGEROUS
    if lower.endswith((".yaml", ".yml")) and lower.startswith("configs/"):
        return "no part of a bundle: configs are JSON, and this one is not read", Grade.DANGEROUS
    if lower.endswith(_HARMLESS):
        return "no part of a bundle", Grade.STYLE
    return "no part of a bundle", Grade.UNKNOWN


_HARMLESS = (".md", ".txt", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".gitkeep", ".gitignore", ".yml")
_CODE = (".py", ".pyc", ".pyo", ".pyw", ".pyi", ".so", ".pyd", ".pth", ".whl", ".egg", ".sh", ".bat", ".exe", ".dll")
_CODE_ELSEWHERE = (".dylib", ".ipynb", ".ps1", ".cmd", ".jar", ".js")


def format_sums(sums: Mapping[str, str]) -> str:
    """Hashes by path, as text for ``sha256sum --check`` sorted by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))


def parse_sums(text: str) -> dict[str, str]:
    """The inverse of `format_sums`: path to hexadecimal SHA-256 in lower case.

    Raises
    ------
    BundleError
        If a line does not have that format or a path occurs twice.
    """
    sums: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        matched = _SUMS_LINE.fullmatch(line)
        if matched is None or matched[2] in sums:
            raise BundleError(f"{SUMS_FILE}: {line[:80]!r} is not a hash and a path of its own, as of sha256sum")
        sums[matched[2]] = matched[1].lower()
    return sums
