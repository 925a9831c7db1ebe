"""Parts: cut alike whatever interrupts the packing, hashed, read back, and never moved by an image tried again."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from radimagenet_monai.core.errors import RecordsError, StoreError
from radimagenet_monai.intensity.checks.plausibility import is_blank
from radimagenet_monai.loading.packed_items import PackedDataset
from radimagenet_monai.store import packed_part
from radimagenet_monai.store import packed_row as filling
from radimagenet_monai.store.packed_part import part_folders, read_hashes, read_keys, rows_of_a_part
from radimagenet_monai.store.packed_store import PackedStore

pytestmark = pytest.mark.slow

SIZE = (24, 32)
ROWS = 6  # of a part


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(packed_part, "PART_BYTES", ROWS * SIZE[0] * SIZE[1] + 5)


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def pack(records, transform, store_dir, num_workers=2, **options) -> PackedStore:
    store = PackedStore(store_dir, transform, SIZE, num_workers=num_workers, progress=False, **options)
    store.add(records, store.keys(records), retry_unreadable=True)
    return store


def spoil(records, *positions) -> None:
    for position in positions:
        Path(records[position]["image"]).write_bytes(b"\x89PNG but not really")


def lengths(store: PackedStore) -> list[int]:
    return [len(read_keys(part)) for part in part_folders(store.folder)]


def test_parts_hold_a_fixed_number_of_consecutive_images(records, read_picture, store_dir):
    store = pack(records, read_picture, store_dir)
    assert lengths(store) == [6, 6, 6, 6, 6, 6, 4]
    assert store.rows(store.keys(records)).tolist() == [[number // ROWS, number % ROWS] for number in range(40)]
    assert rows_of_a_part((24, 32, 1)) == ROWS
    assert rows_of_a_part((9999, 9999, 3)) == 1


def test_keys_are_the_same_from_many_processes(records, read_picture, store_dir, monkeypatch):
    expected = PackedStore(store_dir, read_picture, SIZE, num_workers=0).keys(records)
    monkeypatch.setattr("radimagenet_monai.store.packed_store._KEYS_AT_ONCE", 7)
    assert np.array_equal(PackedStore(store_dir, read_picture, SIZE, num_workers=3).keys(records), expected)
    with pytest.raises(RecordsError, match="record 9: expected a path under 'image', found None"):
        PackedStore(store_dir, read_picture, SIZE, num_workers=3).keys([*records[:9], {}])


def test_the_default_part_is_a_gibibyte(monkeypatch):
    monkeypatch.undo()
    assert rows_of_a_part((224, 224, 1)) == 21_399


def test_hashes_are_those_of_the_file_and_of_the_row(records, read_picture, store_dir, tmp_path):
    spoil(records, 7)
    series = tmp_path / "series"
    (series / "b").mkdir(parents=True)
    for name in ("a", "b/c"):
        (series / name).write_bytes(name.encode())

    def transform(data: dict) -> dict:
        return {"image": np.eye(9, dtype=np.float32)[None]} if data["image"] == str(series) else read_picture(data)

    everything = [*records, {"image": str(series)}]
    store = pack(everything, transform, store_dir)
    places = store.rows(store.keys(everything))
    lines = b"".join(f"{name}\0{hashlib.sha256(name.encode()).hexdigest()}\n".encode() for name in ("a", "b/c"))
    for record, (part, row) in zip(everything, places.tolist(), strict=True):
        if record is everything[7]:
            assert part == -1
            part, row = 1, 1
            assert not read_hashes(part_folders(store.folder)[part])[row].any()
            continue
        content = lines if record["image"] == str(series) else Path(record["image"]).read_bytes()
        pixels = np.load(store.image_files()[part])[row]
        found = read_hashes(part_folders(store.folder)[part])[row]
        assert found[0].tobytes() == hashlib.sha256(content).digest()
        assert found[1].tobytes() == hashlib.sha256(pixels.tobytes()).digest()


def pack_until_killed(records, transform, store_dir, num_workers, image: str) -> None:
    """Pack, and be killed by whichever process comes to ``image``."""
    builder, row = os.getpid(), filling.Packer._row

    def deadly(self, path, *rest):
        if path == image:
            os.kill(builder, signal.SIGKILL)
        return row(self, path, *rest)

    filling.Packer._row = deadly
    pack(records, transform, store_dir, num_workers, refuse_blank=True)


@pytest.mark.parametrize("num_workers", [0, pytest.param(3, marks=pytest.mark.long)])
def test_what_is_killed_again_and_again_ends_with_the_same_bytes(
    records, read_picture, store_dir, tmp_path, num_workers
):
    # Unreadable at the very beginning, a whole part of them, and here and there.
    spoil(records, 0, 1, *range(12, 18), 20, 33, 39)
    blank = [4, 25]
    for position in blank:
        cv2.imwrite(records[position]["image"], np.full((30, 30), 77, np.uint8))
    reference = pack(records, read_picture, tmp_path / "reference", num_workers, refuse_blank=True)
    assert lengths(reference) == [6, 6, 6, 6, 6, 4]
    expected = tree(tmp_path / "reference")
    # Within a part and between two, at images that are read, blank and unreadable.
    for positions in [(6, 25), (14, 33), (17, 39)]:
        for position in positions:
            builder = multiprocessing.get_context("fork").Process(
                target=pack_until_killed,
                args=(records, read_picture, store_dir, num_workers, records[position]["image"]),
            )
            builder.start()
            builder.join()
            assert builder.exitcode == -signal.SIGKILL
            assert list(store_dir.glob("*/.building-*"))
        pack(records, read_picture, store_dir, num_workers, refuse_blank=True)
        assert tree(store_dir) == expected
        shutil.rmtree(store_dir)


def interrupted_after(parts: int, records, transform, store_dir) -> None:
    """Pack so many parts, and end as a kill does: nothing is written behind the last part's name."""

    def stop(self) -> None:
        if self.number == parts:
            os._exit(9)
        finish(self)

    finish = packed_part.NewPart.finish
    packed_part.NewPart.finish = stop
    pack(records, transform, store_dir)


@pytest.mark.parametrize("parts", [3, *(pytest.param(parts, marks=pytest.mark.long) for parts in (1, 5))])
def test_unreadable_images_of_whole_parts_are_remembered(records, read_picture, store_dir, tmp_path, parts, calls):
    spoil(records, 2, 9, *range(12, 18), 30)
    pack(records, read_picture, tmp_path / "reference")
    builder = multiprocessing.get_context("fork").Process(
        target=interrupted_after, args=(parts, records, read_picture, store_dir)
    )
    builder.start()
    builder.join()
    assert builder.exitcode == 9
    store = PackedStore(store_dir, read_picture, SIZE)
    assert len(part_folders(store.folder)) == parts
    known = {Path(image).name for image, *_ in store._known_reasons().values()}
    assert "002.png" in known
    assert ("009.png" in known) == ("012.png" in known) == (parts > 1)
    pack(records, read_picture, store_dir)
    assert tree(store_dir) == tree(tmp_path / "reference")
    with (store_dir / "quarantine.csv").open() as stream:
        assert len(list(csv.reader(stream))) == 10


def test_an_image_tried_again_moves_no_other(records, read_picture, store_dir, tmp_path):
    plug_in_there = tmp_path / "plug-in"  # a variable would be a part of the transform

    def transform(data: dict) -> dict:
        if not plug_in_there.exists() and Path(data["image"]).stem in ("003", "010"):
            raise ValueError("no plug-in for it")
        return read_picture(data)

    def fill(folder: Path, first: int, plug_in: bool) -> dict[str, str]:
        """The first records, then all of them, with the plug-in or without."""
        pack(records[:first], transform, folder, num_workers=0)
        if plug_in:
            plug_in_there.touch()
        store = pack(records, transform, folder, num_workers=0)
        assert lengths(store)[: first // ROWS] == [ROWS] * (first // ROWS)
        return tree(folder)

    plain = fill(tmp_path / "a", 18, plug_in=False)
    mended = fill(tmp_path / "b", 18, plug_in=True)
    # All parts are the same files, and the two images come last.
    names = [name for name in plain if "/part-" in name]
    assert [mended[name] for name in names] == [plain[name] for name in names]
    extra = {name.split("/")[-2] for name in mended if "/part-" in name} - {name.split("/")[-2] for name in names}
    assert extra == {"part-00007"}
    store = PackedStore(tmp_path / "b", transform, SIZE)
    assert store.rows(store.keys(records))[[3, 10]].tolist() == [[7, 0], [7, 1]]
    assert not store.unreadable()
    assert not (tmp_path / "b" / "quarantine.csv").exists()


def test_a_deleted_part_is_made_again_as_it_was(records, read_picture, store_dir):
    store = pack(records, read_picture, store_dir)
    before = tree(store_dir)
    part = part_folders(store.folder)[2]
    for file in part.iterdir():
        file.unlink()
    part.rmdir()
    pack(records, read_picture, store_dir)
    assert tree(store_dir) == before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_verify_names_what_is_damaged(records, read_picture, store_dir, num_workers):
    spoil(records, 8)
    store = pack(records, read_picture, store_dir, num_workers)
    assert store.verify() == []
    for part, row in ((0, 5), (1, 2), (6, 0)):
        with store.image_files()[part].open("r+b") as stream:
            stream.seek(128 + row * SIZE[0] * SIZE[1] + 17)
            byte = stream.read(1)[0]
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([byte ^ 4]))
    (store.image_files()[4].parent / "hashes.npy").write_bytes(b"?")
    found = store.verify()
    assert [(damage.part, damage.row) for damage in found] == [
        ("part-00000", 5), ("part-00001", 2), ("part-00004", None), ("part-00006", 0)
    ]  # fmt: skip
    assert "another than when it was packed" in found[0].cause
    assert "yet the row is not empty" in found[1].cause
    assert "delete the folder" in found[2].cause


def test_damaged_notes_are_named(records, read_picture, store_dir):
    spoil(records, 8)
    store = pack(records, read_picture, store_dir)
    (store.folder / "unreadable.json").write_text("[]")
    with pytest.raises(StoreError, match=r"unreadable\.json is damaged"):
        store.unreadable()
    (store.folder / "unreadable.json").unlink()
    (part_folders(store.folder)[1] / "unreadable.json").write_text("{")
    with pytest.raises(StoreError, match=r"part-00001/unreadable\.json is damaged"):
        store.unreadable()


def test_records_are_asked_for_when_they_are_needed(records, read_picture, store_dir):
    """So a table of a million rows never becomes a million dictionaries."""

    class Counted(list):
        alive = 0
        most = 0

        def __getitem__(self, position):
            Counted.most = max(Counted.most, position - len(list(store_dir.glob("*/part-*"))) * ROWS)
            return super().__getitem__(position)

    store = PackedStore(store_dir, read_picture, SIZE, num_workers=1, progress=False)
    store.add(Counted(records), store.keys(records), retry_unreadable=True)
    assert Counted.most <= 2 * ROWS


def test_a_disk_that_is_too_small_is_refused_at_once(records, read_picture, store_dir, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(StoreError, match=r"No space left on device: 0\.0 GB are needed, 0\.0 GB are free"):
        pack(records, read_picture, store_dir)
    assert not list(store_dir.glob("*/part-*"))


@pytest.mark.parametrize(
    ("levels", "blank"),
    [((0, 0), True), ((255, 255), True), ((100, 103), True), ((0, 3), True), ((0, 4), False), ((9, 30), False)],
)
def test_blank_is_a_span_of_three_gray_levels(levels, blank):
    pixels = np.random.default_rng(0).integers(levels[0], levels[1] + 1, (24, 24, 1)).astype(np.uint8)
    assert is_blank(pixels) == blank


def test_black_with_one_mark_is_not_blank():
    pixels = np.zeros((24, 24, 1), np.uint8)
    pixels[3, 4] = 40
    assert not is_blank(pixels)


def test_blank_images_are_left_out_when_asked_and_kept_by_a_dataset(records, read_picture, store_dir):
    for position, level in ((5, 0), (6, 80)):
        cv2.imwrite(records[position]["image"], np.full((30, 30), level, np.uint8))
    store = pack(records, read_picture, store_dir, refuse_blank=True)
    reasons = store.unreadable()
    assert sorted((reason.stage, reason.cause) for reason in reasons.values()) == [
        ("blank", "it is blank: gray levels 0 to 0 of 255"),
        ("blank", "it is blank: gray levels 80 to 80 of 255"),
    ]
    assert len(PackedDataset(records, read_picture, store_dir, SIZE, unreadable="skip")) == 38
    # A dataset of few images takes them as they are: nobody has asked it to judge.
    assert len(PackedDataset(records, read_picture, store_dir, SIZE)) == 40


def test_an_empty_mask_is_no_blank_image(store_dir, tmp_path):
    path = tmp_path / "a"
    path.touch()
    image = np.zeros((2, 24, 32), np.float32)
    image[0, 3:9] = 1
    store = pack([{"image": str(path)}], lambda data: {"image": image}, store_dir, 0, refuse_blank=True, with_mask=True)
    assert not store.unreadable()
    store = pack(
        [{"image": str(path)}], lambda data: {"image": image[::-1]}, store_dir, 0, refuse_blank=True, with_mask=True
    )
    assert len(store.unreadable()) == 1


def test_manifest_tells_the_format(records, read_picture, store_dir):
    store = pack(records[:1], read_picture, store_dir)
    assert json.loads((store.folder / "manifest.json").read_text())["format"] == 2
