"""The choice between DeLong and Obuchowski."""

from __future__ import annotations

import numpy as np
import pytest

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.auc.clustered import compare_clustered_aucs, estimate_clustered_auc
from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.discrimination import compare_discrimination, estimate_discrimination

LABELS = np.arange(40) % 2
SCORES = np.random.default_rng(0).normal(size=(2, 40)) + LABELS
MODELS = {"a": SCORES[0], "b": SCORES[1]}


def test_images_of_different_patients_are_delongs() -> None:
    ids = [f"patient {number}" for number in range(40)]
    estimate, method = estimate_discrimination(LABELS, SCORES[0], ids)
    assert estimate == estimate_auc(LABELS, SCORES[0])
    assert (method.name, method.clusters, method.patients, method.note) == ("DeLong", None, 40, "")
    comparison, method = compare_discrimination(LABELS, MODELS, ids, confidence=0.9)
    assert comparison.pairs == compare_aucs(LABELS, MODELS, confidence=0.9).pairs
    assert method.name == "DeLong"


def test_several_images_of_a_patient_are_obuchowskis() -> None:
    ids = [f"patient {number // 3}" for number in range(40)]
    estimate, method = estimate_discrimination(LABELS, SCORES[0], ids)
    assert estimate == estimate_clustered_auc(LABELS, SCORES[0], ids)
    assert (method.name, method.clusters, method.patients) == ("Obuchowski", 14, 14)
    assert method.note == "40 images are of 14 patients; intervals and tests are over patients."
    comparison, method = compare_discrimination(LABELS, MODELS, ids)
    assert comparison.pairs == compare_clustered_aucs(LABELS, MODELS, ids).pairs
    assert method.name == "Obuchowski"


@pytest.mark.parametrize("ids", [None, [None] * 40, [""] * 40, [float("nan")] * 40])
def test_unknown_patients_are_said(ids: list | None) -> None:
    estimate, method = estimate_discrimination(LABELS, SCORES[0], ids)
    assert estimate == estimate_auc(LABELS, SCORES[0])
    assert (method.name, method.patients) == ("DeLong", None)
    assert method.note.startswith("Patients are unknown")


def test_an_image_of_an_unknown_patient_is_a_cluster_of_its_own() -> None:
    ids = ["a", "a", "a", None, "", *(f"patient {number}" for number in range(35))]
    estimate, method = estimate_discrimination(LABELS, SCORES[0], ids)
    clusters = [0, 0, 0, *range(1, 38)]
    assert estimate == estimate_clustered_auc(LABELS, SCORES[0], clusters)
    assert (method.clusters, method.patients) == (38, None)
    assert method.note == (
        "38 images are of 36 patients; intervals and tests are over patients. "
        "The patients of 2 of 40 images are unknown; these images count as patients of their own."
    )


def test_another_number_of_patients_is_refused() -> None:
    with pytest.raises(RadImageNetError, match="3 patient ids were given for 40 images"):
        estimate_discrimination(LABELS, SCORES[0], ["a", "b", "c"])
