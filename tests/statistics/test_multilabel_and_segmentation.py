"""Findings that may occur together, and masks, against scikit-learn and MONAI."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_iou
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.multilabel import evaluate_findings, findings_to_dict
from radimagenet_monai.statistics.overlap.segmentation import Overlap, evaluate_segmentation, measure_overlap


def test_each_finding_is_evaluated_where_it_is_known() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (200, 3)).astype(float)
    labels[:80, 1] = np.nan
    labels[:, 2] = np.nan
    probabilities = rng.random((200, 3))
    thresholds = {"any": 0.5, "epidural": 0.3, "subdural": 0.5}
    found = evaluate_findings(labels, probabilities, list(thresholds), thresholds, ["p"] * 200)
    assert found["any"] is not None
    assert found["epidural"] is not None
    assert found["subdural"] is None
    assert found["any"].auc.auc == pytest.approx(roc_auc_score(labels[:, 0], probabilities[:, 0]))
    assert found["epidural"].images == 120
    assert found["epidural"].auc.auc == pytest.approx(roc_auc_score(labels[80:, 1], probabilities[80:, 1]))
    assert found["epidural"].operating_point.threshold == 0.3
    json.dumps(findings_to_dict(found), allow_nan=False)


def test_missed_lesions_are_counted_over_patients() -> None:
    """Eight patients of 25 images; of one of them 24 lesions are missed. Rao and Scott 1992, by hand."""
    patients = [f"p{number // 25}" for number in range(200)]
    overlaps = [Overlap(10, 10, 0 if number < 24 else 5) for number in range(200)]
    found = evaluate_segmentation(overlaps, patient_ids=patients)
    independent = evaluate_segmentation(overlaps)
    assert (independent.missed.low, independent.missed.high) == pytest.approx((0.0820, 0.1723), abs=5e-4)
    # Sums of the patients 24, 0, ..., 0 around 3 each: the variance of the share is 8/7 (21^2 + 7 * 3^2) / 200^2.
    effective = 0.12 * 0.88 / (8 / 7 * (21**2 + 7 * 3**2) / 200**2)
    z = 1.959964
    center = (0.12 + z**2 / (2 * effective)) / (1 + z**2 / effective)
    reach = z / (1 + z**2 / effective) * np.sqrt(0.12 * 0.88 / effective + z**2 / (4 * effective**2))
    assert (found.missed.low, found.missed.high) == pytest.approx((center - reach, center + reach), abs=1e-6)
    assert found.missed.high > 0.4, "five times as far from the share as if images were independent"
    assert (found.clustered, found.patients) == (True, 8)
    assert "200 images are of 8 patients" in found.notes[0]
    assert "Patients are unknown" in independent.notes[0]


def test_findings_of_another_number_are_refused() -> None:
    with pytest.raises(RadImageNetError, match="shape"):
        evaluate_findings(np.zeros((4, 2)), np.zeros((4, 3)), ["a", "b"], {"a": 0.5, "b": 0.5})


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.floats(0.0, 0.95))
def test_overlap_is_monais(seed: int, filled: float, found: float) -> None:
    rng = np.random.default_rng(seed)
    reference, predicted = rng.random((9, 13)) < filled, rng.random((9, 13)) < found
    overlap = measure_overlap(predicted, reference)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference)]
    if reference.any():
        assert overlap.dice == pytest.approx(float(compute_dice(*tensors)), abs=1e-6)
        assert overlap.iou == pytest.approx(float(compute_iou(*tensors)), abs=1e-6)
    else:
        assert overlap.dice is None
        assert overlap.iou is None


def test_images_without_a_lesion_are_counted_by_themselves() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    half = full.copy()
    half[:2] = False
    pairs = [(full, full), (half, full), (empty, full), (empty, empty), (half, empty)]
    found = evaluate_segmentation([measure_overlap(*pair) for pair in pairs])
    assert (found.images, found.with_lesion) == (5, 3)
    assert found.dice.mean == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found.iou.median == pytest.approx(0.5)
    assert (found.missed.successes, found.missed.total) == (1, 3)
    assert (found.segmented_without_lesion.successes, found.segmented_without_lesion.total) == (1, 2)
    assert not found.clustered
    nothing = evaluate_segmentation([measure_overlap(empty, empty)])
    assert nothing.dice.mean is None
    json.dumps(nothing.to_dict(), allow_nan=False)
    with pytest.raises(RadImageNetError, match="shape"):
        measure_overlap(empty, empty[:3])
