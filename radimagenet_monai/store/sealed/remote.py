"""A sealed store in object storage, read in blocks through litdata's downloaders into a bounded cache on this machine.

What lies at the address is the folder that ``radimagenet pack`` leaves, uploaded as it is: there is no second format.
Its index is fetched whole when the store is opened; images come in blocks of about 4 MiB, by ranges of the parts'
files, when a batch needs them. All blocks that a batch lacks are fetched at the same time, and the loader's workers
are batches ahead of the training. A block that any process has fetched is there for all processes of the machine.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from radimagenet_monai.core.atomic import atomic_write_bytes
from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.store.mapped_images import rows_of_a_block
from radimagenet_monai.store.sealed.index import INDEX_FILE, INDEX_FOLDER, SealedIndex
from radimagenet_monai.store.sealed.sealing import SEALED_FILE

CACHE_VARIABLE = "RADIMAGENET_CACHE"
CACHE_GIGABYTES_VARIABLE = "RADIMAGENET_CACHE_GB"

_GIGABYTES = 100.0
_SCHEMES = ("s3://", "gs://")  # of litdata's, those whose files can be read in ranges with credentials of the machine
_THREADS = 16
_LOCKS = 64
_RANGE = 32 << 20
_SUFFIX = ".block"
_KEPT = 0.9  # of a full cache, when the oldest blocks go
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class RemoteStore:
    """A store at an address such as ``s3://bucket/store``.

    The cache is in ``$RADIMAGENET_CACHE``, by default ``~/.cache/radimagenet``, and its blocks take at most
    ``$RADIMAGENET_CACHE_GB`` gigabytes (default 100), give or take those just being fetched; of all stores together,
    those not used for longest go first.

    Parameters
    ----------
    address
        ``s3://…`` or ``gs://…``. Credentials, region and endpoint are those that the provider's own tools take, such
        as ``AWS_PROFILE`` and ``AWS_ENDPOINT_URL``.

    Raises
    ------
    ConfigurationError
        For another kind of address, or if litdata is not installed.
    StoreError
        If there is no sealed store at the address, or it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if not self.address.startswith(_SCHEMES):
            raise ConfigurationError(f"store_dir '{address}' is not a folder; expected one, or s3://… or gs://…")
        name = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self._cache = cache_folder() / f"{self.address.rsplit('/', 1)[1]}-{name}"
        self._bucket = _Bucket(self.address)

    def folders(self) -> list[str]:
        """Names of the sealed folders."""
        return list(self._json(SEALED_FILE, "folders"))

    def manifest(self, folder: str) -> dict[str, Any]:
        """Size and transform of one of them."""
        manifest = self._json(f"{folder}/manifest.json")
        return dict(manifest)

    def open(self, folder: str) -> tuple[SealedIndex, RemoteParts]:
        """Index and images of one of them; the index is copied here unless it has been before.

        Raises
        ------
        StoreError
            If it is damaged, or cannot be fetched or written.
        """
        header = self._bucket.read_all(f"{folder}/{INDEX_FOLDER}/{INDEX_FILE}")
        # A store that was sealed again has another cache: blocks of two versions never mix.
        local = self._cache / f"{folder}-{hashlib.sha256(header).hexdigest()[:16]}"
        try:
            index_folder = local / INDEX_FOLDER
            index_folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(local / ".lock"):
                if not (index_folder / INDEX_FILE).exists():
                    for name, (length, sha256) in json.loads(header)["files"].items():
                        self._copy(f"{folder}/{INDEX_FOLDER}/{name}", index_folder / name, length, sha256)
                    atomic_write_bytes(index_folder / INDEX_FILE, header)
        except OSError as error:
            raise _full_or_refused(local, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"store {self.address}/{folder}: its index is damaged ({error}); upload it again"
            ) from error
        index = SealedIndex(local)
        return index, RemoteParts(self.address, folder, local, index)

    def _copy(self, name: str, path: Path, length: int, sha256: str) -> None:
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as stream:
            try:
                for start in range(0, length, _RANGE):
                    content = self._bucket.read(name, start, min(_RANGE, length - start))
                    digest.update(content)
                    stream.write(content)
                if digest.hexdigest() != sha256:
                    raise StoreError(f"store {self.address}/{name} is not what was sealed; upload the store again")
                stream.close()
                Path(stream.name).replace(path)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise

    def _json(self, name: str, key: str | None = None) -> Any:
        try:
            value = json.loads(self._bucket.read_all(name))
            return value if key is None else value[key]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.address}/{name} is damaged ({error}); upload the store again") from error


class RemoteParts:
    """Images of a sealed store at an address, in blocks fetched on demand.

    Parameters
    ----------
    address, folder
        Address of the store, and name of its folder.
    cache
        Folder for blocks, shared by all processes of this machine.
    index
        Index of the store.
    """

    def __init__(self, address: str, folder: str, cache: Path, index: SealedIndex) -> None:
        self.image_shape = index.image_shape
        self._parts = [(f"{folder}/{part['name']}/images.npy", part["rows"], part["bytes"]) for part in index.parts]
        self._cache = cache
        self._bucket = _Bucket(address)
        self._limit = _cache_limit()
        self._row_bytes = int(np.prod(self.image_shape))
        self._rows = rows_of_a_block(self.image_shape)
        self._fetched = 0
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def read(self, places: np.ndarray) -> Iterator[np.ndarray]:
        blocks = np.stack([places[:, 0], places[:, 1] // self._rows], axis=1)
        wanted = [(part, block) for part, block in np.unique(blocks, axis=0).tolist()]
        missing = [block for block in wanted if not self._touch(*block)]
        # A single block of a cache that is warm needs no threads.
        for _ in self._pool().map(self._fetch, missing) if len(missing) > 1 else map(self._fetch, missing):
            pass
        for (part, row), (_, block) in zip(places.tolist(), blocks.tolist(), strict=True):
            yield self._row(part, block, row - block * self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_threads": None, "_fetched": 0}

    def _row(self, part: int, block: int, row: int) -> np.ndarray:
        start = row * self._row_bytes
        try:
            descriptor = os.open(self._path(part, block), os.O_RDONLY)
        except FileNotFoundError:
            # Gone again since it was fetched: the cache is smaller than what is read at a time.
            pixels = self._fetch((part, block))[start : start + self._row_bytes]
        else:
            try:
                pixels = os.pread(descriptor, self._row_bytes, start)
            finally:
                os.close(descriptor)
        return np.frombuffer(pixels, np.uint8).reshape(self.image_shape)

    def _fetch(self, block: tuple[int, int]) -> bytes:
        """Bring a block into the cache, once for all processes, and give its bytes."""
        path = self._path(*block)
        name, rows, length = self._parts[block[0]]
        first = block[1] * self._rows
        start = length - (rows - first) * self._row_bytes
        size = min(self._rows, rows - first) * self._row_bytes
        number = int.from_bytes(hashlib.blake2b(path.name.encode(), digest_size=2).digest()) % _LOCKS
        try:
            path.parent.mkdir(exist_ok=True)
            with filelock.FileLock(self._cache / f".lock-{number:02d}"):
                if self._touch(*block):
                    return path.read_bytes()
                content = self._bucket.read(name, start, size)
                self._make_room(size)
                try:
                    _write_block(path, content)
                except OSError as error:
                    if error.errno not in _DISK_FULL:
                        raise
                    self._remove_oldest(self._size() // 2)
                    _write_block(path, content)
                return content
        except OSError as error:
            raise _full_or_refused(self._cache, error) from error

    def _path(self, part: int, block: int) -> Path:
        return self._cache / f"{part:05d}" / f"{part:05d}-{block:06d}{_SUFFIX}"

    def _touch(self, part: int, block: int) -> bool:
        """Whether a block is there; it then counts as used now."""
        try:
            os.utime(self._path(part, block))
        except FileNotFoundError:
            return False
        return True

    def _pool(self) -> ThreadPoolExecutor:
        # Threads do not survive a fork.
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = os.getpid(), ThreadPoolExecutor(_THREADS, "fetch")
        return self._threads[1]

    def _make_room(self, size: int) -> None:
        """Count what is fetched, and look at the whole cache whenever that was a hundredth of it."""
        self._fetched += size
        if self._fetched >= self._limit // 100:
            self._fetched = 0
            if self._size() + size > self._limit:
                self._remove_oldest(int(self._limit * _KEPT) - size)

    def _size(self) -> int:
        return sum(size for _, size, _ in _blocks())

    def _remove_oldest(self, left: int) -> None:
        blocks = sorted(_blocks())
        total = sum(size for _, size, _ in blocks)
        for _, size, path in blocks:
            if total <= left:
                return
            # Whoever reads it at this moment keeps it open.
            Path(path).unlink(missing_ok=True)
            total -= size


class _Bucket:
    """Files below an address; each process makes its own client, since none survives a fork."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: tuple[int, Any] | None = None

    def read(self, name: str, start: int, length: int) -> bytes:
        """A range of a file."""
        try:
            content = self._downloader().download_bytes(f"{self._address}/{name}", start, length, "")
        except Exception as error:
            raise self._unreachable(name, error) from error
        if len(content) != length:
            raise self._unreachable(name, f"{len(content)} bytes came, expected {length}")
        return content

    def read_all(self, name: str) -> bytes:
        """A small file."""
        stream = io.BytesIO()
        try:
            self._downloader().download_fileobj(f"{self._address}/{name}", stream)
        except Exception as error:
            raise self._unreachable(name, error) from error
        return stream.getvalue()

    def __getstate__(self) -> dict[str, Any]:
        return {"_address": self._address, "_client": None}

    def _downloader(self) -> Any:
        if self._client is None or self._client[0] != os.getpid():
            self._client = os.getpid(), _downloader(self._address)
        return self._client[1]

    def _unreachable(self, name: str, cause: object) -> Exception:
        if isinstance(cause, ConfigurationError):
            return cause
        kind = f"{type(cause).__name__}: " if isinstance(cause, BaseException) else ""
        return StoreError(
            f"{self._address}/{name} cannot be read ({kind}{cause}); check the address, the network and your "
            "credentials, and that what 'radimagenet pack' has sealed was uploaded whole"
        )


def cache_folder() -> Path:
    """Cache folder for remote stores on this machine."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "radimagenet").expanduser()


def _cache_limit() -> int:
    """Bytes that blocks may take."""
    given = os.environ.get(CACHE_GIGABYTES_VARIABLE) or _GIGABYTES
    with contextlib.suppress(ValueError):
        if 0 < float(given) < 1e9:
            return int(float(given) * 1e9)
    raise ConfigurationError(f"{CACHE_GIGABYTES_VARIABLE}={given!r}: expected a positive number of gigabytes")


def _downloader(address: str) -> Any:
    try:
        from litdata.streaming.downloader import get_downloader
    except ImportError as error:
        raise ConfigurationError(
            f"store_dir '{address}' needs litdata ({error}); install it with pip install 'radimagenet-monai[stream]' "
            "or copy the store to a folder"
        ) from error
    options: dict[str, Any] = {}
    if address.startswith("s3://"):
        from botocore.config import Config

        # litdata's own setting tries a thousand times, which is an hour of silence for a wrong address.
        retries = {"max_attempts": 4, "mode": "standard"}
        options["config"] = Config(connect_timeout=10, read_timeout=60, retries=retries, max_pool_connections=_THREADS)
    return get_downloader(address, "", [], options, session_options={})


def _blocks() -> Iterator[tuple[float, int, str]]:
    """Time of the last use, size and path of every block in the cache, of all stores."""
    for path in cache_folder().glob(f"*/*/*/*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            yield status.st_mtime, status.st_size, os.fspath(path)


def _write_block(path: Path, content: bytes) -> None:
    """Write it so that no reader sees a part of it; it need not outlive a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _full_or_refused(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cache folder {folder} cannot be written to ({error.strerror or error}); free some space, set "
        f"{CACHE_GIGABYTES_VARIABLE} to less than is free, or {CACHE_VARIABLE} to a folder on another disk"
    )
