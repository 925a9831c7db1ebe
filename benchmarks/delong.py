"""DeLong's paired test of two models on a million images: seconds and memory, beside scikit-learn's two AUCs alone.

    python benchmarks/delong.py [--images 1000000]

Each side runs in a process of its own; the peer computes no variance and no test, for no package of its rank does.
Wanted: below 3 s and below 1 GB. Linux, for the memory is VmHWM of the process.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROUNDS = 3


def data(images: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One positive in three, scores of two models that agree in part."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(images) % 3 == 0).astype(int)
    shared = rng.normal(size=images) + labels
    return labels, {name: shared + rng.normal(size=images) for name in ("first", "second")}


def ours(labels: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    from radimagenet_monai.statistics.auc.delong import compare_aucs

    compare_aucs(labels, scores)


def theirs(labels: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    from sklearn.metrics import roc_auc_score

    for values in scores.values():
        roc_auc_score(labels, values)


def measure(side: str, images: int) -> None:
    """Print the fastest of some rounds in seconds and the peak memory of this process in MB."""
    run = {"ours": ours, "theirs": theirs}[side]
    labels, scores = data(images)
    run(labels[:100], {name: values[:100] for name, values in scores.items()})
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run(labels, scores)
        seconds.append(time.perf_counter() - start)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(min(seconds), int(peak[1]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure(options.side, options.images)
        return
    found = {}
    for side in ("ours", "theirs"):
        command = [sys.executable, __file__, "--images", str(options.images), "--side", side]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found[side] = [float(number) for number in run.stdout.split()]
    print(f"{options.images:,} images, two models, fastest of {ROUNDS}")
    print(f"DeLong's paired test           {found['ours'][0]:6.2f} s  {found['ours'][1]:6.0f} MB")
    print(f"scikit-learn, the AUCs alone   {found['theirs'][0]:6.2f} s  {found['theirs'][1]:6.0f} MB")
    print(f"ratio                          {found['theirs'][0] / found['ours'][0]:6.2f} x")
    if found["ours"][0] > 3 or found["ours"][1] > 1024:
        sys.exit("more than 3 s or 1 GB")


if __name__ == "__main__":
    main()
