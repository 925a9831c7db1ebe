"""Which files make a bundle, and their SHA-256 sums."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radimagenet_monai.errors import RadImageNetError

SUMS_FILE = "SHA256SUMS"
"""Name of the list of hashes, in the format of ``sha256sum``, in a bundle and in a release."""

MODEL_INFO = "model_info.json"
"""MONAI's list of the bundles of a release."""

HUB_FOLDER = "huggingface"
"""Folder of a release with a repository a bundle."""

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
    r"""LICENSE | SHA256SUMS | README\.md | \.gitattributes      # the last two: of a Hugging Face repository
    | configs/[a-z0-9_]+\.json | configs/logging\.conf
    | docs/README\.md | docs/data_license\.txt
    | models/(?:\.gitkeep | model\.pt | model\.json | model\.onnx)""",
    re.VERBOSE,
)
_FOLDERS = {"configs", "docs", "models"}

# What running and downloading leave in a bundle's folder. None of it is released, none of it is a config.
_BY_PRODUCTS = re.compile(
    r"(?:output|eval|store|\.cache|\.git|__pycache__)(?:/|\Z)|.*(?:\.part|/\.DS_Store|\.lock)\Z|\.DS_Store\Z", re.DOTALL
)

_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


class BundleError(RadImageNetError):
    """A bundle, an archive of one or a download that is not what it should be."""


@dataclass
class BundleFiles:
    """Files under a bundle's folder, by path relative to it with ``/``.

    Attributes
    ----------
    files
        Those that belong to a bundle, sorted.
    by_products
        What runs and downloads leave behind, folders as a whole; not part of a bundle.
    foreign
        Everything else, links and special files included: path to why it is no part of a bundle.
    """

    files: dict[str, Path] = field(default_factory=dict)
    by_products: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)


def list_bundle_files(folder: str | os.PathLike[str]) -> BundleFiles:
    """Sort what stands under ``folder`` into the bundle's files, by-products and the rest. No link is followed.

    Raises
    ------
    BundleError
        Where ``folder`` is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"'{folder}' is not a folder, expected a bundle")
    found = BundleFiles()
    for path, entry in sorted(_walk(folder, "")):
        mode = entry.lstat().st_mode
        if _BY_PRODUCTS.match(path):
            found.by_products.append(path)
        elif stat.S_ISDIR(mode):
            if path not in _FOLDERS:
                found.foreign[path] = "a folder that is no part of a bundle"
        elif not stat.S_ISREG(mode):
            found.foreign[path] = "a link or special file"
        elif _BUNDLE_FILE.fullmatch(path):
            found.files[path] = entry
        else:
            found.foreign[path] = _why_foreign(path)
    return found


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        yield path, entry
        # A folder that is foreign or a by-product is named once, not file by file.
        if path in _FOLDERS and not entry.is_symlink() and entry.is_dir():
            yield from _walk(entry, f"{path}/")


def _why_foreign(path: str) -> str:
    if path.endswith(".ts"):
        return "a TorchScript program, which cannot be checked; 'monai.bundle ckpt_export' makes it where it is needed"
    if path.endswith((".py", ".pyc", ".so", ".pyd", ".pth", ".whl", ".sh", ".exe", ".dll")):
        return "code; the code of a bundle is the installed package"
    if path.endswith((".pkl", ".pickle", ".npy", ".npz", ".joblib")):
        return "a file that may run code when it is read"
    return "no part of a bundle"


def file_hash(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def format_sums(sums: Mapping[str, str]) -> str:
    """Hashes by path as text for ``sha256sum --check``, sorted by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))


def parse_sums(text: str) -> dict[str, str]:
    """The inverse of `format_sums`: path to hexadecimal SHA-256 in lower case.

    Raises
    ------
    BundleError
        Where a line is not of that format or a path stands twice.
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
