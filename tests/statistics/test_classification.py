"""The whole binary evaluation against scikit-learn, and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, roc_auc_score

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.classification import evaluate_binary


def test_figures_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    probabilities = np.clip(0.3 * labels + rng.random(200) * 0.7, 0, 1)
    evaluation = evaluate_binary(labels, probabilities, 0.5, [str(number) for number in range(200)])
    assert evaluation.auc.auc == pytest.approx(roc_auc_score(labels, probabilities))
    assert evaluation.average_precision == pytest.approx(average_precision_score(labels, probabilities))
    assert evaluation.brier == pytest.approx(brier_score_loss(labels, probabilities))
    assert evaluation.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, probabilities >= 0.5))
    assert evaluation.operating_point.accuracy.estimate == pytest.approx(np.mean(labels == (probabilities >= 0.5)))
    assert (evaluation.images, evaluation.positives, evaluation.patients) == (200, labels.sum(), 200)
    assert evaluation.notes == ()


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
def test_json_holds_no_nan(labels: list[int]) -> None:
    evaluation = evaluate_binary(labels, np.array([0.1, 0.2, 0.8, 0.9], np.float32), np.float32(0.5))
    text = json.dumps(evaluation.to_dict(), allow_nan=False)
    assert json.loads(text)["auc"]["positives"] == sum(labels)
    assert evaluation.notes
    assert evaluation.patients is None


def test_several_images_a_patient_are_noted() -> None:
    evaluation = evaluate_binary([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.5, ["a", "a", "b", "c"])
    assert evaluation.patients == 3
    assert evaluation.auc_method.name == "Obuchowski"
    assert "4 images are of 3 patients; intervals and tests are over patients" in " ".join(evaluation.notes)


def test_copies_of_a_patients_image_leave_every_interval_as_wide() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    probabilities = np.clip(0.3 * labels + rng.random(200) * 0.7, 0, 1)
    patients = [f"patient {number}" for number in range(200)]
    single = evaluate_binary(labels, probabilities, 0.5, patients)
    copied = evaluate_binary(*(np.repeat(a, 5) for a in (labels, probabilities)), 0.5, np.repeat(patients, 5).tolist())
    assert (copied.auc.low, copied.auc.high) == pytest.approx((single.auc.low, single.auc.high), rel=1e-9)
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        one, many = getattr(single.operating_point, name), getattr(copied.operating_point, name)
        assert many.total == 5 * one.total
        assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=0.003)


def test_unknown_patients_are_not_counted() -> None:
    evaluation = evaluate_binary([0, 1, 0], [0.1, 0.2, 0.3], 0.5, ["a", "", "b"])
    assert evaluation.patients is None
    assert "patients of 1 of 3 images are unknown" in " ".join(evaluation.notes)


@pytest.mark.parametrize(
    ("probabilities", "patients", "message"),
    [([0.1, 1.2], None, "probability 1.2 at position 1"), ([0.1, 0.2], ["a"], "1 patient ids were given for 2 images")],
)
def test_bad_input_is_named(probabilities: list[float], patients: list[str] | None, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        evaluate_binary([0, 1], probabilities, 0.5, patients)


def test_evaluation_needs_no_torch() -> None:
    code = "import sys, radimagenet_monai.statistics.classification; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
