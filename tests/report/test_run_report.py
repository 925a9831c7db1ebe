"""Pages about evaluations of every kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.report.run_report import write_run_report
from radimagenet_monai.report.sections.evaluation import binary_sections
from radimagenet_monai.statistics.classification import evaluate_binary
from radimagenet_monai.statistics.multiclass import evaluate_multiclass
from radimagenet_monai.statistics.multilabel import evaluate_findings, findings_to_dict
from radimagenet_monai.statistics.overlap.segmentation import Overlap, evaluate_segmentation
from radimagenet_monai.statistics.overlap.surface_distance import SurfaceDistance

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 60)
SCORES = np.clip(LABELS * 0.3 + RNG.random(60) * 0.7, 0, 1)


def page(folder: Path, metrics: dict, classes: list[str], rows: list[str], **more: object) -> str:
    evaluation = {
        "settings": {"bundle": "a_bundle", "classes": classes},
        "classes": classes,
        "metrics": metrics,
        **more,
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "predictions.csv").write_text("\n".join(rows) + "\n")
    text = write_run_report(folder).read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text), "the page refers to something outside of it"
    return text


def test_two_classes(tmp_path: Path) -> None:
    metrics = evaluate_binary(LABELS, SCORES, 0.5, [f"p{i}" for i in range(60)]).to_dict()
    rows = ["file,frame,probability_benign,probability_malignant,threshold,decision,label,problem"]
    rows += [
        f"{i}.png,0,{1 - score},{score},0.5,benign,{['benign', 'malignant'][label]},"
        for i, (score, label) in enumerate(zip(SCORES, LABELS, strict=True))
    ]
    rows.append("bad.png,0,,,0.5,,benign,decode: cut short")
    text = page(tmp_path, metrics, ["benign", "malignant"], rows)
    assert f"{metrics['auc']['auc']:.3f} (95% CI: " in text
    assert "ROC curve of the test split" in text
    assert "decode: cut short" in text
    exams = page(tmp_path, metrics, ["benign", "malignant"], rows, aggregate="mean")
    assert "the mean over their slices" in exams
    assert "ROC curve" not in exams, "its curve would be of slices"


def test_the_method_of_the_intervals_is_named(tmp_path: Path) -> None:
    rows = ["file,frame,probability_benign,probability_malignant,threshold,decision,label,problem"]
    single = evaluate_binary(LABELS, SCORES, 0.5, [f"p{i}" for i in range(60)]).to_dict()
    text = page(tmp_path, single, ["benign", "malignant"], rows, aggregate="mean")
    assert "DeLong, logit scale" in text
    assert "Obuchowski" not in text
    several = evaluate_binary(LABELS, SCORES, 0.5, [f"p{i // 3}" for i in range(60)]).to_dict()
    text = page(tmp_path, several, ["benign", "malignant"], rows, aggregate="mean")
    assert "Obuchowski over patients" in text
    assert "DeLong" not in text
    assert "60 images are of 20 patients" in text


def test_many_classes(tmp_path: Path) -> None:
    labels = RNG.integers(0, 3, 90)
    metrics = evaluate_multiclass(labels, RNG.dirichlet(np.ones(3), 90), ["CT", "MR", "US"]).to_dict()
    text = page(tmp_path, metrics, ["CT", "MR", "US"], ["file,frame,decision,problem"])
    assert "Confusion matrix of 3 classes" in text
    assert f"{metrics['balanced_accuracy']:.3f}" in text


def test_findings(tmp_path: Path) -> None:
    labels = np.stack([LABELS, np.full(60, np.nan)], axis=1)
    names = ["any", "subdural"]
    found = evaluate_findings(labels, np.stack([SCORES, SCORES], axis=1), names, dict.fromkeys(names, 0.5), None)
    rows = [
        "file,frame,probability_any,probability_subdural,decision_any,decision_subdural,label_any,label_subdural,problem"
    ]
    rows += [f"{i}.dcm,0,{s},{s},1,1,{y},," for i, (s, y) in enumerate(zip(SCORES, LABELS, strict=True))]
    text = page(tmp_path, {"findings": findings_to_dict(found)}, names, rows)
    assert "any: ROC curve" in text
    assert "not known of any image" in text
    assert "subdural: ROC curve" not in text


def test_masks_show_best_middle_and_worst(tmp_path: Path) -> None:
    overlaps = [Overlap(100, 100, common) for common in range(10, 100, 10)] + [Overlap(5, 0, 0)]
    rows = ["file,frame,mask,rows,columns,lesion_pixels,reference_pixels,dice,iou,problem"]
    (tmp_path / "overlays").mkdir()
    for number, overlap in enumerate(overlaps):
        dice = "" if overlap.dice is None else overlap.dice
        rows.append(f"{number}.png,0,masks/{number}.png,9,9,100,100,{dice},,")
        cv2.imwrite(str(tmp_path / "overlays" / f"{number}.png"), np.zeros((9, 9, 3), np.uint8))
    distances = [SurfaceDistance(10.0 - n, n / 10, "pixels", 2.0) for n in range(1, 10)]
    distances.append(SurfaceDistance(None, None, "pixels", 2.0))
    text = page(tmp_path, evaluate_segmentation(overlaps, distances).to_dict(), ["background", "lesion"], rows)
    for caption in ("best: 8.png", "best: 7.png", "middle: 4.png", "worst: 0.png", "worst: 1.png"):
        assert caption in text
    assert "in which one was seen" in text
    assert "HD95 in pixels, median" in text
    assert "normalized surface distance at 2 pixels, mean" in text


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"holds no evaluation\.json"):
        write_run_report(tmp_path)


def test_a_further_measure_is_shown_under_its_name() -> None:
    labels, probabilities = [0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]
    metrics = evaluate_binary(labels, probabilities, 0.5).to_dict()
    (plain,) = binary_sections(metrics, ("no", "yes"), [], "mean")
    (section,) = binary_sections({**metrics, "net_benefit": 0.25}, ("no", "yes"), [], "mean")
    assert [row for row in section.rows if row not in plain.rows] == [["net benefit", "0.250"]]
