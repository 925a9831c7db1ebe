"""A comparison small enough for a test: 40 phantom patients, two initializations, three folds, 64 pixels."""

from __future__ import annotations

from pathlib import Path

import torch

from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models.classifier import Classifier
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.weights.pretrained_encoder import build_encoder

TASK = "breast_mass_us_classification"


def write_small_phantom(folder: Path) -> Path:
    """Images, records and ``encoder.safetensors``; the folder."""
    root = write_phantom("busi", folder / "busi", patients=40, seed=3, size=(72, 96), progress=False)
    prepare("busi", root, folder / "prepared")
    torch.manual_seed(1)
    save_encoder(folder / "encoder.safetensors", Classifier(build_encoder("densenet121"), 2), {"epoch": 1})
    return folder


def arguments_of(folder: Path, out: Path, *more: str, protocol: str = "probe") -> list[str]:
    """Of ``radimagenet``."""
    return [
        "compare",
        *("--task", TASK),
        *("--records", str(folder / "prepared")),
        *("--weights", f"random,trained={folder / 'encoder.safetensors'}"),
        *("--architectures", "densenet121", "--folds", "3", "--image_size", "64"),
        *("--protocol", protocol, "--out", str(out)),
        *more,
    ]
