"""A store at an address: the same items as from a folder, each block fetched once, in a cache that stays bounded."""

from __future__ import annotations

import errno
import http.server
import multiprocessing
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest
import torch

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, StoreError
from radimagenet_monai.datasets.records.table import check_records, to_datalist
from radimagenet_monai.engine.start.preflight import require_writable
from radimagenet_monai.loading.augmentation import AffineAugmentation
from radimagenet_monai.loading.bundle_dataset import packed_dataset
from radimagenet_monai.loading.loader import build_loader
from radimagenet_monai.loading.packed_items import PackedImages
from radimagenet_monai.store import mapped_images
from radimagenet_monai.store.packed_store import PackedStore
from radimagenet_monai.store.sealed import remote as remote_store
from radimagenet_monai.store.sealed.sealing import SEALED_FILE, seal_store

pytestmark = pytest.mark.slow

SIZE = (24, 32)
ADDRESS = "s3://bucket/deep/store"
AUGMENTATION = AffineAugmentation(rotation_degrees=20, shift=0.1, horizontal_flip=True, seed=3)


class Bucket(http.server.ThreadingHTTPServer):
    """A folder by the part of S3's interface that reading takes: HEAD and GET of whole files and ranges."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def blocks(self) -> list[str]:
        """Ranges of image files that were asked for since it was last looked at."""
        found = [request for request in self.requests if "images.npy" in request]
        self.requests.clear()
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        wanted = self.headers.get("Range", "")
        path = self.path.partition("?")[0]
        if with_body:
            self.server.requests.append(f"{path} {wanted}")
        file = self.server.folder / path.removeprefix("/bucket/deep/")
        content = file.read_bytes() if path.startswith("/bucket/deep/") and file.is_file() else None
        status = 404 if content is None else 206 if wanted else 200
        content = content or b""
        self.send_response(status)
        if status == 206:
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class PlainDownloader:
    """What is used of litdata's downloaders, by urllib: the tests of the cache need no more."""

    def __init__(self, address: str) -> None:
        self.address = address

    def download_bytes(self, file: str, start: int, length: int, local: str) -> bytes:
        return self._get(file, {"Range": f"bytes={start}-{start + length - 1}"})

    def download_fileobj(self, file: str, stream: IO[bytes]) -> None:
        stream.write(self._get(file, {}))

    def _get(self, file: str, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(file.replace("s3:/", self.address, 1), headers=headers)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


@pytest.fixture
def bucket(store_dir: Path) -> Iterator[Bucket]:
    server = Bucket(store_dir.parent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def litdata(bucket, tmp_path, monkeypatch) -> None:
    """Reads of ``s3://`` go to the bucket, blocks are small, and the cache is the test's own."""
    monkeypatch.setenv("RADIMAGENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped_images, "_BLOCK_BYTES", 3 * SIZE[0] * SIZE[1])
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def plain(litdata, bucket, monkeypatch) -> None:
    """The same without litdata, for what has nothing to do with it."""
    monkeypatch.setattr(remote_store, "_downloader", lambda address: PlainDownloader(bucket.address))


needs_litdata = pytest.mark.skipif(find_spec("litdata") is None, reason="litdata is an extra")


@pytest.fixture(params=["plain", pytest.param("litdata", marks=needs_litdata)])
def client(request) -> str:
    request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
def sealed(records, read_picture, store_dir) -> PackedStore:
    """Forty images in two parts, fourteen blocks of up to three: nine in the first part, five in the second."""
    frame = check_records(pd.DataFrame(records).assign(label=["cat", "dog"] * 20))
    items = to_datalist(frame, "", None, check_files=False)
    store = PackedStore(store_dir, read_picture, SIZE, num_workers=0, progress=False)
    store.add(items[:25], store.keys(items[:25]), retry_unreadable=True)
    store.add(items, store.keys(items), retry_unreadable=True)
    seal_store(store.folder, frame, store.rows(store.keys(items)))
    return store


BLOCKS = 9 + 5


@pytest.fixture
def opened(sealed, read_picture) -> Callable:
    def make(store_dir: object = ADDRESS, **options: object) -> PackedImages:
        return packed_dataset([], read_picture, store_dir, SIZE, classes=["cat", "dog"], **options)

    return make


def epoch(dataset: object, **options: object) -> list[dict]:
    loader = build_loader(dataset, 8, shuffle=True, seed=5, **options)
    loader.sampler.set_epoch(2)
    return list(loader)


def assert_same(one: list[dict], other: list[dict]) -> None:
    assert len(one) == len(other) == 5
    for first, second in zip(one, other, strict=True):
        assert set(first) == set(second)
        for key, value in first.items():
            assert torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]


@pytest.mark.parametrize("augmentation", [pytest.param(None, marks=pytest.mark.long), AUGMENTATION])
def test_batches_are_those_of_the_folder(client, opened, store_dir, bucket, augmentation):
    here, far = opened(store_dir, augmentation=augmentation), opened(augmentation=augmentation)
    assert list(far.data) == list(here.data)
    assert far.data.sha256() == here.data.sha256()
    assert_same(epoch(far), epoch(here))
    assert len(bucket.blocks()) == BLOCKS
    assert_same(epoch(far), epoch(here))
    assert bucket.blocks() == []  # all that is needed is here now


def test_workers_share_what_one_of_them_has_fetched(client, opened, store_dir, bucket):
    far = opened()
    far[0]  # the process has a client and threads of its own before the workers are forked
    assert_same(epoch(far, num_workers=3), epoch(opened(store_dir)))
    assert len(bucket.blocks()) == BLOCKS


@pytest.mark.long
@needs_litdata
def test_spawned_workers_do_so_too(litdata, opened, store_dir, bucket):
    spawn = multiprocessing.get_context("spawn")
    assert_same(epoch(opened(), num_workers=2, multiprocessing_context=spawn), epoch(opened(store_dir)))
    assert len(bucket.blocks()) == BLOCKS


def test_a_windowed_order_needs_few_blocks_at_a_time(plain, opened, store_dir, bucket, monkeypatch):
    monkeypatch.setenv("RADIMAGENET_CACHE_GB", str(4.5 * 3 * SIZE[0] * SIZE[1] / 1e9))
    here, far = opened(store_dir), opened()
    assert here.shards.tolist() == far.shards.tolist()
    assert len(np.unique(far.shards)) == BLOCKS
    assert_same(epoch(far, window=2), epoch(here, window=2))
    assert len(bucket.blocks()) <= BLOCKS + 4
    assert len(list(remote_store.cache_folder().rglob("*.block"))) <= 4 + 4  # of a batch that is being fetched


def test_a_cache_smaller_than_a_batch_is_slow_but_right(plain, opened, store_dir, monkeypatch):
    monkeypatch.setenv("RADIMAGENET_CACHE_GB", "1e-9")
    assert_same(epoch(opened()), epoch(opened(store_dir)))
    assert len(list(remote_store.cache_folder().rglob("*.block"))) <= 8  # of a batch


def test_blocks_used_last_stay(plain, opened, monkeypatch):
    monkeypatch.setenv("RADIMAGENET_CACHE_GB", str(5 * 3 * SIZE[0] * SIZE[1] / 1e9))
    far = opened()
    for place in (0, 3, 6, 9, 0, 12, 0, 15):
        far[place]
    left = sorted(path.name for path in remote_store.cache_folder().rglob("*.block"))
    assert "00000-000000.block" in left
    assert "00000-000001.block" not in left


def test_a_store_that_was_sealed_anew_is_fetched_anew(plain, opened, sealed, read_picture, records, store_dir):
    before = opened()[0]["image"]
    shutil.rmtree(store_dir)
    frame = check_records(pd.DataFrame(records[::-1]).assign(label=["cat", "dog"] * 20))
    items = to_datalist(frame, "", None, check_files=False)
    store = PackedStore(store_dir, read_picture, SIZE, num_workers=0, progress=False)
    store.add(items, store.keys(items), retry_unreadable=True)
    seal_store(store.folder, frame, store.rows(store.keys(items)))
    after = opened()
    assert torch.equal(after[39]["image"], before)
    assert not torch.equal(after[0]["image"], before)


@pytest.mark.long
def test_what_is_not_at_the_address_is_named(client, opened, sealed, store_dir, read_picture):
    with pytest.raises(StoreError, match=r"sealed for images of 24x32 and 48x48 is asked for"):
        packed_dataset([], read_picture, ADDRESS, 48)
    (sealed.folder / "index" / "places.npy").write_bytes(
        b"\0" * (sealed.folder / "index" / "places.npy").stat().st_size
    )
    with pytest.raises(StoreError, match=r"index/places.npy is not what was sealed; upload the store again"):
        opened()
    (sealed.folder / "index" / "index.json").write_text("{}")
    with pytest.raises(StoreError, match="its index is damaged"):
        opened()
    (store_dir / SEALED_FILE).unlink()
    with pytest.raises(StoreError, match=rf"{ADDRESS}/{SEALED_FILE} cannot be read \(.*404.*\); check the address"):
        opened()


def test_a_part_that_was_not_uploaded_is_named(plain, opened, sealed):
    far = opened()
    shutil.rmtree(sealed.folder / "part-00001")
    assert far[0]["image"].shape == (1, *SIZE)
    with pytest.raises(StoreError, match=r"part-00001/images.npy cannot be read"):
        far[39]


def test_a_bucket_that_cannot_be_reached_is_named(client, opened, bucket, sealed):
    bucket.shutdown()
    bucket.server_close()
    with pytest.raises(StoreError, match=r"s3://bucket/deep/store/sealed.json cannot be read \(\w+: .*credentials"):
        opened()


def test_without_litdata_the_extra_is_named(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata", None)
    monkeypatch.setitem(sys.modules, "litdata.streaming.downloader", None)
    with pytest.raises(ConfigurationError, match=r"needs litdata .*pip install 'radimagenet-monai\[stream\]'"):
        opened()


def test_a_full_disk_is_named_after_old_blocks_were_given_up(plain, opened, monkeypatch):
    far = opened()
    write, left = remote_store._write_block, [3]

    def fill(path: Path, content: bytes) -> None:
        if left[0] == 0:
            left[0] = 1  # room for one after some were removed
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(remote_store, "_write_block", fill)
    for place in (0, 3, 6, 9):
        far[place]
    assert len(list(remote_store.cache_folder().rglob("*.block"))) == 2

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote_store, "_write_block", full)
    with pytest.raises(
        StoreError, match=r"cache folder .* cannot be written to \(No space left on device\).*_CACHE_GB"
    ):
        far[20]


def test_addresses_and_settings_that_make_no_sense_are_refused(plain, opened, records, read_picture, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"'http://host/store' is not a folder; expected one, or s3://"):
        opened("http://host/store")
    with pytest.raises(ConfigurationError, match=r"comes with its own records.*leave out --dataset_dir"):
        packed_dataset(records, read_picture, ADDRESS, SIZE)
    with pytest.raises(RecordsError, match="split 'test'"):
        opened(split="test")
    monkeypatch.setenv("RADIMAGENET_CACHE_GB", "plenty")
    with pytest.raises(ConfigurationError, match="RADIMAGENET_CACHE_GB='plenty'"):
        opened()
    require_writable(ADDRESS)
