"""Sealed store: the records that a list of dictionaries holds, out of mapped columns, with nothing but the store."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
import shutil
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, RecordsError, StoreError
from radimagenet_monai.datasets import bundle_datalist
from radimagenet_monai.datasets.records.table import check_records, to_datalist
from radimagenet_monai.engine.handlers.run_record import hash_datalist
from radimagenet_monai.engine.start.preflight import require_images, require_writable
from radimagenet_monai.loading.augmentation import AffineAugmentation
from radimagenet_monai.loading.bundle_dataset import packed_dataset
from radimagenet_monai.loading.loader import build_loader
from radimagenet_monai.loading.packed_items import PackedDataset
from radimagenet_monai.loading.sampler import SampleKey
from radimagenet_monai.store.packed_store import PackedStore
from radimagenet_monai.store.sealed.index import SealedIndex, write_index
from radimagenet_monai.store.sealed.records import SealedRecords
from radimagenet_monai.store.sealed.sealing import is_sealed, seal_store

pytestmark = pytest.mark.slow

CLASSES = ["cat", "dog", "eel"]
SIZE = (24, 32)
AUGMENTATION = AffineAugmentation(rotation_degrees=20, shift=0.1, horizontal_flip=True, seed=3)


def make_part(folder: Path, number: int, rows: int) -> None:
    part = folder / f"part-{number:05d}"
    part.mkdir(parents=True)
    np.save(part / "images.npy", np.full((rows, 2, 3, 1), number, np.uint8))
    np.save(part / "hashes.npy", np.full((rows, 2, 32), number, np.uint8))


def opened(folder: Path, frame: pd.DataFrame, pixels: int = 0, **selection: object) -> SealedRecords:
    """Records of a frame, out of an index."""
    hashes = np.full((len(frame), 32), pixels, np.uint8)
    places = np.stack([np.zeros(len(frame), np.int64), np.arange(len(frame))], axis=1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "index").mkdir()
    with mock.patch("os.fsync"):  # takes most of the time
        write_index(folder / "index", frame, np.arange(len(frame)), places, (2, 3, 1), [], hashes, False)
    return SealedRecords(SealedIndex(folder), **selection)


def plain(items: object) -> str:
    """Comparable text, with every NaN the same; types included."""
    return repr([{key: (type(value), repr(value)) for key, value in item.items()} for item in items])


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=";#"), min_size=1)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    images = draw(st.lists(paths, min_size=1, max_size=12, unique=True))
    cells = {
        "label": st.sampled_from(CLASSES),
        "patient_id": st.sampled_from(["", "0001", "1"]),
        "split": st.sampled_from(["", "train", "validation", "test"]),
        "fold": st.sampled_from(["0", "1", "2"]),
        "mask": st.sampled_from(["", "m.png", "a/m.png;n.xml#2"]),
        "frame": st.sampled_from(["", "0", "7"]),
        "sha256": st.sampled_from(["", "ab" * 32]),
        "exam": st.sampled_from(["", "left", "right"]),
        "modality": st.sampled_from(["", "CT"]),
        "plane": st.sampled_from(["", "axial", "Coronal "]),
        "bleeding": st.sampled_from(["", "1", "0"]),
        "swelling": st.sampled_from(["", "1", "0"]),
    }
    absent = draw(st.sets(st.sampled_from(["exam", "modality", "bleeding", "fold", "plane"])))
    table = {"image": images}
    for name, values in cells.items():
        if name not in absent:
            table[name] = draw(st.lists(values, min_size=len(images), max_size=len(images)))
    return check_records(pd.DataFrame(table), allow_leakage=True)


def outcome(make: object) -> object:
    try:
        return plain(make())
    except RadImageNetError as error:
        return type(error)


@settings(deadline=None)
@given(
    frame=frames(),
    classes=st.sampled_from([None, CLASSES, CLASSES[::-1], CLASSES[:2]]),
    split=st.sampled_from([None, "train", "validation", "test", "holiday"]),
    fold=st.sampled_from([None, None, 0, 1, 2, 9]),
    findings=st.sampled_from([None, ["bleeding"], ["any", "bleeding", "swelling"]]),
    require_mask=st.booleans(),
)
def test_records_are_the_dictionaries_of_to_datalist(
    tmp_path_factory, frame, classes, split, fold, findings, require_mask
):
    folder = tmp_path_factory.getbasetemp() / "property"
    selection = {"split": split, "fold": fold, "findings": findings, "require_mask": require_mask}
    expected = outcome(lambda: to_datalist(frame, "", classes, check_files=False, **selection))
    found = outcome(lambda: opened(folder, frame, classes=classes, **selection))
    assert found == expected


def test_columns_of_many_values_are_text_and_of_few_are_codes(tmp_path):
    count = 5000
    table = {"image": [f"café/{n}.png" for n in range(count)], "label": "cat", "note": [f"«{n}»" for n in range(count)]}
    records = opened(tmp_path, check_records(pd.DataFrame(table)), classes=CLASSES)
    kinds = {
        entry["name"]: entry["kind"] for entry in json.loads((tmp_path / "index/index.json").read_text())["columns"]
    }
    assert (kinds["image"], kinds["note"], kinds["label"], kinds["patient_id"]) == ("text", "text", "codes", "codes")
    assert [record["image"] for record in records] == table["image"]
    assert records[-1]["image"] == table["image"][-1]
    assert records[3:5] == [records[3], records[4]]
    assert records._index.column("note")[4321] == "«4321»"


def test_labels_of_all_records_at_once(tmp_path):
    table = {"image": list("abcd"), "label": ["dog", "cat", "eel", "dog"], "split": ["train", "", "train", "train"]}
    frame = check_records(pd.DataFrame({**table, "bleeding": ["1", "", "", "0"]}))
    records = opened(tmp_path, frame, classes=CLASSES, split="train")
    assert records.labels().tolist() == [record["label"] for record in records] == [1, 2, 1]
    records = opened(tmp_path, frame, classes=["cat", "dog", "eel"], findings=["any", "bleeding"])
    assert repr(records.labels().tolist()) == repr([record["label"] for record in records])
    with pytest.raises(RecordsError, match="without classes"):
        opened(tmp_path, frame).labels()


def test_hash_is_that_of_content_order_and_labels(tmp_path):
    frame = check_records(pd.DataFrame({"image": ["x/a.png", "x/b.png", "x/c.png"], "label": ["cat", "dog", "cat"]}))

    def hash_of(changed: pd.DataFrame, classes: list[str] = CLASSES, **selection: object) -> str:
        return hash_datalist(opened(tmp_path, changed, classes=classes, **selection))

    reference = hash_of(frame)
    assert hash_of(frame.assign(image=["y/z/a.png", "/b.png", "c.png"])) == reference  # folders do not count
    assert hash_of(frame.assign(site="new")) == reference
    assert hash_of(frame.iloc[::-1].reset_index(drop=True)) != reference
    assert hash_of(frame.assign(image=["x/a.png", "x/b.png", "x/d.png"])) != reference
    assert hash_of(frame.assign(frame=[0, 0, 1])) != reference
    assert hash_of(frame.assign(mask=["", "", "m.png"])) != reference
    assert hash_of(frame.assign(label=["cat", "dog", "dog"])) != reference
    assert hash_of(frame, CLASSES[::-1]) != reference
    assert hash_of(frame, pixels=1) != reference
    # The same records by another way: as one split of a larger store.
    larger = pd.DataFrame(
        {"image": ["q", *frame["image"]], "label": ["eel", *frame["label"]], "split": ["test", *["train"] * 3]}
    )
    assert hash_of(check_records(larger), split="train") == reference


def test_sealing_leaves_out_what_is_not_packed_and_gives_the_same_bytes_again(tmp_path):
    make_part(tmp_path, 0, 2)
    make_part(tmp_path, 1, 3)
    frame = check_records(pd.DataFrame({"image": list("abcde"), "label": CLASSES[0], "site": list("xyxyx")}))
    places = np.array([[0, 1], [-1, -1], [1, 2], [0, 0], [1, 0]])
    seal_store(tmp_path, frame, places)
    records = SealedRecords(SealedIndex(tmp_path), CLASSES)
    assert not records.are_phantoms
    everything = to_datalist(frame, "", CLASSES, check_files=False)
    assert list(records) == [everything[row] for row in (0, 2, 3, 4)]
    assert records.places().tolist() == places[[0, 2, 3, 4]].tolist()

    def hashes() -> dict[str, str]:
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((tmp_path / "index").iterdir())
        }

    first = hashes()
    (tmp_path / ".building-index").mkdir()  # as a kill leaves it
    seal_store(tmp_path, frame, places)
    assert hashes() == first
    assert not (tmp_path / ".building-index").exists()
    seal_store(tmp_path, frame, places, phantoms=True)
    assert SealedRecords(SealedIndex(tmp_path), CLASSES).are_phantoms


@pytest.mark.parametrize("places", [[[-1, -1], [-1, -1]], [[0, 0], [0, 2]], [[0, 0], [1, 0]], [[0, 0], [0, -1]]])
def test_places_outside_the_parts_are_refused(tmp_path, places):
    make_part(tmp_path, 0, 2)
    with pytest.raises(StoreError, match="cannot be sealed"):
        seal_store(tmp_path, check_records(pd.DataFrame({"image": ["a", "b"], "label": "cat"})), np.array(places))
    assert not (tmp_path / "index").exists()


# ---- the dataset of a config ----


@pytest.fixture
def frame(records) -> pd.DataFrame:
    table = pd.DataFrame(records).drop(columns="label")
    table["label"] = [CLASSES[number % 3] for number in range(len(table))]
    table["split"] = [("train", "train", "validation")[number % 3] for number in range(len(table))]
    table["mask"] = ["", "m.png"] * (len(table) // 2)
    table["bleeding"] = ["1", "0", "", "0"] * (len(table) // 4)
    return check_records(table)


@pytest.fixture
def sealed(frame, read_picture, store_dir) -> PackedStore:
    """A sealed store of all records in two parts, whose source images and transform's journal are gone."""
    items = to_datalist(frame, "", None, check_files=False)
    store = PackedStore(store_dir, read_picture, SIZE, num_workers=0, progress=False)
    store.add(items[:25], store.keys(items[:25]), retry_unreadable=True)
    store.add(items, store.keys(items), retry_unreadable=True)
    seal_store(store.folder, frame, store.rows(store.keys(items)))
    return store


def from_source(frame, read_picture, store_dir, selection, **options) -> PackedDataset:
    items = to_datalist(frame, "", **selection, check_files=False)
    return PackedDataset(items, read_picture, store_dir, SIZE, num_workers=0, progress=False, **options)


def assert_same(one: object, other: object) -> None:
    """Same keys, values and types, with NaN equal to NaN."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        assert one.stride() == other.stride()
    else:
        assert one == other


@pytest.mark.parametrize(
    "selection",
    [
        {"classes": CLASSES, "split": "train"},
        {"classes": CLASSES[::-1], "split": "validation", "require_mask": True},
        {"classes": CLASSES, "findings": ["any", "bleeding"]},
        {"classes": None},
    ],
)
@pytest.mark.parametrize("augmentation", [None, AUGMENTATION])
def test_items_are_those_of_a_packed_dataset(frame, sealed, read_picture, store_dir, records, selection, augmentation):
    expected = from_source(frame, read_picture, store_dir, selection, augmentation=augmentation)
    for record in records:
        Path(record["image"]).unlink()
    dataset = packed_dataset([], read_picture, store_dir, SIZE, augmentation=augmentation, **selection)
    assert isinstance(dataset.data, SealedRecords)
    assert len(dataset) == len(expected)
    assert dataset.shards.tolist() == expected.shards.tolist()
    assert_same([dataset[place] for place in range(len(dataset))], [expected[place] for place in range(len(expected))])
    wanted = [SampleKey(2, 5), SampleKey(2, 0), SampleKey(1, -1)]
    assert_same(dataset.__getitems__(wanted), [expected[key] for key in wanted])
    assert_same(list(dataset[3:5]), list(expected[3:5]))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_workers_read_the_same_batches(frame, sealed, read_picture, store_dir, start):
    selection = {"classes": CLASSES, "split": "train"}
    expected = from_source(frame, read_picture, store_dir, selection, augmentation=AUGMENTATION)
    dataset = packed_dataset([], read_picture, store_dir, SIZE, augmentation=AUGMENTATION, **selection)
    context = multiprocessing.get_context(start)
    loader = build_loader(dataset, 8, shuffle=True, seed=1, num_workers=2, multiprocessing_context=context)
    assert_same(list(loader), list(build_loader(expected, 8, shuffle=True, seed=1)))


def test_a_window_shuffles_runs_of_images_and_images_among_them(sealed, read_picture, store_dir, monkeypatch):
    monkeypatch.setattr("radimagenet_monai.store.mapped_images._BLOCK_BYTES", 5 * SIZE[0] * SIZE[1])
    dataset = packed_dataset([], read_picture, store_dir, SIZE)
    assert len(np.unique(dataset.shards)) == 5 + 3  # five of five images in the first part, three in the second
    batches = [batch["index"].tolist() for batch in build_loader(dataset, 10, shuffle=True, seed=2, window=2)]
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(40))
    assert all(len(np.unique(dataset.shards[batch])) <= 2 for batch in batches)
    whole = next(iter(build_loader(dataset, 40, shuffle=True, seed=2)))["index"].tolist()
    assert whole != order


def test_a_pickled_dataset_holds_neither_columns_nor_images(sealed, read_picture, store_dir):
    dataset = packed_dataset([], read_picture, store_dir, SIZE)
    items = [dataset[place] for place in range(len(dataset))]
    content = pickle.dumps(dataset)
    assert len(content) < 10_000 < len(dataset) * SIZE[0] * SIZE[1]
    copy = pickle.loads(content)
    assert_same([copy[place] for place in range(len(copy))], items)


def test_records_that_are_given_decide(frame, sealed, read_picture, store_dir, calls):
    calls()
    items = to_datalist(frame, "", CLASSES, "validation", check_files=False)
    dataset = packed_dataset(items[:3], read_picture, store_dir, SIZE, num_workers=0, classes=CLASSES, split="train")
    assert dataset.data == items[:3]
    assert calls() == 0


def test_without_records_and_without_a_seal_it_is_empty_and_refused_only_when_run(read_picture, store_dir):
    dataset = packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES, split="train")
    assert len(dataset) == 0
    assert not store_dir.exists()
    with pytest.raises(RecordsError, match=r"--dataset_dir .* or --store_dir with a store that 'radimagenet pack'"):
        require_images(dataset)


def test_a_table_without_its_folder_is_not_passed_over():
    assert bundle_datalist("busi", "", "", CLASSES) == []
    with pytest.raises(RecordsError, match=r"datalist 'mine.csv' was given without dataset_dir"):
        bundle_datalist("busi", "", "mine.csv", CLASSES)


def test_another_size_or_transform_is_refused_in_words(sealed, read_picture, store_dir):
    with pytest.raises(StoreError, match=r"sealed for images of 24x32 and 48x48 is asked for.*--image_size"):
        packed_dataset([], read_picture, store_dir, 48)
    with pytest.raises(StoreError, match=r"another preparation of the images \(transform differ"):
        packed_dataset([], type(read_picture)(gain=0.5), store_dir, SIZE)
    with pytest.raises(StoreError, match=r"another preparation of the images \(keep_aspect differ"):
        packed_dataset([], read_picture, store_dir, SIZE, keep_aspect=True)


def test_other_versions_of_packages_are_warned_of(sealed, read_picture, store_dir, caplog):
    moved = store_dir / "24x32-0123456789abcdef"
    sealed.folder.rename(moved)
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["versions"] = {"pictures_on_disk": "0.0"}
    (moved / "manifest.json").write_text(json.dumps(manifest))
    assert len(packed_dataset([], read_picture, store_dir, SIZE)) == 40
    assert "was packed with pictures_on_disk 0.0" in caplog.text


def test_labels_splits_and_findings_that_do_not_fit_are_refused(sealed, read_picture, store_dir):
    with pytest.raises(RecordsError, match=r"13 of 40 records have labels .* none of the 2 classes, the first 'eel'"):
        packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES[:2])
    with pytest.raises(RecordsError, match=r"split 'test' \(train: 27, validation: 13\)"):
        packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES, split="test")
    with pytest.raises(RecordsError, match=r"fold 1 .* with folds \[\]"):
        packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES, split="test", fold=1)
    with pytest.raises(ConfigurationError, match="split 'holiday' is unknown"):
        packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES, split="holiday")
    with pytest.raises(RecordsError, match="column 'site' holds values such as 'a'; expected 1, 0 or nothing"):
        packed_dataset([], read_picture, store_dir, SIZE, classes=CLASSES, findings=["any", "site"])


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_part_that_is_not_whole_is_named(sealed, read_picture, store_dir, damage):
    path = sealed.folder / "part-00001" / "images.npy"
    if damage == "missing":
        shutil.rmtree(path.parent)
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"part-00001/images.npy is missing or damaged \(.*\); copy that part again"):
        packed_dataset([], read_picture, store_dir, SIZE)


@pytest.mark.parametrize("name", ["index.json", "places.npy", "frame.npy", "00.codes.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_an_index_that_is_not_whole_is_refused(sealed, read_picture, store_dir, name, damage):
    path = sealed.folder / "index" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) - 4 if damage == "cut" else 0])
    if name == "index.json" and damage == "missing":
        assert not is_sealed(store_dir)
        return
    with pytest.raises(StoreError, match=r"the index of a sealed store, .* cannot be read"):
        packed_dataset([], read_picture, store_dir, SIZE)[0]


def test_a_sealed_store_on_a_read_only_disk_is_no_output_folder(sealed, store_dir, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    require_writable(store_dir)
    shutil.rmtree(sealed.folder / "index")
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        require_writable(store_dir)


def test_pictures_of_the_store_are_those_of_the_files(sealed, records, read_picture, store_dir):
    # One image read by OpenCV alone: packed_dataset and PackedDataset share their reading.
    dataset = packed_dataset([], read_picture, store_dir, SIZE)
    last = len(records) - 1
    pixels = cv2.imread(records[last]["image"], cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    expected = cv2.resize(pixels, SIZE[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(dataset[last]["image"][0].numpy() / 255 - expected).max() < 0.2
    assert dataset.data[last]["image"] == records[last]["image"]
