"""An evaluation of many classes as a run leaves it, of computed probabilities."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.statistics.streaming.counts import StreamingCounts
from radimagenet_monai.statistics.streaming.evaluation import evaluate_counts
from radimagenet_monai.statistics.streaming.groups import radimagenet_groups

CLASSES = [label.key for label in LABELS]


def write_evaluation(
    folder: Path,
    images: int = 1500,
    classes: Sequence[str] = CLASSES,
    warning: str | None = None,
    even: bool = False,
) -> StreamingCounts:
    """``evaluation.json`` and ``confusion.csv`` of classes confused mostly within a region.

    The classes have a long tail, or are ``even`` in size.
    """
    rng = np.random.default_rng(0)
    number = len(classes)
    groups = radimagenet_groups(classes)
    shares = np.exp(rng.normal(0, 2, number))
    labels = np.arange(images) % number if even else rng.choice(number, images, p=shares / shares.sum())
    logits = rng.normal(0, 1.2, (images, number))
    if groups:
        regions = np.array(groups["region"])
        logits += 3 * (regions[labels][:, None] == regions[None])
    logits[np.arange(images), labels] += rng.normal(2, 1, images)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    counts = StreamingCounts(number)
    counts.update(labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    report = {
        "settings": {"bundle": "radimagenet_resnet50_pretraining", "classes": list(classes)},
        "classes": list(classes),
        "aggregate": "none",
        "image_warning": warning,
        "metrics": evaluate_counts(counts, classes, groups).to_dict(),
    }
    (folder / "evaluation.json").write_text(json.dumps(report))
    with (folder / "confusion.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["true class", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, counts.confusion.tolist(), strict=True))
    return counts
