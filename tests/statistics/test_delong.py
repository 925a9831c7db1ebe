"""DeLong's AUC variance and tests against the O(mn) definition, scikit-learn and R's pROC."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.clustered import estimate_clustered_auc
from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.streaming import infer_binned_auc
from radimagenet_monai.statistics.classification import evaluate_binary

pytestmark = pytest.mark.slow


def by_definition(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and covariance straight from equations 3 to 6 of the 1988 paper, every pair of images in turn."""
    positives, negatives = scores[:, labels == 1], scores[:, labels == 0]
    kernel = (positives[:, :, None] > negatives[:, None, :]) + 0.5 * (positives[:, :, None] == negatives[:, None, :])
    v10, v01 = kernel.mean(axis=2), kernel.mean(axis=1)
    s10, s01 = np.atleast_2d(np.cov(v10)), np.atleast_2d(np.cov(v01))
    return kernel.mean(axis=(1, 2)), s10 / positives.shape[1] + s01 / negatives.shape[1]


def sample(seed: int, images: int = 60, models: int = 3, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % 3 == 0).astype(int)
    scores = (
        labels * np.linspace(0.4, 1.4, models)[:, None] + rng.normal(size=images) + rng.normal(size=(models, images))
    )
    return labels, scores if levels is None else np.round(scores * levels / 4)


@pytest.mark.parametrize("levels", [None, 12, 2], ids=["continuous", "ties", "many ties"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_definition_and_sklearn(seed: int, levels: int | None) -> None:
    labels, scores = sample(seed, levels=levels)
    aucs, covariance = by_definition(labels, scores)
    comparison = compare_aucs(labels, {"a": scores[0], "b": scores[1], "c": scores[2]})
    np.testing.assert_allclose(list(comparison.aucs.values()), aucs, atol=1e-14)
    np.testing.assert_allclose(list(comparison.aucs.values()), [roc_auc_score(labels, s) for s in scores], atol=1e-12)
    np.testing.assert_allclose(comparison.covariance, covariance, atol=1e-15)

    estimate = estimate_auc(labels, scores[0], scale="linear")
    assert estimate.standard_error == pytest.approx(np.sqrt(covariance[0, 0]), abs=1e-14)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.959963984540054 * np.sqrt(covariance[0, 0]), abs=1e-12)

    pair = comparison.pairs[1]
    assert (pair.first, pair.second) == ("a", "c")
    z = (aucs[0] - aucs[2]) / np.sqrt(covariance[0, 0] + covariance[2, 2] - 2 * covariance[0, 2])
    assert pair.z == pytest.approx(z, rel=1e-9)
    assert pair.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)

    contrasts = np.array([[1, 0, -1], [0, 1, -1]])
    rest = contrasts @ aucs
    chi_square = rest @ np.linalg.solve(contrasts @ covariance @ contrasts.T, rest)
    assert comparison.degrees_of_freedom == 2
    assert comparison.chi_square == pytest.approx(chi_square, rel=1e-8)
    assert comparison.p == pytest.approx(stats.chi2.sf(chi_square, 2), rel=1e-8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=30).filter(
        lambda rows: len({row[0] for row in rows}) == 2
    )
)
def test_never_nan_whatever_the_ties(rows: list[tuple[bool, int, int]]) -> None:
    labels, first, second = (np.array(column) for column in zip(*rows, strict=True))
    for scale in ("logit", "linear"):
        estimate = estimate_auc(labels, first, scale=scale)
        assert estimate.auc == pytest.approx(roc_auc_score(labels, first), abs=1e-12)
        if estimate.reason is None:
            assert 0 <= estimate.low <= estimate.auc <= estimate.high <= 1
        else:
            assert estimate.low is estimate.high is estimate.standard_error is None
    comparison = compare_aucs(labels, {"first": first, "second": second})
    pair = comparison.pairs[0]
    assert (pair.p is None) == (pair.reason is not None) == (pair.z is None)
    assert pair.p is None or 0 <= pair.p <= 1
    if pair.z is not None:
        assert comparison.chi_square == pytest.approx(pair.z**2, rel=1e-6, abs=1e-9)


def test_perfect_separation_is_not_estimable() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    estimate = estimate_auc(labels, [1, 2, 3, 4, 5, 6])
    assert estimate.auc == 1
    assert estimate.low is None
    assert "perfectly separated" in (estimate.reason or "")


@pytest.mark.parametrize(
    ("scores", "area", "reason"),
    [
        ([0.37] * 6, 0.5, "all scores are equal, so"),
        ([1, 2, 3, 4, 5, 6], 1.0, "the classes are perfectly separated, so"),
        ([6, 5, 4, 3, 2, 1], 0.0, "the classes are perfectly separated in the wrong direction, so"),
    ],
)
def test_why_there_is_no_variance(scores: list[float], area: float, reason: str) -> None:
    labels = [0, 0, 0, 1, 1, 1]
    estimate = estimate_auc(labels, scores)
    assert estimate.auc == area == roc_auc_score(labels, scores)
    assert reason in (estimate.reason or "")
    clustered = estimate_clustered_auc(labels, scores, ["a", "a", "b", "c", "c", "d"])
    assert clustered.reason == estimate.reason
    (note,) = [note for note in evaluate_binary(labels, np.array(scores) / 10, 0.5).notes if "AUC" in note]
    assert reason in note
    bins = np.array(scores).astype(int)
    binned = infer_binned_auc(np.bincount(bins[3:], minlength=9), np.bincount(bins[:3], minlength=9)).estimate
    assert binned.auc == area
    assert reason.removesuffix(", so").replace("scores", "probabilities") in (binned.reason or "")


def test_why_a_difference_has_no_variance() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    equal, apart, wrong = [0.5] * 6, [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]
    for first, second, reason in (
        (equal, [2] * 6, "all scores of each model are equal"),
        (apart, [0, 0, 0, 1, 1, 1], "the models separate the classes perfectly"),
        (wrong, [1, 1, 1, 0, 0, 0], "the models separate the classes perfectly in the wrong direction"),
        (apart, wrong, "the models separate the classes perfectly, some in the wrong direction"),
        (equal, apart, "all scores of some models are equal and the others separate the classes perfectly"),
        ([1, 2, 4, 3, 5, 6], [1, 2, 4, 3, 5, 7], "the models rank the images alike"),
    ):
        (pair,) = compare_aucs(labels, {"first": first, "second": second}).pairs
        assert pair.reason == f"{reason}, so the difference has no variance"


def test_models_that_rank_alike_are_not_estimable() -> None:
    labels, scores = sample(0)
    comparison = compare_aucs(labels, {"a": scores[0], "b": np.exp(scores[0])})
    assert comparison.pairs[0].difference == 0
    assert comparison.pairs[0].p is None
    assert comparison.p is None
    assert comparison.reason
    third = compare_aucs(labels, {"a": scores[0], "b": np.exp(scores[0]), "c": scores[2]})
    assert third.degrees_of_freedom == 1
    assert third.p == pytest.approx(third.pairs[1].p, rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "reason"), [([1, 1, 1], "all images are positive"), ([0, 1, 0], "only one image is positive")]
)
def test_too_few_images_of_a_class(labels: list[int], reason: str) -> None:
    estimate = estimate_auc(labels, [0.1, 0.4, 0.5])
    assert estimate.reason == reason
    assert estimate.low is None


def test_logit_interval_covers_near_one() -> None:
    """At an AUC of 0.98 and 60 images the logit interval holds its 95 % better than the linear one."""
    truth = 0.98
    shift = np.sqrt(2) * stats.norm.ppf(truth)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    covered = {"logit": 0, "linear": 0}
    for _ in range(400):
        scores = rng.normal(size=60) + shift * labels
        for scale in covered:
            estimate = estimate_auc(labels, scores, scale=scale)
            covered[scale] += estimate.low is not None and estimate.low <= truth <= estimate.high
    assert covered["logit"] > covered["linear"]
    assert covered["logit"] / 400 > 0.9


def test_paired_p_values_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 2
    p_values = []
    for _ in range(400):
        shared = rng.normal(size=120) + labels
        comparison = compare_aucs(labels, {name: shared + rng.normal(size=120) for name in "ab"})
        p_values.append(comparison.pairs[0].p)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_memory_grows_with_the_images_and_not_with_their_pairs() -> None:
    labels, scores = sample(0, images=200_000, models=2)
    tracemalloc.start()
    try:
        comparison = compare_aucs(labels, {"a": scores[0], "b": scores[1]})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A byte for each pair of a positive and a negative image would be 9 gigabytes.
    assert peak < 1000 * len(labels)
    assert comparison.aucs["a"] == pytest.approx(roc_auc_score(labels, scores[0]), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], "label 2 at position 2"),
        ([0, 1, 1], [0.1, float("nan"), 0.3], "score nan at position 1"),
        ([0, 1, 1], [0.1, 0.3], r"shape \(2,\) for 3 labels"),
        ([], [], "at least one image"),
    ],
)
def test_bad_input_is_named(labels: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        estimate_auc(labels, scores)


def test_unknown_scale_and_single_model_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="scale 'log'"):
        estimate_auc([0, 1], [0, 1], scale="log")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RadImageNetError, match="two or more"):
        compare_aucs([0, 1], {"a": [0, 1]})


# Subarachnoid hemorrhage data of Turck et al., Intensive Care Med 2010, as in pROC: outcome (1 poor), twice the ranks
# of S100B, WFNS grade. DeLong's figures depend on ranks alone.
ASAH_POOR = (
    "00001101001011001011101000000000100110110000000001100010001010011101101111000110100000010000000000001111110001000"
)
# fmt: off
ASAH_S100B = [
    106, 116, 80, 8, 106, 80, 191, 133, 142, 80, 100, 80, 183, 213, 8, 48, 198, 8, 32, 169, 63, 63, 32, 94, 32,
    139, 32, 94, 106, 145, 16, 133, 178, 116, 172, 174, 195, 63, 224, 154, 201, 188, 133, 32, 180, 186, 94, 48,
    63, 222, 204, 48, 21, 106, 226, 80, 116, 125, 32, 21, 218, 16, 63, 162, 2, 63, 8, 150, 210, 63, 158, 213, 48,
    156, 48, 133, 63, 106, 80, 48, 94, 169, 94, 160, 32, 80, 165, 148, 32, 16, 152, 176, 80, 125, 48, 116, 80, 32,
    8, 145, 206, 116, 208, 165, 220, 216, 125, 191, 139, 183, 125, 201, 195,
]
# fmt: on
ASAH_WFNS = (
    "11113254125255125225211112121134214541425511241125521251222151125214524414121421232421451154221113125225552445111"
)


def test_equals_the_figures_of_the_asah_data() -> None:
    """Computed by pROC 1.18."""
    labels, wfns = ([int(digit) for digit in text] for text in (ASAH_POOR, ASAH_WFNS))
    estimate = estimate_auc(labels, ASAH_S100B, scale="linear")
    np.testing.assert_allclose(
        [estimate.low, estimate.auc, estimate.high],
        [0.630118211761623, 0.731368563685637, 0.832618915609651],
        atol=1e-10,
        rtol=0,
    )
    comparison = compare_aucs(labels, {"s100b": ASAH_S100B, "wfns": wfns})
    assert comparison.aucs["wfns"] == pytest.approx(0.823678861788618, abs=1e-10)
    assert comparison.pairs[0].z == pytest.approx(-2.20898359144091, abs=1e-10)
    assert comparison.pairs[0].p == pytest.approx(0.0271757822291882, abs=1e-10)


R_SCRIPT = """
suppressMessages(library(pROC))
folder <- commandArgs(TRUE)[1]
found <- t(sapply(seq_len(200), function(number) {
    data <- read.csv(file.path(folder, paste0(number, ".csv")))
    rocs <- lapply(data[c("first", "second")], function(scores)
        roc(data$label, scores, quiet=TRUE, levels=c(0, 1), direction="<"))
    test <- roc.test(rocs$first, rocs$second, method="delong", paired=TRUE)
    cis <- lapply(rocs, ci.auc, method="delong")
    as.numeric(c(cis$first, cis$second, test$statistic, test$p.value))
}))
write.table(format(found, digits=17), file.path(folder, "found.txt"), quote=FALSE, row.names=FALSE, col.names=FALSE)
"""


def random_data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' scores: 10 to 10 000 images, 4 to 60 % positive, from no ties to hardly anything else."""
    rng = np.random.default_rng(seed)
    images = int(10 ** rng.uniform(1, 4))
    positives = int(np.clip(images * rng.uniform(0.04, 0.6), 3, images - 3))
    labels = rng.permutation(np.arange(images) < positives).astype(int)
    shared = rng.normal(size=images) + rng.uniform(0, 1.5) * labels
    scores = shared + rng.normal(size=(2, images)) * rng.uniform(0.3, 2)
    levels = rng.choice([0, 0.5, 2, 20])
    return labels, *(np.round(scores * levels) if levels else scores)


@pytest.mark.long
def test_equals_proc_of_r_on_200_data_sets(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core, r-cran-proc)")
    for number in range(200):
        table = np.stack(random_data(number), axis=1)
        np.savetxt(
            tmp_path / f"{number + 1}.csv", table, "%.17g", delimiter=",", header="label,first,second", comments=""
        )
    (tmp_path / "script.R").write_text(R_SCRIPT)
    run = subprocess.run(
        ["Rscript", str(tmp_path / "script.R"), str(tmp_path)], capture_output=True, text=True, timeout=500
    )
    if "there is no package called" in run.stderr:
        pytest.skip("R has no pROC (Debian: r-cran-proc)")
    assert run.returncode == 0, run.stderr
    theirs = np.loadtxt(tmp_path / "found.txt")
    deviations = []
    for number, row in enumerate(theirs):
        labels, first, second = random_data(number)
        pair = compare_aucs(labels, {"first": first, "second": second}).pairs[0]
        found = [pair.z, pair.p]
        for scores in (second, first):
            estimate = estimate_auc(labels, scores, scale="linear")
            found[:0] = [estimate.low, estimate.auc, estimate.high]
        if None in found:
            # pROC gives NaN, or an interval without width, where we say that there is none.
            assert np.isnan(row).any() or row[0] == row[2] or row[3] == row[5]
            continue
        deviations.append(np.abs(np.array(found) - row).max())
    assert len(deviations) > 190
    assert max(deviations) < 1e-9, f"largest deviation {max(deviations):.2g}"
