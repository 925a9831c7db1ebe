"""Linear probe: how well a frozen encoder's features solve a task, without training the encoder.

One run is one encoder on one fold. It writes the same files as the evaluation of a bundle, so the same code reads
both::

    python -m radimagenet_monai.comparison.probe.probe --task breast_mass_us_classification --records records.csv \\
        --root D --architecture densenet121 --weights radimagenet_keras --fold 0 --out OUT
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from radimagenet_monai.catalog.tasks import Kind, Task, get_task
from radimagenet_monai.comparison.probe.features import PROBE_IMAGE_SIZE, FeatureTable, FrozenEncoder, encoder_features
from radimagenet_monai.comparison.probe.heads import C_PATH, INNER_FOLDS, Head, fit_head
from radimagenet_monai.core import command_line
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, RecordsError, one_line
from radimagenet_monai.core.flags import with_known_flags
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.datasets.records.table import read_records, to_datalist
from radimagenet_monai.engine.handlers.run_record import RUN_FILE, hardware, hash_datalist, package_versions
from radimagenet_monai.engine.outputs.predictions import area_under_roc
from radimagenet_monai.engine.outputs.writers import EvaluationWriter, PredictionWriter
from radimagenet_monai.engine.start.preflight import require_writable
from radimagenet_monai.engine.trained.model_file import DEFAULT_THRESHOLD
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam, exam_of
from radimagenet_monai.statistics.thresholds import youden_threshold
from radimagenet_monai.weights.store import identify_weights

Items = list[dict[str, Any]]


def probe_run(
    task: Task,
    records: str | os.PathLike[str],
    root: str | os.PathLike[str],
    frozen: FrozenEncoder,
    out: str | os.PathLike[str] = "probe",
    fold: int | None = None,
    classes: Sequence[str] | None = None,
    inner_folds: int = INNER_FOLDS,
) -> None:
    """Fit heads to the training part of a records table and write predictions for its test part.

    The head sees the same data as a training run: ``split`` or ``fold`` divide the table as for a bundle, and the
    validation part is not used. Regularization and decision threshold come from folds within the training part
    (`fit_head`). The features of all images of the table are computed and cached for runs on other folds.

    Parameters
    ----------
    task
        A classification or pretraining task. Each of its findings, if any, gets a separate head.
    records
        The records table.
    root
        Folder that its paths, and those in ``predictions.csv``, are relative to.
    frozen
        The encoder; its seed is also that of the inner folds.
    out
        Output folder for ``predictions.csv``, ``predictions.json``, ``evaluation.json``, ``run.json`` and, for a task
        scored by exam, ``exams.csv``.
    fold
        Fold to test on; ``None`` uses the ``split`` column.
    classes
        Class names in index order, instead of the task's.
    inner_folds
        As for `fit_head`.

    Raises
    ------
    ConfigurationError
        For a segmentation task, an unknown name or a size that is too small.
    RecordsError
        For unsuitable records, or a training part with one class.
    WeightsError, StoreError
        As for `encoder_features`.
    """
    if task.kind is Kind.SEGMENTATION:
        raise ConfigurationError(f"{task.name} is a segmentation; a probe needs a task of classes")
    names = list(classes or task.classes)
    require_writable(out, frozen.cache_dir)
    frame = read_records(records, names)
    parts = {
        part: to_datalist(frame, root, names, part, fold, check_files=False, findings=task.findings or None)
        for part in ("train", "test")
    }
    settings = {
        "method": "linear probe",
        "bundle": task.name,
        "architecture": frozen.architecture,
        "weights": frozen.weights,
        "classes": names,
        "aggregate": task.aggregate,
        "image_size": frozen.image_size,
        "split": "test",
        "fold": fold,
        "seed": frozen.seed,
        "inner_folds": inner_folds,
        "path": list(C_PATH),
    }
    with _run_record(Path(out) / RUN_FILE, settings) as record:
        record["weights"] = identify_weights(frozen.architecture, frozen.weights)
        started = time.monotonic()
        table = encoder_features(task, records, root, frozen)
        settings["intensity"] = table.intensity
        record["weights"]["tensors_sha256"] = table.weights_sha256
        record["features"] = {"images": len(table.index), "computed": table.computed, "seconds": _since(started)}
        train, train_features = _known(parts["train"], table)
        test, test_features = _known(parts["test"], table)
        for part, items in (("train", train), ("test", test)):
            patients = {item["patient_id"] for item in items}
            record[part] = {
                "images": len(items),
                "patients": None if "" in patients else len(patients),
                "data_sha256": hash_datalist(items),
            }
        started = time.monotonic()
        # The same number of threads as torch: parallel runs must not take each other's cores.
        with threadpool_limits(torch.get_num_threads()):
            probabilities, thresholds, record["heads"] = _predict(
                train, train_features, test_features, task, names, inner_folds, frozen.seed
            )
        record["heads_seconds"] = _since(started)
        _write(Path(out), Path(root), test, probabilities, thresholds, task, names, settings)


def _known(items: Items, table: FeatureTable) -> tuple[Items, np.ndarray]:
    """The items that could be read, and their features."""
    rows = np.array([item["record"] for item in items], dtype=np.int64)
    places = np.minimum(np.searchsorted(table.index, rows), len(table.index) - 1)
    found = table.index[places] == rows
    return [item for item, kept in zip(items, found.tolist(), strict=True) if kept], table.features[places[found]]


def _predict(
    train: Items,
    train_features: np.ndarray,
    test_features: np.ndarray,
    task: Task,
    classes: Sequence[str],
    inner_folds: int,
    seed: int,
) -> tuple[np.ndarray, dict[str, float], list[dict[str, Any]]]:
    """Probabilities of the test images, decision thresholds, and how each head was chosen."""
    labels = np.array([item["label"] for item in train])
    if not task.findings:
        head = _choose(train, train_features, labels, len(classes), task.aggregate, inner_folds, seed)
        probabilities = head.fit.probabilities(test_features)
        if len(classes) > 2:
            return probabilities, {}, [_described("classes", head)]
        threshold, note = _threshold(train, labels, head, task.aggregate)
        return probabilities, {classes[1]: threshold}, [_described(classes[1], head, threshold, note)]
    columns, thresholds, described = [], {}, []
    for column, name in enumerate(task.findings):
        known = np.flatnonzero(~np.isnan(labels[:, column]))
        truth = labels[known, column].astype(np.int64)
        if column and len(np.unique(truth)) < 2:
            # A rare finding must not prevent probing the others.
            note = f"the training part tells no presence of '{name}' from its absence; its probability is constant"
            columns.append(np.full(len(test_features), truth.mean() if len(truth) else 0.0))
            thresholds[name] = DEFAULT_THRESHOLD
            described.append({"output": name, "C": None, "threshold": DEFAULT_THRESHOLD, "notes": [note]})
            continue
        items = [train[place] for place in known]
        head = _choose(items, train_features[known], truth, 2, task.aggregate, inner_folds, seed)
        columns.append(head.fit.probabilities(test_features)[:, 1])
        thresholds[name], note = _threshold(items, truth, head, task.aggregate)
        described.append(_described(name, head, thresholds[name], note))
    return np.stack(columns, axis=1), thresholds, described


def _choose(
    items: Items,
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    aggregate: str,
    inner_folds: int,
    seed: int,
) -> Head:
    patients = [item["patient_id"] or "/".join(exam_of(item, item["record"])) for item in items]

    def area(rows: np.ndarray, probabilities: np.ndarray) -> float | None:
        try:
            return area_under_roc(by_exam(PredictionTable(rows, probabilities, labels[rows]), items, aggregate))
        except RecordsError:  # an inner fold lacks a class
            return None

    return fit_head(features, labels, patients, num_classes, area, inner_folds, seed)


def _threshold(items: Items, labels: np.ndarray, head: Head, aggregate: str) -> tuple[float, str]:
    """Threshold with the greatest Youden index on out-of-fold predictions of the inner fits, and the rule in words."""
    rows = np.flatnonzero(~np.isnan(head.out_of_fold[:, 1]))
    if len(np.unique(labels[rows])) == 2:
        table = by_exam(PredictionTable(rows, head.out_of_fold[rows], labels[rows]), items, aggregate)
        chosen = youden_threshold(np.asarray(table.labels), table.probabilities[:, 1])
        return chosen.threshold, "maximizes Youden's index on the inner folds"
    return DEFAULT_THRESHOLD, "no inner folds to choose it on"


def _described(name: str, head: Head, threshold: float | None = None, rule: str | None = None) -> dict[str, Any]:
    chosen = {} if threshold is None else {"threshold": threshold, "threshold_rule": rule}
    return {
        "output": name,
        "C": head.C,
        "inner_folds": head.inner_folds,
        "inner_auc": [{"C": value, "folds": folds} for value, folds in head.inner_scores.items()],
        **chosen,
        "notes": list(head.notes),
    }


def _write(
    out: Path,
    root: Path,
    test: Items,
    probabilities: np.ndarray,
    thresholds: Mapping[str, float],
    task: Task,
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    labels = np.array([item["label"] for item in test])
    table = PredictionTable(np.arange(len(test)), probabilities, labels, exclusive=not task.findings)
    # The writers of a bundle's evaluation read the state of an engine, which a probe does not have.
    state = SimpleNamespace(state=SimpleNamespace(predictions=table, thresholds=dict(thresholds)))
    PredictionWriter(out, test, classes, root, "", findings=task.findings, aggregate=task.aggregate)(state)
    EvaluationWriter(out, test, classes, settings, findings=task.findings, aggregate=task.aggregate)(state)


@contextlib.contextmanager
def _run_record(path: Path, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Keep ``run.json`` from the start to the end of a run, even if it fails."""
    started = time.monotonic()
    record: dict[str, Any] = {
        "settings": settings,
        "status": "running",
        "started": _now(),
        "versions": package_versions(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
    }

    def write() -> None:
        atomic_write_text(path, json.dumps(without_folders(record), indent=2) + "\n")

    write()
    try:
        yield record
    except BaseException as error:
        record.update(status="failed", ended=_now(), error=one_line(f"{type(error).__name__}: {error}"))
        with contextlib.suppress(OSError):  # the error that ended the run may come from this disk
            write()
        raise
    record.update(status="completed", ended=_now(), seconds=_since(started))
    write()


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def probe(
    task: str,
    records: str,
    root: str,
    architecture: str,
    weights: str,
    out: str,
    fold: int | None = None,
    image_size: int = PROBE_IMAGE_SIZE,
    seed: int = 0,
    cache_dir: str | None = None,
    classes: Sequence[str] | None = None,
    inner_folds: int = INNER_FOLDS,
    batch_size: int = 32,
    unreadable: Literal["stop", "skip"] = "stop",
) -> None:
    """Probe one frozen encoder on one fold of a task.

    Args:
        task: name of the task, such as breast_mass_us_classification.
        records: the records table.
        root: folder that its paths are relative to.
        architecture: resnet50, densenet121, inceptionv3 or inceptionresnetv2.
        weights: a name in the weight store, or a path.
        out: output folder for predictions.csv, evaluation.json and run.json.
        fold: fold to test on; by default the split column decides.
        image_size: side in pixels.
        seed: seed of random weights and of the inner folds.
        cache_dir: folder of packed images and features, shared between runs; by default OUT/cache.
        classes: a list, instead of the task's.
        inner_folds: folds of the training part that choose the regularization.
        batch_size: images per forward pass.
        unreadable: stop, or skip images that cannot be read.
    """
    cache = Path(str(out)) / "cache" if cache_dir is None else str(cache_dir)
    frozen = FrozenEncoder(str(architecture), str(weights), image_size, seed, cache, batch_size, unreadable, True)
    probe_run(get_task(str(task)), str(records), str(root), frozen, str(out), fold, classes, inner_folds)
    print(str(out))


def main() -> None:
    """``python -m radimagenet_monai.comparison.probe.probe``, with errors in one line."""
    from radimagenet_monai.engine.start.error_lines import exit_status, user_error_line

    name = "python -m radimagenet_monai.comparison.probe.probe"
    try:
        command_line.run(command_line.checked(probe, name), sys.argv[1:], name)
    except (RadImageNetError, OSError) as error:
        known = {item.name for item in command_line.parameters_of(probe)}
        print(with_known_flags(user_error_line(error) or f"error: {error}", known), file=sys.stderr)
        raise SystemExit(exit_status(error)) from None


if __name__ == "__main__":
    main()
