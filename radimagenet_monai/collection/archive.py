"""Zip archives of bundles: written reproducibly, byte for byte, and extracted only if nothing in them is suspicious."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from radimagenet_monai.collection.bundle_files import BundleError
from radimagenet_monai.collection.verification.zip_layout import ZipLayoutError, check_zip_layout

MAX_MEMBERS = 1_000
MAX_BYTES = 4 * 2**30
MAX_RATIO = 200
"""Unpacked to packed size beyond which a member of more than a megabyte counts as a zip bomb."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can state
_UNSAFE_CHARACTER = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)
_ENCRYPTED = 0x1


def write_archive(path: str | os.PathLike[str], files: Mapping[str, Path], top: str) -> None:
    """Write ``files`` (path in the bundle to file) as a zip archive with a single folder ``top``.

    The bytes depend only on contents and names: members are sorted, times and permissions are fixed, and nothing is
    compressed, since the output of zlib differs between its versions (weights, the bulk of a bundle, hardly compress).
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(files.items()):
            info = zipfile.ZipInfo(f"{top}/{name}", _EARLIEST)
            info.create_system = 3  # always Unix, to match the permissions
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.file_size = source.stat().st_size
            with open(source, "rb") as stream, archive.open(info, "w") as member:
                shutil.copyfileobj(stream, member, 2**20)


def archive_problems(path: str | os.PathLike[str]) -> list[str]:
    """Reasons not to extract an archive; empty if it is one folder of plain files.

    Refused are members that would land outside the folder, links and special files, duplicate names, names that differ
    only in case, encryption, unknown compression, sizes beyond `MAX_BYTES`, `MAX_MEMBERS` and `MAX_RATIO`, damaged
    members, and archives with data in front of them.
    """
    try:
        with open(path, "rb") as stream:
            if stream.read(4) != b"PK\x03\x04":
                return ["it is not a zip archive from its first byte on"]
            with zipfile.ZipFile(stream) as archive:
                problems = list(_member_problems(archive))
                if not problems:
                    check_zip_layout(stream)
                if not problems and (damaged := _damaged_member(archive)):
                    problems.append(damaged)
                return problems
    except (FileNotFoundError, PermissionError):
        raise
    except ZipLayoutError as error:
        return [f"readers may see different archives in it: {error}"]
    except Exception as error:  # zipfile can raise anything on damaged bytes
        return [f"it is a damaged zip archive ({type(error).__name__}: {error})"]


def extract_archive(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Extract an archive without `archive_problems` into the empty ``folder``; returns its only top-level folder.

    Raises
    ------
    BundleError
        If the archive must not be extracted; nothing is written then.
    """
    problems = archive_problems(path)
    if problems:
        raise BundleError(f"{path} is not extracted: {'; '.join(problems)}")
    folder = Path(folder)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for info in members:
            target = folder / info.filename
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(target, "xb") as stream:
                shutil.copyfileobj(source, stream, 2**20)
        return folder / members[0].filename.split("/")[0]


def _member_problems(archive: zipfile.ZipFile) -> Iterator[str]:
    members = archive.infolist()
    if not members:
        yield "it is empty"
    if len(members) > MAX_MEMBERS:
        yield f"it has {len(members)} members, expected at most {MAX_MEMBERS}"
        return
    if archive.comment:
        yield "it carries a comment"
    seen: set[str] = set()
    for info in members:
        name = info.orig_filename
        reason = _name_problem(name) or _kind_problem(info)
        if name.rstrip("/").casefold() in seen:
            reason = "stands twice, or differs from another in case only"
        seen.add(name.rstrip("/").casefold())
        if reason:
            yield f"member {name!r} {reason}"
    if len({info.filename.split("/")[0] for info in members}) > 1:
        yield "it has more than one top folder"
    if any("/" not in info.filename for info in members):
        yield "it has files outside of a top folder"
    total = sum(info.file_size for info in members)
    if total > MAX_BYTES:
        yield f"it unpacks to {total:,} bytes, expected at most {MAX_BYTES:,}"


def _name_problem(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in parts or ".." in name.split("\\"):
        return "leaves the folder"
    if not name.isascii() or _UNSAFE_CHARACTER.search(name) or PurePosixPath(name).as_posix() != name.removesuffix("/"):
        return "has a name that is not plain"
    if any(_DEVICE.match(part) or part.endswith((" ", ".")) for part in parts):
        return "has a name that means something else on some systems"
    return None


def _kind_problem(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    expected = stat.S_IFDIR if info.is_dir() else stat.S_IFREG
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, expected):
        return "is a special file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that is not expected"
    if info.is_dir() and info.file_size:
        return "is a folder with content"
    if info.file_size > max(2**20, MAX_RATIO * info.compress_size):
        return f"unpacks to {info.file_size:,} bytes out of {info.compress_size:,}"
    return None


def _damaged_member(archive: zipfile.ZipFile) -> str | None:
    # zipfile stops at the size a member states, so this reads no more than the sizes checked above.
    name = archive.testzip()
    return None if name is None else f"member {name!r} is damaged (CRC-32 differs)"
