"""Packing beside the bare decoders, its memory, and whether a packing that was killed ends with the same bytes.

    python benchmarks/pack.py [--images 200000] [--size 224] [--workers 2] [--folder FOLDER]

Makes distinct PNG files in the layout of RadImageNet, 15 to 40 kB each: a few hundred phantoms, warped and with noise.
They stay in the folder for the next time; 200 000 take 6 GB and a quarter of an hour on two cores. The rest needs
100 kB of disk an image and is deleted.

Rates: the images are cut into blocks. Each block is decoded by processes that do nothing else, with OpenCV and Pillow,
and is packed by `pack_records` with as many workers, by the fast way of plain pictures and by the transforms, in turn,
all on warm files. Ratios are of the same block; the median counts. The time of packing is that of all: table, keys,
parts, fsync, seal. Processor time of all processes is shown beside it, since on a machine that others use, elapsed time
says little.

Memory: the sum of the proportional set sizes of all processes of one packing of everything, once a second.

Kills: a second packing is ended by SIGKILL at two random moments and started again; then all files of both stores are
compared byte by byte.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import filecmp
import io
import logging
import multiprocessing
import os
import platform
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import PIL
from PIL import Image

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.datasets.readers.radimagenet import DATASET_FOLDER, class_folder
from radimagenet_monai.datasets.records.table import write_records
from radimagenet_monai.phantoms.radimagenet import SPLIT_CYCLE, TABLES, image_name, simulate
from radimagenet_monai.store import packed_row
from radimagenet_monai.store.packing import pack_records

CHUNK = 16  # files that a decoding process takes at a time

BASES = 2  # phantoms a class; every picture is one of them, warped


def pictures(images: int) -> list[tuple[int, int, str]]:
    """Class, number within the class and path of each picture; fewer pictures are the first ones of more."""
    weights = 1 / np.arange(1, len(LABELS) + 1)
    classes = np.random.default_rng(0).choice(len(LABELS), size=images, p=weights / weights.sum())
    stems = [(f"{DATASET_FOLDER}/{class_folder(label)}", image_name(label, 0)) for label in LABELS]
    steps = [int(image_name(label, 1)[-10:-4]) - int(image_name(label, 0)[-10:-4]) for label in LABELS]
    counts = [0] * len(LABELS)
    listed = []
    for index in classes.tolist():
        folder, first = stems[index]
        number = int(first[-10:-4]) + counts[index] * steps[index]
        listed.append((index, counts[index], f"{folder}/{first[:-10]}{number:06d}.png"))
        counts[index] += 1
    return listed


class Painter:
    """Distinct pictures out of a few phantoms: warped, with another gain and other noise each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.bases: dict[tuple[int, int], np.ndarray] = {}
        self.noise = np.random.default_rng(1).normal(0, 6, (2 * size, 2 * size)).astype(np.float32)

    def __call__(self, index: int, number: int) -> np.ndarray:
        rng = np.random.default_rng([2, index, number])
        base = (index, int(rng.integers(BASES)))
        if base not in self.bases:
            self.bases[base] = simulate(LABELS[index], base[1], size=self.size)
        center = (self.size / 2, self.size / 2)
        matrix = cv2.getRotationMatrix2D(center, rng.uniform(-15, 15), rng.uniform(0.85, 1.2))
        matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * self.size
        picture = cv2.warpAffine(self.bases[base], matrix, (self.size, self.size), flags=cv2.INTER_LINEAR)
        gray = picture * np.float32(rng.uniform(0.8, 1.1))
        top, left = rng.integers(0, self.size, 2)
        grain = self.noise[top : top + self.size, left : left + self.size]
        # Air stays black, as in windowed pictures.
        gray += np.float32(rng.uniform(0.2, 1.0)) * grain * (picture > 8)
        return np.rint(np.clip(gray, 0, 255)).astype(np.uint8)


def _paint(job: tuple[str, int, list[tuple[int, int, str]]]) -> None:
    folder, size, listed = job
    painter = Painter(size)
    # By class, so that a process holds few phantoms at a time.
    for index, number, path in sorted(listed):
        target = Path(folder, path)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(f".{os.getpid()}")
            Image.fromarray(painter(index, number)).save(unfinished, "PNG", compress_level=3)
            unfinished.replace(target)


def write_pictures(folder: Path, images: int, size: int, workers: int) -> pd.DataFrame:
    """Write the pictures that are not there yet, and the three CSV files; gives their records."""
    listed = pictures(images)
    jobs = [(str(folder), size, listed[start : start + 5000]) for start in range(0, images, 5000)]
    with multiprocessing.Pool(workers) as pool:
        for _ in pool.imap_unordered(_paint, jobs):
            pass
    labels = [LABELS[index] for index, _, _ in listed]
    splits = [SPLIT_CYCLE[number % 10] for _, number, _ in listed]
    for part, table in TABLES.items():
        # A folder that holds more pictures keeps its tables.
        if not (folder / table).exists() or len((folder / table).read_text().splitlines()) <= splits.count(part):
            with (folder / table).open("w", newline="", encoding="utf-8") as stream:
                rows = csv.writer(stream, lineterminator="\n")
                rows.writerow(["filename", "label"])
                for (_, _, path), label, split in zip(listed, labels, splits, strict=True):
                    if split == part:
                        rows.writerow([path, f"{label.region_code}-{label.class_name}"])
    return pd.DataFrame(
        {
            "image": [path for _, _, path in listed],
            "label": [label.key for label in labels],
            "split": ["validation" if split == "val" else split for split in splits],
            "modality": [label.modality for label in labels],
        }
    )


def read_with_opencv(path: str) -> object:
    return cv2.imread(path, cv2.IMREAD_UNCHANGED)


def decode_with_opencv(path: str) -> object:
    with open(path, "rb", buffering=0) as stream:
        return cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)


def decode_with_pillow(path: str) -> object:
    with open(path, "rb", buffering=0) as stream:
        return np.asarray(Image.open(io.BytesIO(stream.read()), formats=("PNG",)))


DECODERS: dict[str, Callable[[str], object]] = {
    "cv2.imread": read_with_opencv,
    "read + cv2.imdecode": decode_with_opencv,
    "read + Pillow": decode_with_pillow,
}


def _decode(name: str, paths: Sequence[str], worker: int, workers: int) -> None:
    cv2.setNumThreads(0)
    decode = DECODERS[name]
    for start in range(worker * CHUNK, len(paths), workers * CHUNK):
        for path in paths[start : start + CHUNK]:
            decode(path)


def decoding_rate(name: str, paths: Sequence[str], workers: int) -> float:
    """Images a second of processes that decode and do nothing else."""
    started = time.perf_counter()
    processes = [
        multiprocessing.Process(target=_decode, args=(name, paths, worker, workers)) for worker in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"{name} failed")
    return len(paths) / (time.perf_counter() - started)


def packing_rate(table: Path, root: Path, store: Path, size: int, workers: int, plain: bool = True) -> float:
    """Images a second of a packing from the table to the seal; without ``plain`` all through the transforms."""
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        if not plain:
            stack.enter_context(mock.patch.object(packed_row, "keeps_gray_levels", return_value=False))
        done = pack_records(table, store, size, root=root, workers=workers, progress=False)
    seconds = time.perf_counter() - started
    os.sync()  # what is still to be written must not slow down the next
    if done.unreadable or done.blank:
        raise SystemExit(f"{done.unreadable} unreadable and {done.blank} blank images: see {store}/quarantine.csv")
    shutil.rmtree(store)
    return done.packed / seconds


def processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Packing:
    """``radimagenet pack`` as a process of its own."""

    def __init__(self, table: Path, root: Path, store: Path, size: int, workers: int, part_mib: int) -> None:
        script = (
            f"from radimagenet_monai.store import packed_part; packed_part.PART_BYTES = {part_mib} * 2**20;"
            f"from radimagenet_monai.commands.pack import pack;"
            f"pack({str(table)!r}, {str(store)!r}, {size}, root={str(root)!r}, workers={workers})"
        )
        self.process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)

    def finish(self) -> str:
        """Wait for its end; gives what it printed."""
        printed = self.process.communicate()[0]
        if self.process.returncode:
            raise SystemExit(f"packing ended with status {self.process.returncode}")
        return printed

    def peak_memory(self) -> tuple[int, int]:
        """Wait for its end; gives the largest sum of the PSS of all its processes, in bytes, and their number then."""
        peak = (0, 0)
        while self.process.poll() is None:
            sizes = [_pss(pid) for pid in _family(self.process.pid)]
            peak = max(peak, (sum(sizes), len(sizes)))
            time.sleep(1.0)
        return peak


def _family(pid: int) -> list[int]:
    family = [pid]
    for member in family:
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                family += [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # it has just ended
            continue
    return family


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def kill_somewhere(packing: Packing, store: Path, seconds: float, generator: random.Random) -> int:
    """Kill a packing at a random moment of its work; gives how many parts there are by then."""
    while packing.process.poll() is None and not list(store.glob("*/.building-*")):
        time.sleep(0.01)
    time.sleep(generator.uniform(0.05, 0.35) * seconds)
    if packing.process.poll() is not None:
        raise SystemExit("packing ended before it was killed; give more --images")
    packing.process.send_signal(signal.SIGKILL)
    packing.process.communicate()
    return len(list(store.glob("*/part-*")))


def files_below(folder: Path) -> list[str]:
    """All files but the lock, which is empty."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000, help="number of images (default 200 000)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode and that pack (default 2)")
    parser.add_argument("--blocks", type=int, default=10, help="blocks of images for the rates (default 10)")
    parser.add_argument("--part_mib", type=int, default=1024, help="MiB of a part where kills are tried (default 1024)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default 0)")
    default = Path(tempfile.gettempdir(), "radimagenet_pack")
    parser.add_argument("--folder", type=Path, default=default, help=f"where all files are (default {default})")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    cv2.setNumThreads(0)
    size, workers = arguments.size, arguments.workers
    root, stores = arguments.folder / "images", arguments.folder / "stores"
    shutil.rmtree(stores, ignore_errors=True)
    stores.mkdir(parents=True)

    started = time.perf_counter()
    frame = write_pictures(root, arguments.images, size, workers)
    print(f"pictures ready after {time.perf_counter() - started:.0f} s")
    lengths = [(root / name).stat().st_size for name in frame["image"].iloc[:: max(1, len(frame) // 2000)]]
    print(f"{len(frame)} PNG files of {size} x {size}, {min(lengths) / 1e3:.0f} to {max(lengths) / 1e3:.0f} kB")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, OpenCV {cv2.__version__}, "
    )
    print(f"Pillow {PIL.__version__}, NumPy {np.__version__}; {workers} processes each")

    rates: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for number, block in enumerate(np.array_split(np.arange(len(frame)), arguments.blocks)):
        table = stores / "block.csv"
        write_records(frame.iloc[block], table)
        paths = [str(root / name) for name in frame["image"].iloc[block]]
        decoding_rate("cv2.imread", paths, workers)  # warms the files
        runs: list[tuple[str, Callable[[], float]]] = [
            *((name, partial(decoding_rate, name, paths, workers)) for name in DECODERS),
            ("packing", partial(packing_rate, table, root, stores / "block", size, workers)),
            ("packing by transforms", partial(packing_rate, table, root, stores / "block", size, workers, False)),
        ]
        for name, run in (*runs[number % 5 :], *runs[: number % 5]):
            before = processor_time()
            rates.setdefault(name, []).append(run())
            spent.setdefault(name, []).append((processor_time() - before) / len(paths))
    opencv = [max(pair) for pair in zip(rates["cv2.imread"], rates["read + cv2.imdecode"], strict=True)]
    cheapest = [min(pair) for pair in zip(spent["cv2.imread"], spent["read + cv2.imdecode"], strict=True)]
    print(f"\n{'':22}{'images/s':>10}{'of OpenCV':>12}{'CPU us/image':>15}{'of OpenCV':>12}")
    for name in (*DECODERS, "packing", "packing by transforms"):
        ratio = statistics.median(one / best for one, best in zip(rates[name], opencv, strict=True))
        share = statistics.median(best / one for one, best in zip(spent[name], cheapest, strict=True))
        print(
            f"{name:22}{statistics.median(rates[name]):>10,.0f}{100 * ratio:>10.1f} %"
            f"{1e6 * statistics.median(spent[name]):>15,.0f}{100 * share:>10.1f} %"
        )

    table = stores / "records.csv"
    write_records(frame, table)
    started = time.perf_counter()
    packing = Packing(table, root, stores / "whole", size, workers, arguments.part_mib)
    peak: list[tuple[int, int]] = []
    watch = threading.Thread(target=lambda: peak.append(packing.peak_memory()))
    watch.start()
    printed = packing.finish()
    watch.join()
    seconds = time.perf_counter() - started
    print(f"\neverything at once: {printed.splitlines()[0]}")
    print(f"peak memory of all {peak[0][1]} processes together: {peak[0][0] / 1e6:.0f} MB")

    generator = random.Random(arguments.seed)
    again = stores / "killed"
    for _ in range(2):
        parts = kill_somewhere(
            Packing(table, root, again, size, workers, arguments.part_mib), again, seconds, generator
        )
        print(f"killed with {parts} parts finished")
    print(f"resumed: {Packing(table, root, again, size, workers, arguments.part_mib).finish().splitlines()[0]}")
    files = files_below(stores / "whole")
    same, different, _ = filecmp.cmpfiles(stores / "whole", again, files, shallow=False)
    if files != files_below(again) or len(same) != len(files):
        raise SystemExit(f"the stores differ: {different or set(files) ^ set(files_below(again))}")
    print(f"all {len(files)} files of both stores are the same, byte for byte")
    shutil.rmtree(stores)


if __name__ == "__main__":
    main()
