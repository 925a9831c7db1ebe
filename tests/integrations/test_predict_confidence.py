"""Calibrated probabilities, abstention and unusual images, from a training to a prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from monai.bundle import create_workflow
from shallow_densenet import shallow_densenet
from small_bundles import REPOSITORY, Mean, untrained

from radimagenet_monai import predict
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.statistics.recalibration import recalibrate

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Gray pictures from dark to bright."""
    folder = tmp_path / "images"
    folder.mkdir()
    for level in range(10, 250, 20):
        picture = np.full((30, 30), level, np.uint8)
        picture[5:9, 5:9] = 255 - level
        cv2.imwrite(str(folder / f"{level:03d}.png"), picture)
    return folder


def test_undecided_below_a_calibrated_probability(images: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200)
    fitted = recalibrate(rng.random(200) < scores**2, scores)
    assert fitted is not None
    bundle = untrained(
        "breast_mass_us_classification",
        tmp_path,
        Mean(),
        threshold=0.5,
        calibration={"malignant": fitted.to_dict()},
    )
    predict(bundle, images, tmp_path / "all")
    everything = pd.read_csv(tmp_path / "all" / "predictions.csv")
    for row in everything.itertuples():
        expected = fitted.calibrated(row.probability_malignant)
        shown = (row.calibrated_malignant, row.calibrated_malignant_low, row.calibrated_malignant_high)
        assert shown == pytest.approx(expected, rel=1e-6)
    predict(bundle, images, tmp_path / "some", abstain_below=0.7)
    some = pd.read_csv(tmp_path / "some" / "predictions.csv")
    called = everything["decision"] == "malignant"
    sure = np.where(called, everything["calibrated_malignant"], 1 - everything["calibrated_malignant"])
    assert ((some["decision"] == "abstained") == (sure < 0.7)).all()
    assert 0 < (sure < 0.7).sum() < len(sure)
    assert (some["decision"] == everything["decision"])[sure >= 0.7].all()
    head = json.loads((tmp_path / "some" / "predictions.json").read_text())
    assert head["abstained"] == (sure < 0.7).sum()
    assert "left undecided" in (tmp_path / "some" / "report.html").read_text()


def test_a_model_without_calibration_cannot_abstain(images: Path, tmp_path: Path) -> None:
    bundle = untrained("breast_mass_us_classification", tmp_path, Mean(), threshold=0.5)
    with pytest.raises(ConfigurationError, match="no calibration of malignant"):
        predict(bundle, images, tmp_path / "out", abstain_below=0.7)
    assert not (tmp_path / "out").exists()
    predict(bundle, images, tmp_path / "out")
    assert "keeps no calibration" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.long
def test_a_training_keeps_what_tells_unusual_images(tmp_path: Path) -> None:
    """Phantoms are usual for a model of phantoms; boards, stripes and white are not. Its facts stay small."""
    from radimagenet_monai.phantoms import write_phantom

    bundle = Path(shutil.copytree(REPOSITORY / "bundles" / "breast_mass_us_classification", tmp_path / "bundle"))
    busi = write_phantom("busi", tmp_path / "busi", patients=420, seed=3, size=(72, 96), progress=False)
    with shallow_densenet():
        workflow: Any = create_workflow(
            config_file=str(bundle / "configs" / "train.json"),
            workflow_type="train",
            bundle_root=str(bundle),
            dataset_dir=str(busi),
            architecture="densenet121",
            image_size=32,
            batch_size=8,
            num_workers=0,
            max_epochs=1,
        )
        workflow.run()
        facts = json.loads((bundle / "models" / "model.json").read_text())
        assert facts["calibration"]["malignant"]["images"] > 30
        assert len(json.dumps(facts["validation_features"])) < 4000
        odd = tmp_path / "odd"
        odd.mkdir()
        down, across = np.mgrid[:72, :96]
        pictures = [(down // 12 + across // 12) % 2 * 255, across // 4 % 2 * 255, np.full((72, 96), 255)]
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(odd / f"{number}.png"), picture.astype(np.uint8))
        predict(bundle, busi, tmp_path / "usual", report=False)
        predict(bundle, odd, tmp_path / "unusual", report=False)
    usual = pd.read_csv(tmp_path / "usual" / "predictions.csv")
    assert usual["unusual"].mean() < 0.1
    unusual = pd.read_csv(tmp_path / "unusual" / "predictions.csv")
    assert unusual["unusual"].all()
