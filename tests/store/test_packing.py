"""``radimagenet pack``: what the bundles will find, what is left out, and that it can be stopped at any time."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigParser
from processes import take_default_signals, wait_until

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.commands.pack import pack
from radimagenet_monai.core.errors import ConfigurationError, RecordsError, StoreError
from radimagenet_monai.datasets import to_datalist
from radimagenet_monai.datasets.records.table import check_records, write_records
from radimagenet_monai.loading.bundle_dataset import packed_dataset
from radimagenet_monai.store import packed_part
from radimagenet_monai.store import packed_row as filling
from radimagenet_monai.store.fingerprint import describe_transform, digest
from radimagenet_monai.store.packed_part import part_folders
from radimagenet_monai.store.packed_store import PackedStore
from radimagenet_monai.store.packing import PRETRAINING, TableRecords, pack_records, task_preparation

pytestmark = pytest.mark.slow

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture
def data(tmp_path) -> Path:
    """Thirty pictures with a records table beside them."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(4)
    for number in range(30):
        noise = generator.integers(0, 256, (40, 40 + number), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{number:02d}.png"), cv2.GaussianBlur(noise, (0, 0), 2))
    frame = pd.DataFrame({"image": [f"images/{number:02d}.png" for number in range(30)]})
    frame["label"] = [("CT_abd_normal", "US_usabd_liver")[number % 2] for number in range(30)]
    frame["split"] = [("train", "train", "test")[number % 3] for number in range(30)]
    frame["modality"] = [("CT", "US")[number % 2] for number in range(30)]
    write_records(frame, folder / "records.csv")
    return folder


def options_of(task: str) -> tuple[object, dict]:
    """Preparation and dataset options of a bundle's own config."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / task / "configs/train.json"))
    parser["bundle_root"] = str(BUNDLES / task)
    dataset = parser.get("train#dataset")
    return parser.get_parsed_content("train#preprocessing"), {**dataset, "image_size": parser.get("image_size")}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_bundle_of_a_task_finds_what_was_packed_for_it(name):
    transform, options = task_preparation(TASKS[name])
    theirs, dataset = options_of(name)
    assert digest(describe_transform(transform)) == digest(describe_transform(theirs))
    assert options["transform_keys"] == dataset["transform_keys"]
    assert options.get("path_keys") == dataset.get("path_keys")
    assert options.get("with_mask", False) == dataset.get("with_mask", False)
    assert TASKS[name].image_size == dataset["image_size"]
    folder = PackedStore("x", transform, TASKS[name].image_size, **options).folder
    keys = {key: dataset[key] for key in ("transform_keys", "path_keys", "with_mask") if key in dataset}
    assert PackedStore("x", theirs, dataset["image_size"], **keys).folder == folder


def test_all_pretraining_bundles_share_a_preparation():
    names = [name for name in TASKS if "pretraining" in name]
    assert len(names) == 4
    assert len({digest(describe_transform(task_preparation(TASKS[name])[0])) for name in names}) == 1


def test_records_are_those_of_a_datalist(data):
    frame = check_records(
        pd.DataFrame(
            {
                "image": ["a.png", "/abs/b.png", "c"],
                "frame": ["", "3", ""],
                "mask": ["", "m.png;n.xml#2", ""],
                "sha256": ["", "", "a" * 64],
                "modality": ["CT", "", "US"],
                "site": ["x", "y", "z"],
            }
        ),
        require_label=False,
    )
    table = TableRecords(frame, data)
    theirs = to_datalist(frame, data, None, check_files=False)
    for record in theirs:
        del record["record"], record["patient_id"]
    assert list(table) == theirs
    assert table[1:] == theirs[1:]
    without = TableRecords(check_records(pd.DataFrame({"image": ["a"]}), require_label=False), data)
    assert without[0] == {"image": str(data / "a"), "frame": 0}


def test_a_packed_store_is_read_without_the_images(data, tmp_path):
    done = pack_records(data, tmp_path / "store", size=32, workers=2)
    assert (done.images, done.packed, done.unreadable, done.blank, done.parts) == (30, 30, 0, 0, 1)
    assert done.size > 30 * 32 * 32
    classes = TASKS[PRETRAINING].classes
    transform, options = task_preparation(TASKS[PRETRAINING])
    items = to_datalist(check_records(pd.read_csv(data / "records.csv", dtype=str)), data, classes, "train")
    expected = packed_dataset(items, transform, tmp_path / "other", 32, num_workers=0, **options)
    shutil.rmtree(data / "images")
    found = packed_dataset([], transform, tmp_path / "store", 32, classes=classes, split="train", **options)
    assert len(found) == len(expected) == 20
    for one, other in zip(found, expected, strict=True):
        assert one["label"] == other["label"]
        assert np.array_equal(one["image"].numpy(), other["image"].numpy())


def test_packing_again_packs_nothing_and_writes_the_same_files(data, tmp_path):
    def files() -> dict[str, str]:
        return {
            str(path.relative_to(tmp_path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((tmp_path / "store").rglob("*"))
            if path.is_file()
        }

    cv2.imwrite(str(data / "images/07.png"), np.full((40, 40), 3, np.uint8))
    (data / "images/08.png").write_bytes(b"\x89PNG")
    first = pack_records(data, tmp_path / "store", size=32, workers=0)
    before = files()
    again = pack_records(data / "records.csv", tmp_path / "store", size=32, workers=2, verify=True)
    assert (first.packed, again.packed) == (28, 0)
    assert (again.images, again.unreadable, again.blank) == (28, 1, 1)
    assert files() == before


def test_what_is_left_out(data, tmp_path):
    cv2.imwrite(str(data / "images/07.png"), np.full((40, 40), 3, np.uint8))
    (data / "images/08.png").write_bytes((data / "images/08.png").read_bytes()[:200])
    (data / "images/09.png").unlink()
    done = pack_records(data, tmp_path / "store", size=32, workers=2)
    assert (done.images, done.unreadable, done.blank) == (27, 2, 1)
    lines = (tmp_path / "store" / "quarantine.csv").read_text().splitlines()
    assert lines[0] == "image,frame,stage,cause"
    assert [line.split(",")[0][-6:] + " " + line.split(",")[2] for line in lines[1:]] == [
        "07.png blank",
        "08.png decode",
        "09.png open",
    ]
    kept = pack_records(data, tmp_path / "store", size=32, workers=2, blank="keep")
    assert (kept.images, kept.packed, kept.unreadable, kept.blank) == (28, 1, 2, 0)
    with pytest.raises(
        StoreError, match=r"^2 unreadable and 1 blank of 30 images are not packed; .*quarantine\.csv lists them"
    ):
        pack_records(data, tmp_path / "other", size=32, workers=2, unreadable="stop")
    assert not list((tmp_path / "other").glob("*/index"))
    assert pack_records(data, tmp_path / "other", size=32, workers=2).images == 27


def test_without_any_image_it_fails(data, tmp_path):
    for path in (data / "images").iterdir():
        path.write_bytes(b"?")
    with pytest.raises(StoreError, match=r"^30 unreadable of 30 images are not packed; .* look at the causes$"):
        pack_records(data, tmp_path / "store", size=32, workers=0)


def test_verify_names_the_part(data, tmp_path):
    done = pack_records(data, tmp_path / "store", size=32, workers=0)
    images = done.folder / "part-00000/images.npy"
    content = bytearray(images.read_bytes())
    content[128 + 5 * 32 * 32] ^= 1
    images.write_bytes(content)
    with pytest.raises(StoreError, match=r"1 rows or files are damaged, the first in part-00000, row 5: its SHA-256"):
        pack_records(data, tmp_path / "store", size=32, workers=0, verify=True)


def test_a_segmentation_task_packs_the_images_that_have_masks(data, tmp_path):
    frame = check_records(pd.read_csv(data / "records.csv", dtype=str, keep_default_na=False))
    frame["mask"] = ["images/01_mask.png" if number == 1 else "" for number in range(30)]
    shape = cv2.imread(str(data / "images/01.png"), 0).shape
    cv2.imwrite(str(data / "images/01_mask.png"), np.eye(*shape, dtype=np.uint8) * 255)
    write_records(frame, data / "records.csv")
    done = pack_records(data, tmp_path / "store", task="breast_mass_us_segmentation", size=32, workers=0)
    assert done.images == 1
    assert np.load(done.folder / "part-00000/images.npy").shape == (1, 32, 32, 2)


def test_raw_folder_with_tables(tmp_path):
    root = tmp_path / "raw"
    for number, folder in enumerate(("CT/abd/normal", "US/liver", "US/liver")):
        path = root / "radiology_ai" / folder / f"image{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8))
    lines = ["radiology_ai/CT/abd/normal/image0.png,abd-normal", "radiology_ai/US/liver/gone.png,usabd-liver"]
    (root / "RadiologyAI_train.csv").write_text("\n".join(["filename,label", *lines]) + "\n")
    (root / "RadiologyAI_val.csv").write_text("filename,label\nradiology_ai/US/liver/image1.png,usabd-liver\n")
    (root / "RadiologyAI_test.csv").write_text("filename,label\nradiology_ai/US/liver/image2.png,usabd-liver\n")
    done = pack_records(root, tmp_path / "store", size=32, workers=0)
    assert done.images == 3
    columns = json.loads((done.folder / "index/index.json").read_text())
    assert columns


def test_what_is_refused(data, tmp_path):
    with pytest.raises(ConfigurationError, match="unreadable='keep': expected one of skip, stop"):
        pack_records(data, tmp_path / "store", unreadable="keep")
    with pytest.raises(ConfigurationError, match="blank='stop': expected one of skip, keep"):
        pack_records(data, tmp_path / "store", blank="stop")
    with pytest.raises(ConfigurationError, match="unknown task"):
        pack_records(data, tmp_path / "store", task="x")
    with pytest.raises(RecordsError, match="no such records table"):
        pack_records(tmp_path, tmp_path / "store")
    with pytest.raises(RecordsError, match="none of its images are under"):
        pack_records(data, tmp_path / "store", root=tmp_path)
    assert not (tmp_path / "store").exists()


# ---- the command ----


def test_command_prints_what_was_done(data, tmp_path, capsys):
    cv2.imwrite(str(data / "images/07.png"), np.full((40, 40), 3, np.uint8))
    pack(str(data), str(tmp_path / "store"), 32, workers=2, verify="true")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("29 images in 1 part(s), 0.00 GB; 29 packed now in ")
    assert first.endswith(" images/s)")
    assert second == f"left out: 0 unreadable, 1 blank, see {tmp_path}/store/quarantine.csv"
    assert third.startswith("verified: ")
    pack(str(data), str(tmp_path / "store"), 32, blank="keep", keep_aspect="no")
    assert capsys.readouterr().out.splitlines()[0].startswith("30 images in 2 part(s), 0.00 GB; 1 packed now in ")


@pytest.mark.parametrize("ending", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_stop_keeps_whole_parts_and_says_so_in_one_line(data, tmp_path, ending):
    def stopped() -> None:
        take_default_signals()
        packed_part.PART_BYTES = 4 * 32 * 32
        filling.Packer._row = hanging
        with (tmp_path / "messages").open("w") as sys.stderr:
            pack(str(data), str(tmp_path / "store"), 32, workers=1)

    quick = filling.Packer._row

    def hanging(self, path, *rest):
        if int(Path(path).stem) >= 12:
            time.sleep(600)  # until it is ended
        return quick(self, path, *rest)

    running = multiprocessing.get_context("fork").Process(target=stopped)
    running.start()
    wait_until(lambda: len(list((tmp_path / "store").glob("*/part-*"))) == 3, "three whole parts")
    os.kill(running.pid, ending)
    running.join()
    assert running.exitcode == 130
    assert (tmp_path / "messages").read_text().splitlines() == [
        f"stopped; the finished parts in {tmp_path}/store are kept, and the same command goes on with them"
    ]
    folder = next((tmp_path / "store").glob("32x32-*"))
    assert len(part_folders(folder)) == 3
    assert not list(folder.glob(".building-*"))
    assert pack_records(data, tmp_path / "store", 32, workers=1).packed == 30 - 4 * 3
