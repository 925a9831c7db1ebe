"""Packed store: the same items as MONAI's datasets, reused exactly when nothing changed, whole after any accident."""

from __future__ import annotations

import copy
import csv
import errno
import faulthandler
import hashlib
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import sys
import textwrap
import time
from pathlib import Path

import cv2
import forks
import monai.data
import numpy as np
import pytest
import torch
from monai.transforms import Compose, LoadImaged, RandFlipd, Resized, ScaleIntensityRanged, Transposed
from processes import PATIENCE, is_running, take_default_signals, wait_until
from tqdm import tqdm

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, StoreError
from radimagenet_monai.loading.packed_items import PackedDataset
from radimagenet_monai.loading.sampler import SampleKey
from radimagenet_monai.store import packed_row as filling

pytestmark = pytest.mark.slow

SIZE = (24, 32)


def tree(folder: Path) -> dict[str, str]:
    """Hash of each file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


# ---- the items ----


def test_items_equal_those_of_monai_dataset(records, store_dir):
    # Pictures of the packed size already: MONAI's own reader and dataset give the pixels, transposed back.
    for record in records:
        cv2.imwrite(record["image"], cv2.resize(cv2.imread(record["image"], 0), SIZE[::-1]))
    transform = Compose(
        [
            LoadImaged("image", reader="PILReader", ensure_channel_first=True),
            Transposed("image", (0, 2, 1)),
            ScaleIntensityRanged("image", 0, 255, 0, 1),
        ]
    )
    packed = PackedDataset(records, transform, store_dir, SIZE, num_workers=2)
    plain = monai.data.Dataset(records, transform)
    cached = monai.data.PersistentDataset(records, transform, cache_dir=store_dir / "persistent")
    assert len(packed) == len(plain)
    for index in range(len(plain)):
        for oracle in (plain[index], cached[index]):
            expected = torch.round(oracle["image"].as_tensor() * 255).to(torch.uint8)
            assert torch.equal(packed[index]["image"], expected)
        assert packed[index]["label"] == plain[index]["label"]
        assert packed[index]["site"] == plain[index]["site"]
        assert packed[index]["index"] == index


def test_linear_enlargement_equals_monai_resize(records, read_picture, store_dir):
    size = (96, 80)  # larger than every picture
    packed = PackedDataset(records, read_picture, store_dir, size, num_workers=0)
    plain = monai.data.Dataset(records, Compose([read_picture, Resized("image", size, mode="bilinear")]))
    for index in (0, 7, 39):
        difference = packed[index]["image"].float() - plain[index]["image"].as_tensor() * 255
        assert difference.abs().max() < 0.51


def test_reduction_averages_areas(store_dir, tmp_path, read_picture):
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (SIZE[0] * 3, SIZE[1] * 5), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), pixels)
    item = PackedDataset([{"image": tmp_path / "large.png"}], read_picture, store_dir, SIZE)[0]
    blocks = pixels.reshape(SIZE[0], 3, SIZE[1], 5).mean(axis=(1, 3))
    assert np.abs(item["image"][0].numpy() - blocks).max() < 0.51


def test_reduction_of_one_axis_is_antialiased_too(store_dir, tmp_path, read_picture):
    stripes = np.zeros((10, 8 * SIZE[1]), np.uint8)
    stripes[:, ::2] = 255
    cv2.imwrite(str(tmp_path / "stripes.png"), stripes)
    item = PackedDataset([{"image": str(tmp_path / "stripes.png")}], read_picture, store_dir, SIZE)[0]
    assert set(item["image"].unique().tolist()) <= {127, 128}


def test_keep_aspect_pads_with_black(store_dir, tmp_path, read_picture):
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((10, 40), 200, np.uint8))
    item = PackedDataset([{"image": str(tmp_path / "wide.png")}], read_picture, store_dir, (32, 32), keep_aspect=True)[
        0
    ]
    rows = item["image"][0].numpy().max(axis=1)
    assert (rows[12:20] == 200).all()
    assert rows.astype(int).sum() == 8 * 200


def test_three_channels(store_dir, tmp_path):
    rgb = np.random.default_rng(2).random((3, *SIZE)).astype(np.float32)
    dataset = PackedDataset([{"image": __file__}], lambda data: {"image": rgb}, store_dir, SIZE)
    assert np.array_equal(dataset[0]["image"].numpy(), np.rint(rgb * 255).astype(np.uint8))


def test_changing_number_of_channels_is_refused(records, store_dir):
    def transform(data: dict) -> dict:
        return {"image": np.zeros((3 if data["image"].endswith("017.png") else 1, 8, 8), np.float32)}

    with pytest.raises(StoreError, match=r"017\.png: the transform gave 3 channels, other images of the store have 1"):
        PackedDataset(records, transform, store_dir, SIZE, num_workers=0)
    assert not list(store_dir.glob("*/part-*"))


def test_keys_slices_and_batches(records, read_picture, store_dir):
    dataset = PackedDataset(records, read_picture, store_dir, SIZE)
    assert dataset[SampleKey(4, 2)]["epoch"] == 4
    assert dataset[-1]["index"] == len(records) - 1
    assert [item["index"] for item in dataset[3:6]] == [3, 4, 5]
    assert [item["index"] for item in dataset[[5, 1]]] == [5, 1]
    batch = dataset.__getitems__([SampleKey(1, 30), 2, 30])
    assert [(item["epoch"], item["index"]) for item in batch] == [(1, 30), (0, 2), (0, 30)]
    assert all(torch.equal(item["image"], dataset[item["index"]]["image"]) for item in batch)
    with pytest.raises(IndexError):
        dataset[len(records)]
    assert sum(1 for _ in dataset) == len(records)


def test_pickle_holds_no_pixels(records, read_picture, store_dir):
    dataset = PackedDataset(records, read_picture, store_dir, (200, 200))
    before = dataset[0]["image"]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 200 * 200
    assert torch.equal(pickle.loads(pickled)[0]["image"], before)


def test_item_may_be_written_to(records, read_picture, store_dir):
    dataset = PackedDataset(records, read_picture, store_dir, SIZE)
    before = dataset[0]["image"].clone()
    dataset[0]["image"].zero_()
    assert torch.equal(dataset[0]["image"], before)


# ---- reuse and rebuild ----


def test_reuse_and_rebuild(records, read_picture, store_dir, calls):
    def opened(changed=records, transform=read_picture, size=SIZE, **options) -> int:
        PackedDataset(changed, transform, store_dir, size, num_workers=0, **options)
        return calls()

    assert opened() == 40
    assert opened() == 0
    assert opened([{**record, "label": 7, "age": 50} for record in records]) == 0
    assert opened(records[::-1]) == 0
    assert opened(records[5:9]) == 0
    assert opened(transform=copy.deepcopy(read_picture)) == 0
    assert opened(size=(24, 33)) == 40
    assert opened(keep_aspect=True) == 40
    assert opened(transform=Compose([read_picture])) == 40
    louder = copy.copy(read_picture)
    louder.gain = 0.5
    assert opened(transform=louder) == 40
    assert opened(transform_keys=["site"]) == 40
    assert opened([{**record, "site": "c"} for record in records], transform_keys=["site"]) == 40
    assert opened([{**record, "frame": 0} for record in records]) == 40
    # One file changes in content, one in modification time only.
    cv2.imwrite(records[3]["image"], np.full((30, 30), 77, np.uint8))
    os.utime(records[4]["image"], ns=(1, 1))
    assert opened() == 2
    assert opened() == 0
    # A hash that was not known before counts as a change of the record.
    digest = hashlib.sha256(Path(records[6]["image"]).read_bytes()).hexdigest()
    assert opened([*records[:6], {**records[6], "sha256": digest}, *records[7:]]) == 1


def test_changed_file_gives_the_new_pixels(records, read_picture, store_dir):
    PackedDataset(records, read_picture, store_dir, SIZE)
    cv2.imwrite(records[3]["image"], np.full((30, 30), 77, np.uint8))
    dataset = PackedDataset(records, read_picture, store_dir, SIZE)
    assert dataset[3]["image"].unique().tolist() == [77]
    batch = dataset.__getitems__([3, 2, 4])  # from two parts
    assert [item["index"] for item in batch] == [3, 2, 4]


def test_union_of_subsets_packs_each_image_once(records, read_picture, store_dir, calls):
    train = PackedDataset(records[:25], read_picture, store_dir, SIZE)
    test = PackedDataset(records[15:], read_picture, store_dir, SIZE)
    assert calls() == 40
    assert torch.equal(train[20]["image"], test[5]["image"])
    assert len(list(store_dir.glob("*/part-*"))) == 2


def test_repeated_records_share_a_row(records, read_picture, store_dir, calls):
    dataset = PackedDataset([*records, *records], read_picture, store_dir, SIZE)
    assert len(dataset) == 80
    assert calls() == 40


def test_frames_of_a_file_are_separate(store_dir, tmp_path):
    volume = np.linspace(0, 1, 5 * 8 * 8, dtype=np.float32).reshape(5, 8, 8)
    np.save(tmp_path / "volume.npy", volume)
    frames = [{"image": str(tmp_path / "volume.npy"), "frame": frame} for frame in (4, 0, 2.0, float("nan"))]

    def transform(data: dict) -> dict:
        return {"image": np.load(data["image"])[data.get("frame", 1)][None]}

    dataset = PackedDataset(frames, transform, store_dir, 8, num_workers=0)
    for item, frame in zip(dataset, (4, 0, 2, 1), strict=True):
        assert np.array_equal(item["image"][0].numpy(), np.rint(volume[frame] * 255).astype(np.uint8))


def test_folder_as_image_is_repacked_when_a_file_in_it_changes(store_dir, tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    np.save(series / "a.npy", np.zeros((8, 8), np.float32))

    def transform(data: dict) -> dict:
        return {"image": sum(np.load(path) for path in Path(data["image"]).iterdir())[None]}

    opened = [{"image": str(series)}]
    assert PackedDataset(opened, transform, store_dir, 8)[0]["image"].max() == 0
    np.save(series / "b.npy", np.ones((8, 8), np.float32))
    assert PackedDataset(opened, transform, store_dir, 8)[0]["image"].min() == 255


def test_damaged_store_is_named(records, read_picture, store_dir):
    PackedDataset(records, read_picture, store_dir, SIZE)
    images = next(store_dir.glob("*/part-00000/images.npy"))
    os.truncate(images, images.stat().st_size - 1)
    with pytest.raises(StoreError, match=r"part-00000/images\.npy is damaged .*delete the folder"):
        PackedDataset(records, read_picture, store_dir, SIZE)
    shutil.rmtree(images.parent)
    assert len(PackedDataset(records, read_picture, store_dir, SIZE)) == 40


# ---- unreadable images ----


def spoil(records: list[dict], *positions: int) -> None:
    for position in positions:
        Path(records[position]["image"]).write_bytes(b"\x89PNG but not really")


def read_quarantine(store_dir: Path) -> list[list[str]]:
    with (store_dir / "quarantine.csv").open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_images_stop_the_run(records, read_picture, store_dir, calls, num_workers):
    spoil(records, 3, 20)
    Path(records[30]["image"]).unlink()
    message = (
        r"^3 of 40 images cannot be packed, the first: .*003\.png \(decode\): not a picture; "
        r"all are listed in .*quarantine\.csv; repair them, or leave them out with --unreadable skip$"
    )
    with pytest.raises(StoreError, match=message):
        PackedDataset(records, read_picture, store_dir, SIZE, num_workers=num_workers)
    table = read_quarantine(store_dir)
    assert table[0] == ["image", "frame", "stage", "cause"]
    assert [Path(row[0]).name for row in table[1:]] == ["003.png", "020.png", "030.png"]
    assert table[1][1:] == ["", "decode", "not a picture"]
    calls()
    # Repaired, only the three are packed; the list is gone.
    for position in (3, 20, 30):
        cv2.imwrite(records[position]["image"], np.full((9, 9), 5, np.uint8))
    dataset = PackedDataset(records, read_picture, store_dir, SIZE, num_workers=num_workers)
    assert calls() == 3
    assert len(dataset) == 40
    assert not (store_dir / "quarantine.csv").exists()


def test_unreadable_images_are_skipped_when_told_to(records, read_picture, store_dir, calls, caplog):
    spoil(records, 0, 20)
    dataset = PackedDataset(records, read_picture, store_dir, SIZE, unreadable="skip")
    assert len(dataset) == 38
    assert dataset.data == [*records[1:20], *records[21:]]
    assert torch.equal(dataset[19]["image"], PackedDataset(records[21:], read_picture, store_dir, SIZE)[0]["image"])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "2 of 40 images" in warnings[0]
    assert len(read_quarantine(store_dir)) == 3
    calls()
    assert len(PackedDataset(records, read_picture, store_dir, SIZE, unreadable="skip")) == 38
    assert calls() == 0
    # Stopping is worth another look: a plug-in may have been installed meanwhile.
    with pytest.raises(StoreError, match="2 of 40"):
        PackedDataset(records, read_picture, store_dir, SIZE)
    assert calls() == 2


def test_nothing_readable_is_an_error_even_when_skipping(records, read_picture, store_dir):
    spoil(records, *range(40))
    with pytest.raises(StoreError, match=r"40 of 40 images cannot be packed.*no image is left"):
        PackedDataset(records, read_picture, store_dir, SIZE, unreadable="skip")


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.full((1, 8, 8), 255, np.float32), "values from 255 to 255"),
        (np.full((1, 8, 8), np.nan, np.float32), "values from nan to nan"),
        (np.zeros((1, 8, 8), np.uint8), "uint8 of shape (1, 8, 8)"),
        (np.zeros((8, 8), np.float32), "float32 of shape (8, 8)"),
        (np.zeros((2, 8, 8), np.float32), "float32 of shape (2, 8, 8)"),
    ],
)
def test_what_is_no_canonical_image_is_refused(store_dir, image, cause):
    with pytest.raises(StoreError) as caught:
        PackedDataset([{"image": __file__}], lambda data: {"image": image}, store_dir, 8)
    assert f"(intensity): the transform gave {cause}" in str(caught.value)


def test_file_that_differs_from_its_recorded_hash(records, read_picture, store_dir):
    records[2]["sha256"] = hashlib.sha256(Path(records[2]["image"]).read_bytes()).hexdigest().upper()
    PackedDataset(records, read_picture, store_dir, SIZE)
    flipped = bytearray(Path(records[2]["image"]).read_bytes())
    flipped[-30] ^= 1
    Path(records[2]["image"]).write_bytes(flipped)
    with pytest.raises(StoreError, match=r"002\.png \(open\): SHA-256 is .* the file has changed"):
        PackedDataset(records, read_picture, store_dir, SIZE)


def test_transform_that_wants_another_column_says_how(records, store_dir):
    def transform(data: dict) -> dict:
        return {"image": np.full((1, 8, 8), 0.5 * data["label"], np.float32)}

    with pytest.raises(
        StoreError, match=r"\(transform\): KeyError: 'label' \(the transform sees image; name other keys"
    ):
        PackedDataset(records, transform, store_dir, SIZE, num_workers=0)
    dataset = PackedDataset(records, transform, store_dir, SIZE, num_workers=0, transform_keys=["label"])
    assert dataset[1]["image"].unique().tolist() == [128]


# ---- what is refused ----


def test_wrong_settings_are_refused(records, read_picture, store_dir):
    assert len(PackedDataset([], read_picture, store_dir, SIZE)) == 0
    with pytest.raises(RecordsError, match="record 1: expected a path under 'image', found None"):
        PackedDataset([records[0], {"label": 1}], read_picture, store_dir, SIZE)
    with pytest.raises(RecordsError, match="expected a number under 'frame', found 'first'"):
        PackedDataset([{**records[0], "frame": "first"}], read_picture, store_dir, SIZE)
    with pytest.raises(RecordsError, match="column 'index'"):
        PackedDataset([{**records[0], "index": 1}], read_picture, store_dir, SIZE)
    with pytest.raises(ConfigurationError, match="image_size=0"):
        PackedDataset(records, read_picture, store_dir, 0)
    with pytest.raises(ConfigurationError, match=r"image_size=\[8, 8, 8\]"):
        PackedDataset(records, read_picture, store_dir, [8, 8, 8])
    with pytest.raises(ConfigurationError, match="unreadable='ignore'"):
        PackedDataset(records, read_picture, store_dir, SIZE, unreadable="ignore")
    with pytest.raises(ConfigurationError, match="RandFlipd is random"):
        PackedDataset(records, [read_picture, RandFlipd("image", prob=1)], store_dir, SIZE)
    assert not store_dir.exists()


# ---- accidents ----


def build(records, transform, store_dir, num_workers=2) -> None:
    PackedDataset(records, transform, store_dir, SIZE, num_workers=num_workers)


def build_until_killed(records, transform, store_dir, image: str) -> None:
    """Build, and be killed by whichever process comes to ``image``."""
    builder, row = os.getpid(), filling.Packer._row

    def deadly(self, path, *rest):
        if path == image:
            os.kill(builder, signal.SIGKILL)
        return row(self, path, *rest)

    filling.Packer._row = deadly
    build(records, transform, store_dir)


def check_killed_builder(builder, records, transform, store_dir, expected) -> None:
    """Whatever a killed builder left is not taken for a store, and is gone after the next build."""
    builder.join()
    build(records, transform, store_dir)
    assert tree(store_dir) == expected
    assert not list(store_dir.glob("*/.building-*"))
    shutil.rmtree(store_dir)


@pytest.mark.parametrize("position", [13, *(pytest.param(image, marks=pytest.mark.long) for image in (0, 39))])
def test_kill_at_an_image_leaves_no_half_store(records, read_picture, store_dir, tmp_path, position):
    build(records, read_picture, tmp_path / "reference")
    builder = multiprocessing.get_context("fork").Process(
        target=build_until_killed, args=(records, read_picture, store_dir, records[position]["image"])
    )
    builder.start()
    builder.join()
    assert builder.exitcode == -signal.SIGKILL
    assert position == 0 or list(store_dir.glob("*/.building-*"))
    check_killed_builder(builder, records, read_picture, store_dir, tree(tmp_path / "reference"))


@pytest.mark.long
def test_kill_at_any_moment_leaves_no_half_store(records, slow_picture, store_dir, tmp_path):
    started = time.monotonic()
    build(records, slow_picture, tmp_path / "reference")
    duration = time.monotonic() - started
    expected = tree(tmp_path / "reference")
    # Wherever a kill falls, even before the start or after the end.
    for moment in np.random.default_rng(5).uniform(0, duration, 4):
        builder = multiprocessing.get_context("fork").Process(target=build, args=(records, slow_picture, store_dir))
        builder.start()
        time.sleep(moment)
        os.kill(builder.pid, signal.SIGKILL)
        check_killed_builder(builder, records, slow_picture, store_dir, expected)


def test_workers_of_a_killed_builder_end(records, store_dir, tmp_path):
    pids, killed = tmp_path / "pids", tmp_path / "killed"

    def transform(data: dict) -> dict:
        with pids.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if not data["image"].endswith("000.png"):  # which is tried by one worker, before all others
            wait_until(killed.exists, "the end of the builder")
        return {"image": np.zeros((1, 8, 8), np.float32)}

    def workers() -> set[int]:
        return set(map(int, pids.read_text().split())) if pids.exists() else set()

    builder = multiprocessing.get_context("fork").Process(target=build, args=(records, transform, store_dir))
    builder.start()
    wait_until(lambda: len(workers()) == 2, "two workers at work")
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    killed.touch()
    wait_until(lambda: not any(map(is_running, workers())), "the end of the workers")


def test_two_processes_build_once(records, journal, read_picture, store_dir, calls):
    context = multiprocessing.get_context("fork")
    read_picture.seconds = 0.005
    builders = [context.Process(target=build, args=(records, read_picture, store_dir)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert calls() == 40


@pytest.mark.parametrize(("ending", "words"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL, as the system")])
def test_crash_of_a_worker_names_the_image(records, store_dir, ending, words):
    def transform(data: dict) -> dict:
        if data["image"].endswith("027.png"):
            faulthandler.disable()  # pytest's would print a page about a crash that is meant
            os.kill(os.getpid(), ending)
        return {"image": np.zeros((1, 8, 8), np.float32)}

    with pytest.raises(StoreError, match=rf"027\.png: the process that was reading it was killed by {words}"):
        PackedDataset(records, transform, store_dir, SIZE, num_workers=2)
    assert not list(store_dir.glob("*/part-*"))
    assert not list(store_dir.glob("*/.building-*"))
    assert not multiprocessing.active_children()


@pytest.mark.long
def test_worker_that_exits_names_the_image(records, store_dir):
    def transform(data: dict) -> dict:
        os._exit(3)

    with pytest.raises(StoreError, match=r"0\d\d\.png: the process that was reading it ended with status 3"):
        PackedDataset(records, transform, store_dir, SIZE, num_workers=2)


def test_memory_that_runs_out_names_the_image(records, store_dir):
    def transform(data: dict) -> dict:
        raise MemoryError

    with pytest.raises(StoreError, match=r"0\d\d\.png: memory ran out while it was read; use fewer workers"):
        PackedDataset(records, transform, store_dir, SIZE, num_workers=2)


def test_interrupt_leaves_nothing(records, store_dir, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()

    def transform(data: dict) -> dict:
        if not data["image"].endswith("000.png"):  # which is tried by one worker, before all others
            (pids / str(os.getpid())).touch()
            time.sleep(600)  # until it is ended
        return {"image": np.zeros((1, 8, 8), np.float32)}

    def interrupted() -> None:
        take_default_signals()
        try:
            build(records, transform, store_dir)
        except KeyboardInterrupt:
            os._exit(7 if not multiprocessing.active_children() else 1)

    builder = multiprocessing.get_context("fork").Process(target=interrupted)
    builder.start()
    # Python swallows an interrupt that falls into a fork: once both work, there is none to come.
    wait_until(lambda: len(list(pids.iterdir())) == 2, "two workers at work")
    os.kill(builder.pid, signal.SIGINT)
    builder.join()
    assert builder.exitcode == 7
    assert sorted(path.name for path in store_dir.rglob("*") if path.is_file()) == [".lock", "manifest.json"]


@pytest.mark.parametrize(("progress", "lines"), [("lines", 40), (True, 0), (False, 0)])
def test_progress_without_a_terminal(records, read_picture, store_dir, caplog, capfd, monkeypatch, progress, lines):
    monkeypatch.setattr("radimagenet_monai.store.packing_progress._SECONDS_BETWEEN_LINES", 0)
    with caplog.at_level("INFO"):
        PackedDataset(records, read_picture, store_dir, SIZE, progress=progress)
    messages = [record.getMessage() for record in caplog.records if "packing" in record.getMessage()]
    assert len(messages) == lines
    assert not lines or messages[-1].startswith("packing: 40 of 40 images, ")
    assert "image/s" not in capfd.readouterr().err


@pytest.mark.long
def test_lock_that_a_killed_process_held_stops_nobody(records, read_picture, store_dir):
    """tqdm's lock is shared by forked processes; one that is killed inside it leaves it locked."""
    context = multiprocessing.get_context("fork")

    def die_with_the_lock() -> None:
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    # A lock of its own, so that tqdm's stays usable in the test process.
    lock = tqdm.get_lock()
    tqdm.set_lock(context.RLock())
    try:
        dead = context.Process(target=die_with_the_lock)
        dead.start()
        dead.join()
        builder = context.Process(target=build, args=(records, read_picture, store_dir))
        builder.start()
        builder.join(timeout=PATIENCE)
        builder.kill()
        assert builder.exitcode == 0
    finally:
        tqdm.set_lock(lock)


def test_progress_bar_on_a_terminal(records, read_picture, store_dir, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    PackedDataset(records, read_picture, store_dir, SIZE)
    assert "40/40" in capfd.readouterr().err


def test_store_dir_that_cannot_be_made(records, read_picture, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written: Not a directory; free some space or choose another"):
        PackedDataset(records, read_picture, tmp_path / "file" / "store", SIZE)


def test_file_size_limit_leaves_nothing(records, read_picture, store_dir):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            build(records, read_picture, store_dir)
        except StoreError as error:
            os._exit(7 if "cannot be written: File too large" in str(error) else 1)
        os._exit(0)

    builder = multiprocessing.get_context("fork").Process(target=limited)
    builder.start()
    builder.join()
    assert builder.exitcode == 7
    assert sorted(path.name for path in store_dir.rglob("*") if path.is_file()) == [".lock", "manifest.json"]


def test_full_and_read_only_file_systems(tmp_path):
    """A real file system of 400 kB, in a mount namespace of its own."""
    mount = tmp_path / "mount"
    mount.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, subprocess, sys, numpy as np
            from processes import mount_own
            from radimagenet_monai.loading.packed_items import PackedDataset
            from radimagenet_monai.errors import StoreError

            if not mount_own({str(mount)!r}, "size=400k"):
                sys.exit(77)

            def transform(data):
                return {{"image": np.zeros((1, 8, 8), np.float32)}}

            def build(edge, store_dir={str(mount / "store")!r}):
                records = [{{"image": {str(script)!r}, "frame": frame}} for frame in range(32)]
                try:
                    return len(PackedDataset(records, transform, store_dir, edge, num_workers=2))
                except StoreError as error:
                    return str(error)

            print(build(128))
            print(sorted(name for _, _, names in os.walk({str(mount)!r}) for name in names))
            print(build(64))
            subprocess.run(["mount", "-o", "remount,ro", {str(mount)!r}], check=True)
            print(build(64))
            print(build(65))
            print(build(65, {str(mount / "other")!r}))
            """
        )
    )
    done = forks.run([sys.executable, "-c", script.read_text()])
    if done.returncode == 77:
        pytest.skip("no mount namespaces here")
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stderr
    assert os.strerror(errno.ENOSPC) in lines[0]
    assert "free some space or choose another store_dir" in lines[0]
    assert lines[1] == "['.lock', 'manifest.json']"
    assert lines[2] == lines[3] == "32"
    assert os.strerror(errno.EROFS) in lines[4]
    assert os.strerror(errno.EROFS) in lines[5]


def test_transform_may_be_a_lambda_and_data_may_be_read_in_a_daemon(records, read_picture, store_dir):
    # A data loader's worker is a daemon and may not have children: packing there happens in the worker itself.
    context = multiprocessing.get_context("fork")
    daemon = context.Process(target=build, args=(records, read_picture, store_dir), daemon=True)
    daemon.start()
    daemon.join()
    assert daemon.exitcode == 0
