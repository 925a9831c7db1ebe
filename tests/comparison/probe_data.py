"""A small dataset whose classes a frozen encoder can tell apart, for the tests of the probe."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from radimagenet_monai.datasets.records.table import write_records

TASK = "breast_mass_us_classification"
ARCHITECTURE = "densenet121"
SIZE = 32


def write_speckle(
    folder: Path, images: int = 24, classes: tuple[str, ...] = ("benign", "malignant"), seed: int = 0
) -> Path:
    """Two pictures a patient, finer speckle for each further class; the path of ``records.csv`` with three folds."""
    generator = np.random.default_rng(7 + seed)
    rows = []
    for number in range(images):
        patient = number // 2
        category = patient % len(classes)
        noise = generator.integers(0, 256, (48, 64), dtype=np.uint8)
        picture = cv2.GaussianBlur(noise, (0, 0), 3.0 / (1 + category))
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
        rows.append(
            {
                "image": f"{number:03d}.png",
                "label": classes[category],
                "patient_id": f"p{patient}",
                "fold": str((patient // len(classes)) % 3),
            }
        )
    write_records(pd.DataFrame(rows), folder / "records.csv")
    return folder / "records.csv"
