"""Opening a store and memory against the number of records: a sealed store beside a plain list of dictionaries.

    python benchmarks/memory.py [--records 10000 100000 1000000 1350000] [--workers 0 4] [--batches 40]

Both sides read the same images of a store in the layout that `radimagenet pack` leaves for RadImageNet: 165 classes,
75 % of the records in the training split, 224 px, parts of about 1 GiB. Index and records table are real and of full
size. The pixels are not: image files have their real length and form, but are sparse files of zeros, since 1.35 million
images would take 67 GB; reading them costs the same copies. The peer is what MONAI's Dataset takes: the records table
read into a list of dictionaries, and a transform that reads the row of the same files.

Each line is a process of its own that opens the training split, hashes it for the run's record and reads batches of
256, shuffled over all records. Then, with the workers alive, the memory of the process and its workers together is
taken from /proc/PID/smaps: proportional set size (what is private, and its share of what is shared, so that nothing is
counted twice), without the mapped pages of the image files, which are page cache that the system takes back when it
needs them. "unique" counts private pages alone. "over" is what the line has more than that of the fewest records.
Both sides give batches back to the system when they are done with (MALLOC_MMAP_THRESHOLD_): freed batches that the C
library keeps differ by 100 MB from run to run and hide what records take. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import monai
import numpy as np
import pandas as pd
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.datasets.records.table import check_records, read_records, to_datalist, write_records
from radimagenet_monai.engine.handlers.run_record import hash_datalist
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading import build_loader, packed_dataset
from radimagenet_monai.store import PackedStore
from radimagenet_monai.store.mapped_images import MappedParts
from radimagenet_monai.store.sealed.sealing import seal_store

SIZE, BATCH = 224, 256
CLASSES = [label.key for label in LABELS]
PART_ROWS = (1 << 30) // (SIZE * SIZE)
MEGABYTE = 1 << 20


def transform() -> Compose:
    """Stands for the preparation of a bundle; nothing is ever prepared here."""
    return Compose([LoadNativeImaged(keys="image")])


def write_store(store_dir: Path, records: int) -> None:
    """A sealed store of sparse image files, and its records table."""
    store = PackedStore(store_dir, transform(), SIZE)
    for number, first in enumerate(range(0, records, PART_ROWS)):
        part = store.folder / f"part-{number:05d}"
        part.mkdir(parents=True)
        rows = min(PART_ROWS, records - first)
        with open(part / "images.npy", "wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (rows, SIZE, SIZE, 1)}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.truncate(stream.tell() + rows * SIZE * SIZE)
        np.save(part / "hashes.npy", np.zeros((rows, 2, 32), np.uint8))
    (store.folder / "manifest.json").write_text(json.dumps(store.manifest))
    place = np.arange(records)
    label = np.random.default_rng(0).integers(0, len(CLASSES), records)
    label[: len(CLASSES)] = np.arange(len(CLASSES))
    names = np.array(CLASSES, dtype=object)[label]
    table = {
        "image": [f"radiology_ai/{name.replace('_', '/', 2)}/{name}{n:07d}.png" for n, name in enumerate(names)],
        "label": names,
        "split": np.array(["train", "train", "train", "train", "train", "train", "validation", "test"])[place % 8],
        "modality": [name[:2] for name in names],
    }
    frame = check_records(pd.DataFrame(table))
    write_records(frame, store_dir / "records.csv")
    seal_store(store.folder, frame, np.stack([place // PART_ROWS, place % PART_ROWS], axis=1))
    for file in (store.folder / "index").iterdir():
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # opened from the disk


class ReadRow:
    """The peer's transform: the row of an image, by its place in the list of dictionaries."""

    def __init__(self, files: list[Path]) -> None:
        self.parts = MappedParts(files)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        place = record["record"]
        (image,) = self.parts.read(np.array([[place // PART_ROWS, place % PART_ROWS]]))
        return {"image": torch.from_numpy(image.copy()), "label": record["label"]}


def measure(kind: str, store_dir: Path, workers: int, batches: int) -> dict[str, float]:
    """Seconds and bytes of one line of the table, in this process."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    if kind == "sealed":
        dataset: Any = packed_dataset([], transform(), store_dir, SIZE, classes=CLASSES, split="train")
        data = dataset.data
    else:
        frame = read_records(store_dir / "records.csv", CLASSES)
        data = to_datalist(frame, "", CLASSES, "train", check_files=False)
        del frame
        files = sorted(store_dir.glob("*/part-*/images.npy"))
        dataset = Dataset(data, ReadRow(files))
    opened = time.perf_counter()
    hash_datalist(data)
    hashed = time.perf_counter()
    if kind == "sealed":
        loader: Any = build_loader(dataset, BATCH, shuffle=True, num_workers=workers)
    else:
        loader = DataLoader(
            dataset, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=bool(workers)
        )
    first = 0.0
    read = images = 0
    while read < batches:  # the fewest records need more than one epoch
        for batch in loader:
            assert batch["image"].shape[0] == len(batch["label"])
            first = first or time.perf_counter()
            read += 1
            images += len(batch["label"])
            if read == batches:
                children = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
                total, unique = memory([os.getpid(), *children])
                break
    result = {"total": total, "unique": unique, "images": images}
    return {**result, "open": opened - started, "hash": hashed - opened, "first": first - hashed}


def memory(pids: list[int]) -> tuple[int, int]:
    """Proportional and private bytes of processes together, image files left out."""
    proportional = private = 0
    for pid in pids:
        counted = True
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            key, _, rest = line.partition(" ")
            if not key.endswith(":"):
                counted = not line.endswith("/images.npy")
            elif counted and key == "Pss:":
                proportional += int(rest.split()[0]) * 1024
            elif counted and key in ("Private_Clean:", "Private_Dirty:"):
                private += int(rest.split()[0]) * 1024
    return proportional, private


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 1_350_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--batches", type=int, default=40, help=f"batches of {BATCH} that are read (default 40)")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, store_dir = arguments.measure
        print(json.dumps(measure(kind, Path(store_dir), arguments.workers[0], arguments.batches)))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", end=", ")
    print(f"torch {torch.__version__}, MONAI {monai.__version__}, NumPy {np.__version__}, pandas {pd.__version__}")
    print(f"image files are sparse (no pixels on the disk); batches of {BATCH} images of {SIZE} px are read and joined")
    print(
        "records  workers  side             open s  hash s  first batch s  images read  memory MB  over MB  unique MB"
    )
    least: dict[tuple[str, int], float] = {}
    for records in arguments.records:
        folder = Path(tempfile.mkdtemp(prefix="memory-"))
        try:
            write_store(folder, records)
            for workers in arguments.workers:
                for kind, name in [("sealed", "sealed store"), ("list", "list, MONAI")]:
                    command = [sys.executable, __file__, "--measure", kind, str(folder), "--workers", str(workers)]
                    output = subprocess.run(
                        [*command, "--batches", str(arguments.batches)],
                        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MEGABYTE)},
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    if output.returncode:
                        raise SystemExit(output.stderr)
                    found = json.loads(output.stdout.splitlines()[-1])
                    least.setdefault((kind, workers), found["total"])
                    over = (found["total"] - least[kind, workers]) / MEGABYTE
                    print(
                        f"{records:>7}  {workers:>7}  {name:<15}  {found['open']:>6.2f}  {found['hash']:>6.2f}  "
                        f"{found['first']:>13.2f}  {found['images']:>11}  {found['total'] / MEGABYTE:>9.0f}  "
                        f"{over:>7.0f}  {found['unique'] / MEGABYTE:>9.0f}",
                        flush=True,
                    )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
