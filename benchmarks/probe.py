"""Linear probes of four encoders in three initializations, cached and chosen by nested folds, beside the plain way.

    python benchmarks/probe.py [--images 1000] [--image_size 160] [--folds 1] [--threads 2]

The images are phantoms in BUSI's format. No weights are given out, so the initializations are random ones: two drawn
from seeds and stored like imported ones, and the first of them under a wrong input convention. The peer does what a
short script does: it decodes, extracts features image by image in batches and hands them to scikit-learn's
LogisticRegressionCV, for one encoder and each of its folds anew; its time for the whole comparison is that times the
number of runs. Both are given the same images, size, folds, path of regularization and threads.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.comparison.probe.features import PROBE_IMAGE_SIZE, FrozenEncoder, task_preprocessing
from radimagenet_monai.comparison.probe.heads import C_PATH, INNER_FOLDS
from radimagenet_monai.comparison.probe.probe import probe_run
from radimagenet_monai.datasets.records.table import load_datalist
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models import build_classifier, build_encoder
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.store.row_resize import resize_to_uint8
from radimagenet_monai.weights.ablation import write_ablation

TASK = get_task("breast_mass_us_classification")


def write_weights(folder: Path, architecture: str) -> dict[str, str]:
    """Three initializations by name: two drawn and stored, and the first under another's input convention."""
    weights = {}
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = folder / f"{architecture}-{seed}.safetensors"
        save_encoder(path, build_classifier(architecture), {"seed": seed})
        weights[f"random {seed}"] = str(path)
    path = folder / f"{architecture}-ablation.safetensors"
    write_ablation(weights["random 0"], architecture, "radimagenet_keras", path)
    return {**weights, "wrong input": str(path)}


def plain(data: Path, records: Path, architecture: str, weights: str, size: int, fold: int) -> float:
    """The area under the ROC curve on the test part, without anything kept."""
    preprocessing, _, _ = task_preprocessing(TASK)
    encoder = build_encoder(architecture, weights).eval()
    parts = {}
    for part in ("train", "test"):
        items = load_datalist(records, data, TASK.classes, part, fold)
        features = []
        for start in range(0, len(items), 32):
            images = [
                preprocessing({"image": item["image"], "frame": 0})["image"] for item in items[start : start + 32]
            ]
            pixels = np.stack([resize_to_uint8(image.numpy(), (size, size), False) for image in images])
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                features.append(encoder.pooled(batch).numpy())
        labels = np.array([item["label"] for item in items])
        parts[part] = np.concatenate(features), labels, [item["patient_id"] for item in items]
    features, labels, patients = parts["train"]
    inner = list(StratifiedGroupKFold(INNER_FOLDS).split(features, labels, patients))
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=list(C_PATH), cv=inner, scoring="roc_auc", max_iter=10_000, l1_ratios=(0,), use_legacy_attributes=False
        ),
    )
    model.fit(features, labels)
    features, labels, _ = parts["test"]
    return float(roc_auc_score(labels, model.predict_proba(features)[:, 1]))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor in this process and those that it waited for."""
    clock, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - clock, sum(after[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="number of phantom images (default 1000)")
    parser.add_argument("--image_size", type=int, default=PROBE_IMAGE_SIZE, help="side in pixels")
    parser.add_argument("--folds", type=int, default=1, help="test folds of each encoder, up to 5 (default 1)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the computation")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    size = arguments.image_size
    with tempfile.TemporaryDirectory() as name, threadpool_limits(arguments.threads):
        folder = Path(name)
        data = write_phantom("busi", folder / "phantoms", patients=arguments.images, seed=0, workers=2)
        records, _ = prepare("busi", data, folder / "prepared")
        encoders = [(a, label, path) for a in ARCHITECTURES for label, path in write_weights(folder, a).items()]

        def probe_all() -> None:
            for architecture, label, weights in encoders:
                for fold in range(arguments.folds):
                    out = folder / "out" / f"{architecture}-{label}-{fold}"
                    frozen = FrozenEncoder(architecture, weights, size, cache_dir=folder / "cache")
                    probe_run(TASK, records, data, frozen, out, fold)

        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
            f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
            f"OpenCV {cv2.__version__}"
        )
        runs = len(encoders) * arguments.folds
        print(
            f"{runs} runs: {len(encoders)} encoders, {arguments.folds} test folds, {arguments.images} images, {size} px"
        )
        print("                                     seconds   seconds of the processor")
        first = timed(probe_all)
        print(f"first run, everything computed   {first[0]:11.1f} {first[1]:11.1f}", flush=True)
        second = timed(probe_all)
        print(f"second run, heads fitted again   {second[0]:11.1f} {second[1]:11.1f}", flush=True)
        totals = np.zeros(2)
        for architecture in ARCHITECTURES:
            areas: list[float] = []
            peer = functools.partial(plain, data, records, architecture, f"{folder}/{architecture}-0.safetensors", size)
            seconds = timed(lambda peer=peer, areas=areas: areas.append(peer(0)))
            totals += seconds
            out = folder / "out" / f"{architecture}-random 0-0" / "evaluation.json"
            ours = json.loads(out.read_text())["metrics"]["auc"]["auc"]
            print(
                f"plain, {architecture:26}{seconds[0]:11.1f} {seconds[1]:11.1f}   AUC {areas[0]:.3f}, ours {ours:.3f}"
            )
        totals *= runs / len(ARCHITECTURES)
        print(f"plain, all {runs:3} runs by proportion  {totals[0]:11.1f} {totals[1]:11.1f}")
        ratios = totals[1] / first[1], totals[1] / second[1]
        print(f"processor time, plain over ours: {ratios[0]:.1f} in the first run, {ratios[1]:.0f} in the second")


if __name__ == "__main__":
    main()
