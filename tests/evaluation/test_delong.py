"""DeLong's AUC variance and tests against the O(mn) definition, scikit-learn and R's pROC."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from radimagenet_monai.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.evaluation.delong import compare_aucs, estimate_auc


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


@settings(max_examples=150, deadline=None)
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


def test_a_million_images_take_seconds() -> None:
    labels, scores = sample(0, images=1_000_000, models=2)
    start = time.perf_counter()
    comparison = compare_aucs(labels, {"a": scores[0], "b": scores[1]})
    assert time.perf_counter() - start < 30
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


R_SCRIPT = """
suppressMessages(library(pROC))
data(aSAH)
a <- roc(aSAH$outcome, aSAH$s100b, quiet=TRUE, levels=c("Good", "Poor"), direction="<")
b <- roc(aSAH$outcome, as.numeric(aSAH$wfns), quiet=TRUE, levels=c("Good", "Poor"), direction="<")
test <- roc.test(a, b, method="delong")
number <- function(x) paste0("[", paste(format(as.numeric(x), digits=17), collapse=","), "]")
cat("{\\"labels\\":", number(aSAH$outcome == "Poor"), ",\\"s100b\\":", number(aSAH$s100b),
    ",\\"wfns\\":", number(aSAH$wfns), ",\\"ci\\":", number(ci.auc(a)), ",\\"auc\\":", number(b$auc),
    ",\\"z\\":", number(test$statistic), ",\\"p\\":", number(test$p.value), "}", sep="")
"""


@pytest.mark.long
def test_equals_proc_of_r() -> None:
    """The aSAH data of pROC, against pROC itself and the figures published with it."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core, r-cran-proc)")
    run = subprocess.run(["Rscript", "-e", R_SCRIPT], capture_output=True, text=True, timeout=120)
    if "there is no package called" in run.stderr:
        pytest.skip("R has no pROC (Debian: r-cran-proc)")
    assert run.returncode == 0, run.stderr
    data = json.loads(run.stdout)
    estimate = estimate_auc(data["labels"], data["s100b"], scale="linear")
    np.testing.assert_allclose([estimate.low, estimate.auc, estimate.high], data["ci"], atol=1e-12)
    np.testing.assert_allclose(
        [estimate.low, estimate.auc, estimate.high],
        [0.630118211761623, 0.731368563685637, 0.832618915609651],
        atol=1e-12,
    )
    pair = compare_aucs(data["labels"], {"s100b": data["s100b"], "wfns": data["wfns"]}).pairs[0]
    assert pair.z == pytest.approx(data["z"][0], abs=1e-12)
    assert pair.p == pytest.approx(data["p"][0], abs=1e-12)
    assert pair.z == pytest.approx(-2.20898359144091, abs=1e-12)
    assert pair.p == pytest.approx(0.0271757822291882, abs=1e-12)
