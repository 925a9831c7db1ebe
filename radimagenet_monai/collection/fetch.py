"""Download a released bundle, compare its SHA-256, verify it, and only then extract it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from radimagenet_monai.collection.archive import MAX_BYTES, extract_archive
from radimagenet_monai.collection.bundle_files import SUMS_FILE, BundleError, list_bundle_files, parse_sums
from radimagenet_monai.collection.verification.findings import Grade
from radimagenet_monai.collection.verification.verify import MAX_SUMS_BYTES, NAME, Verification, inspect_bundle
from radimagenet_monai.core.atomic import scratch_folder
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

_CHUNK = 2**20
_ARCHIVE = re.compile(r"([a-z0-9_]+?)_v([0-9a-z.]+)\.zip")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Fetched:
    """What `fetch_bundle` did.

    Attributes
    ----------
    folder
        Folder of the bundle.
    sha256
        SHA-256 of the archive.
    compared_with
        Source of the expected hash, or ``None`` if there was none to compare with.
    was_there
        Whether the same bundle was already in the folder, so that nothing was written.
    """

    folder: Path
    sha256: str
    compared_with: str | None
    was_there: bool


def fetch_bundle(
    url: str,
    out: str | os.PathLike[str] = ".",
    sha256: str | None = None,
    name: str | None = None,
    unverified: bool = False,
    max_bytes: int = MAX_BYTES,
    timeout: float = TIMEOUT,
    allow_unknown: bool = False,
) -> Fetched:
    """Download a bundle's archive and extract it to ``out/<name>`` if its hash and content are valid.

    Parameters
    ----------
    url
        ``https``, ``http`` or ``file`` address of an archive ``<name>_v<version>.zip``, or of the folder of a release.
    out
        Folder that receives the bundle's folder.
    sha256
        Expected hash of the archive. By default it is read from the ``SHA256SUMS`` beside the archive, which detects
        damage but not an attacker who replaced both.
    name
        Name of the bundle, if ``url`` is the folder of a release; the newest version is used.
    unverified
        Continue if there is no hash to compare with. The content is checked anyway.
    max_bytes
        Maximum size of the download in bytes.
    timeout
        Seconds without a byte after which to give up.
    allow_unknown
        Extract a bundle with components that are not on the allow-list if nothing dangerous was found.

    Raises
    ------
    ConfigurationError
        If the address or the hash is invalid, or ``out/<name>`` already exists with other content.
    BundleError
        If the download fails, its hash differs, or the bundle does not pass verification. Nothing is left behind.
    """
    if sha256 is not None and not _SHA256.fullmatch(sha256 := sha256.strip().lower()):
        raise ConfigurationError(f"{sha256!r} is no SHA-256, expected 64 hexadecimal digits")
    opener = _Opener(timeout)
    if not urllib.parse.urlsplit(url).path.endswith(".zip"):
        url = _find_in_release(opener, url, name)
    archive_name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1])
    if not _ARCHIVE.fullmatch(archive_name):
        raise ConfigurationError(f"'{archive_name}' is not called as a bundle's archive is, <name>_v<version>.zip")
    compared_with = "the SHA-256 that was given"
    if sha256 is None:
        sha256, compared_with = _published_hash(opener, url, archive_name, unverified)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out, "fetch") as scratch:
        archive = scratch / archive_name
        opener.download(url, archive, max_bytes)
        found = file_digest(archive)
        if sha256 is not None and found != sha256:
            raise BundleError(
                f"{url} has the SHA-256 {found}, but {compared_with} says {sha256}: it is damaged or another file"
            )
        _refuse(archive_name, inspect_bundle(archive), allow_unknown)
        fresh = extract_archive(archive, scratch / "extracted")
        target = out / fresh.name
        was_there = target.exists() or target.is_symlink()
        if not was_there:
            fresh.rename(target)
        elif not _same_bundle(fresh, target):
            raise ConfigurationError(f"'{target}' exists and is not this bundle; move it away, or give another --out")
    return Fetched(target, found, None if sha256 is None else compared_with, was_there)


def _refuse(archive_name: str, found: Verification, allow_unknown: bool) -> None:
    refused = {Grade.DANGEROUS} if allow_unknown else {Grade.DANGEROUS, Grade.UNKNOWN}
    problems = [f"{item.grade}: {item.sentence}" for item in found.findings if item.grade in refused]
    if problems:
        way_out = ""
        if found.grade is Grade.UNKNOWN:
            way_out = "; read what it names, then give --allow_unknown true to have it all the same"
        raise BundleError(f"{archive_name} is refused: {'; '.join(problems)}{way_out}")


def _find_in_release(opener: _Opener, url: str, name: str | None) -> str:
    """Address of the newest version of a bundle in the folder of a release."""
    base = url.rstrip("/") + "/"
    listed = parse_sums(opener.read_text(base + SUMS_FILE))
    versions: dict[str, dict[tuple[int | str, ...], str]] = {}
    for file in listed:
        if matched := _ARCHIVE.fullmatch(file):
            versions.setdefault(matched[1], {})[_version_key(matched[2])] = file
    if name is None and len(versions) == 1:
        name = next(iter(versions))
    if name is None or not NAME.fullmatch(name) or name not in versions:
        raise ConfigurationError(
            f"{url} has {'no bundle ' + repr(name) if name else 'several bundles'}; "
            f"give --name, one of {', '.join(sorted(versions)) or '(none)'}"
        )
    return base + versions[name][max(versions[name])]


def _version_key(version: str) -> tuple[int | str, ...]:
    """Sort key that puts 0.10.0 after 0.9.0 and 1.0.0rc1 before 1.0.0."""
    numbers = re.match(r"[\d.]*", version)
    assert numbers is not None
    parts = [int(part) for part in numbers[0].split(".") if part]
    return (*(parts + [0] * 4)[:4], version[numbers.end() :] or "~")


def _published_hash(opener: _Opener, url: str, archive_name: str, unverified: bool) -> tuple[str | None, str]:
    beside = urllib.parse.urljoin(url, SUMS_FILE)
    way_out = "give --sha256, or --unverified true to go on without"
    try:
        digest = parse_sums(opener.read_text(beside)).get(archive_name)
    except BundleError as error:
        if unverified:
            return None, ""
        raise BundleError(f"there is no hash to compare {archive_name} with: {error}; {way_out}") from error
    if digest is None and not unverified:
        raise BundleError(f"{archive_name} is not in {beside}; {way_out}")
    return digest, beside


def _same_bundle(fresh: Path, target: Path) -> bool:
    """Whether ``target`` contains the bundle in ``fresh``, ignoring what runs leave behind."""
    if target.is_symlink() or not target.is_dir():
        return False
    wanted, there = list_bundle_files(fresh), list_bundle_files(target)
    return (
        not there.foreign
        and wanted.files.keys() == there.files.keys()
        and all(file_digest(wanted.files[path]) == file_digest(there.files[path]) for path in wanted.files)
    )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise BundleError(f"{req.full_url} leads to {newurl}, which is not encrypted; it is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Opener:
    """Reads http, https and file addresses, with one-line errors."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._http = urllib.request.build_opener(_SafeRedirects)

    def read_text(self, url: str) -> str:
        """Content of a small text file."""
        with self._open(url) as (stream, size):
            if (size or 0) > MAX_SUMS_BYTES:
                raise BundleError(f"{url} is larger than {MAX_SUMS_BYTES:,} bytes")
            data = stream.read(MAX_SUMS_BYTES + 1)
        if len(data) > MAX_SUMS_BYTES:
            raise BundleError(f"{url} is larger than {MAX_SUMS_BYTES:,} bytes")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise BundleError(f"{url} is not text") from None

    def download(self, url: str, path: Path, max_bytes: int) -> None:
        """Download ``url`` to ``path``, with a progress bar on terminals."""
        with self._open(url) as (stream, size), open(path, "wb") as target:
            if size is not None:
                if size > max_bytes:
                    raise BundleError(f"{url} has {size:,} bytes, expected at most {max_bytes:,}")
                # Extraction needs the same space again, since nothing is compressed.
                free = shutil.disk_usage(path.parent).free
                if 2 * size > free:
                    raise BundleError(
                        f"{path.parent.parent} has {free:,} bytes free, {2 * size:,} are needed; "
                        "free some space, or give another --out"
                    )
            done = 0
            title = url.rsplit("/", 1)[-1]
            with tqdm(
                total=size, desc=title, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()
            ) as bar:
                while block := stream.read(_CHUNK):
                    done += len(block)
                    if done > max_bytes:
                        raise BundleError(f"{url} has more than {max_bytes:,} bytes; the download was stopped")
                    target.write(block)
                    bar.update(len(block))
        if size is not None and done != size:
            raise BundleError(f"{url}: the download ended after {done:,} of {size:,} bytes; try again")

    @contextlib.contextmanager
    def _open(self, url: str) -> Iterator[tuple[IO[bytes], int | None]]:
        """A stream of the bytes at ``url``, and their number if it is known."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            path = Path(urllib.request.url2pathname(parts.path))
            try:
                stream = open(path, "rb")  # noqa: SIM115 - closed below, also after an error
            except OSError as error:
                raise BundleError(f"{url}: {error.strerror}") from error
            with stream:
                yield stream, path.stat().st_size
        elif parts.scheme in ("http", "https") and parts.hostname:
            request = urllib.request.Request(url, headers={"User-Agent": "radimagenet-monai"})
            try:
                with self._http.open(request, timeout=self.timeout) as response:
                    size = response.headers.get("Content-Length", "")
                    yield response, int(size) if size.isascii() and size.isdigit() else None
            except urllib.error.HTTPError as error:
                raise BundleError(f"{url}: the server answered {error.code} {error.reason}") from error
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                ssl.SSLError,
                TimeoutError,
                ConnectionError,
            ) as error:
                reason = getattr(error, "reason", None) or error or type(error).__name__
                raise BundleError(f"{url} cannot be read: {reason}") from error
        else:
            raise ConfigurationError(f"'{url}' is no address, expected https://, http:// or file:// and a host or path")
