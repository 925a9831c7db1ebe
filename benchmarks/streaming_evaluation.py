"""Evaluation of 165 classes, counted batch by batch, beside the same figures from a table of all predictions.

    python benchmarks/streaming_evaluation.py [--images 100000]

Each side runs in a process of its own and generates the same probabilities batch by batch; the time of that is taken
off. The peer collects them in a table and gives it to `evaluate_multiclass`, as evaluations of two classes still do.
Linux, for the memory is VmHWM of the process, here what it grows by over the imports.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.statistics.multiclass import evaluate_multiclass
from radimagenet_monai.statistics.streaming.counts import StreamingCounts
from radimagenet_monai.statistics.streaming.evaluation import evaluate_counts
from radimagenet_monai.statistics.streaming.groups import radimagenet_groups

CLASSES = [label.key for label in LABELS]
BATCH = 256


def batches(images: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels with a long tail, from tens of thousands of images a class to a few, and float32 probabilities."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, len(CLASSES) + 1) ** 1.5
    for start in range(0, images, BATCH):
        size = min(BATCH, images - start)
        labels = rng.choice(len(CLASSES), size, p=shares / shares.sum())
        logits = rng.standard_normal((size, len(CLASSES)), dtype=np.float32) * 2
        logits[np.arange(size), labels] += 4
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        yield labels, powers / powers.sum(axis=1, keepdims=True)


def counted(images: int) -> dict[str, Any]:
    counts = StreamingCounts(len(CLASSES))
    for labels, probabilities in batches(images):
        counts.update(labels, probabilities)
    return evaluate_counts(counts, CLASSES, radimagenet_groups(CLASSES)).to_dict()


def tabled(images: int) -> dict[str, Any]:
    labels, probabilities = zip(*batches(images), strict=True)
    return evaluate_multiclass(np.concatenate(labels), np.concatenate(probabilities), CLASSES).to_dict()


def peak() -> float:
    """Highest memory of this process so far, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(side: str, images: int) -> None:
    """Print seconds, growth of the peak memory and the figures that both sides have."""
    run = {"counted": counted, "tabled": tabled}[side]
    before = peak()
    start = time.perf_counter()
    found = run(images)
    seconds = time.perf_counter() - start
    grown = peak() - before
    start = time.perf_counter()
    for _ in batches(images):
        pass
    seconds -= time.perf_counter() - start
    figures = {name: found[name]["estimate"] for name in ("top1", "top5")}
    figures |= {name: found[name] for name in ("balanced_accuracy", "auc_macro")}
    print(json.dumps({"seconds": seconds, "megabytes": grown, "bound": found.get("auc_macro_bound"), **figures}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", choices=["counted", "tabled"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure(options.side, options.images)
        return
    found = {}
    for side in ("counted", "tabled"):
        command = [sys.executable, __file__, "--images", str(options.images), "--side", side]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found[side] = json.loads(run.stdout)
    ours, theirs = found["counted"], found["tabled"]
    print(f"{options.images:,} images of {len(CLASSES)} classes, in batches of {BATCH}")
    print(f"{'':24}{'counted':>12}{'table':>12}{'ratio':>9}")
    for name, unit in (("seconds", "s"), ("megabytes", "MB")):
        ratio = theirs[name] / ours[name]
        print(f"{name:24}{ours[name]:>9.2f} {unit:2}{theirs[name]:>9.2f} {unit:2}{ratio:>8.1f}x")
    for name in ("top1", "top5", "balanced_accuracy", "auc_macro"):
        print(f"{name:24}{ours[name]:>12.6f}{theirs[name]:>12.6f}")
    print(f"the area is right within {ours['bound']:.1e}")
    exact = all(ours[name] == theirs[name] for name in ("top1", "top5", "balanced_accuracy"))
    if not exact or abs(ours["auc_macro"] - theirs["auc_macro"]) > ours["bound"]:
        sys.exit("the two do not agree")


if __name__ == "__main__":
    main()
