"""How often 95 % intervals of the AUC cover the truth, and how often tests of equal AUCs reject models that are equal.

    python benchmarks/coverage.py [--runs 10000] [--resampled 2000]

Scores are normal in both classes with unit variance, so that the AUC is Phi(shift / sqrt 2). Of several images a
patient, half of the variance is the patient's own. ``--runs`` is the number of simulated studies for formulas,
``--resampled`` for the bootstrap and the permutation test, which draw 1000 samples in each study, and for
cross-validations. The peer on several images a patient is DeLong, on folds the paired t-test; both take what they are
given for independent.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import ttest_1samp
from sklearn.model_selection import RepeatedStratifiedKFold

from radimagenet_monai.statistics.auc.clustered import compare_clustered_aucs, estimate_clustered_auc
from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.weighted import AucStatistic
from radimagenet_monai.statistics.resampling.bootstrap import BootstrapInterval, BootstrapMethod, bootstrap_interval
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test
from radimagenet_monai.statistics.resampling.permutation import permutation_test

SAMPLES = 1000
OF_PATIENT = 0.5
SHARED = 0.5


@dataclass(frozen=True)
class Study:
    """One simulated test set; ``scores`` is ``(2, n)``, two models of the same AUC that share half the variance."""

    labels: np.ndarray
    scores: np.ndarray
    patients: np.ndarray


@dataclass(frozen=True)
class Design:
    """How studies are simulated.

    Attributes
    ----------
    auc
        Of both models.
    patients
        Number of patients.
    images
        The most images of a patient; their number is drawn evenly from 1 to this.
    prevalence
        Share of positive images.
    mixed
        Whether a patient may hold images of both classes.
    """

    auc: float
    patients: int
    images: int = 1
    prevalence: float = 0.3
    mixed: bool = False

    def __str__(self) -> str:
        text = f"AUC {self.auc}, {self.patients} patients, {self.prevalence:.0%} positive"
        if self.images == 1:
            return text
        return f"{text}, 1 to {self.images} images each, of {'both classes' if self.mixed else 'one class'}"

    def draw(self, rng: np.random.Generator) -> Study:
        patients = np.repeat(np.arange(self.patients), rng.integers(1, self.images + 1, self.patients))
        if self.mixed:
            labels = rng.random(patients.size) < self.prevalence
        else:
            positive = rng.permutation(np.arange(self.patients) < round(self.prevalence * self.patients))
            labels = positive[patients]
        share = OF_PATIENT if self.images > 1 else 0.0

        def noise(models: int) -> np.ndarray:
            of_patient = rng.normal(size=(models, self.patients))[:, patients]
            return np.sqrt(share) * of_patient + np.sqrt(1 - share) * rng.normal(size=(models, patients.size))

        scores = np.sqrt(SHARED) * noise(1) + np.sqrt(1 - SHARED) * noise(2)
        return Study(labels.astype(int), scores + np.sqrt(2) * ndtri(self.auc) * labels, patients)


Interval = Callable[[Study], tuple[float | None, float | None]]
Test = Callable[[Study], float | None]


def delong(study: Study) -> tuple[float | None, float | None]:
    found = estimate_auc(study.labels, study.scores[0])
    return found.low, found.high


def linear_delong(study: Study) -> tuple[float | None, float | None]:
    found = estimate_auc(study.labels, study.scores[0], scale="linear")
    return found.low, found.high


def obuchowski(study: Study) -> tuple[float | None, float | None]:
    found = estimate_clustered_auc(study.labels, study.scores[0], study.patients)
    return found.low, found.high


def bootstrap(study: Study) -> tuple[float | None, float | None]:
    data = {"labels": study.labels, "scores": study.scores[0]}
    found = bootstrap_interval(
        AucStatistic(), data, clusters=study.patients, strata=study.labels, repeats=SAMPLES, method="bca"
    )
    return found.low, found.high


def delong_test(study: Study) -> float | None:
    return compare_aucs(study.labels, dict(zip("ab", study.scores, strict=True))).pairs[0].p


def obuchowski_test(study: Study) -> float | None:
    return compare_clustered_aucs(study.labels, dict(zip("ab", study.scores, strict=True)), study.patients).pairs[0].p


def permutation(study: Study) -> float | None:
    return permutation_test(study.labels, *study.scores, clusters=study.patients, repeats=SAMPLES).p


def bootstrap_test(study: Study) -> float | None:
    return bootstrap_difference(study, "percentile").p


def bca_test(study: Study) -> float | None:
    """0 where the BCa interval of the difference leaves out 0, else 1."""
    found = bootstrap_difference(study, "bca")
    return None if found.low is None or found.high is None else float(found.low <= 0 <= found.high)


def bootstrap_difference(study: Study, method: BootstrapMethod) -> BootstrapInterval:
    data = {"labels": study.labels, "first": study.scores[0], "second": study.scores[1]}
    return bootstrap_interval(
        AucStatistic("first", minus="second"),
        data,
        clusters=study.patients,
        strata=study.labels,
        repeats=SAMPLES,
        method=method,
    )


def coverage(design: Design, intervals: Iterable[Interval], runs: int, seed: int = 0) -> dict[str, float]:
    """Share of studies whose interval covers the AUC, of those that have one, by the function's name."""
    rng, covered, estimable = np.random.default_rng(seed), Counter[str](), Counter[str]()
    intervals = list(intervals)
    for _ in range(runs):
        study = design.draw(rng)
        for interval in intervals:
            low, high = interval(study)
            if low is not None and high is not None:
                estimable[interval.__name__] += 1
                covered[interval.__name__] += low <= design.auc <= high
    return {name: covered[name] / number for name, number in estimable.items()}


def rejection(design: Design, tests: Iterable[Test], runs: int, seed: int = 0) -> dict[str, float]:
    """Share of studies in which a test of the two equal models has p <= 0.05, by the function's name."""
    rng, rejected = np.random.default_rng(seed), Counter[str]()
    tests = list(tests)
    for _ in range(runs):
        study = design.draw(rng)
        for test in tests:
            p = test(study)
            rejected[test.__name__] += p is not None and p <= 0.05
    return {test.__name__: rejected[test.__name__] / runs for test in tests}


def rejection_over_folds(images: int, repetitions: int, runs: int, seed: int = 0) -> dict[str, float]:
    """Share of cross-validations in which a test over five folds tells two equally good learners apart at 0.05.

    Both are linear discriminants, each of five features of its own; either set is as informative as the other.
    """
    rng, rejected = np.random.default_rng(seed), Counter[str]()
    for _ in range(runs):
        labels = rng.permutation(np.arange(images) % 2)
        features = rng.normal(size=(2, images, 5)) + 0.4 * labels[:, None]
        folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=repetitions, random_state=int(rng.integers(2**31)))
        differences = []
        for train, test in folds.split(labels, labels):
            aucs = []
            for values in features:
                # Least squares on the labels gives Fisher's discriminant up to scale and shift, which an AUC ignores.
                centered = values - values[train].mean(axis=0)
                direction = np.linalg.lstsq(centered[train], labels[train] - labels[train].mean())[0]
                aucs.append(estimate_auc(labels[test], centered[test] @ direction).auc)
            differences.append(aucs[0] - aucs[1])
        corrected = corrected_resampled_test(differences, test_share=0.25).p
        rejected["corrected_resampled_test"] += corrected is not None and corrected <= 0.05
        rejected["paired_t_test"] += bool(ttest_1samp(differences, 0).pvalue <= 0.05)
    return {name: rejected[name] / runs for name in ("corrected_resampled_test", "paired_t_test")}


INDEPENDENT = [
    Design(auc, patients) for auc, patients in ((0.7, 60), (0.7, 100), (0.7, 300), (0.85, 100), (0.95, 60), (0.95, 300))
]
CLUSTERED = [
    Design(auc, patients, images=8, mixed=mixed)
    for auc, patients in ((0.7, 60), (0.85, 150))
    for mixed in (False, True)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--resampled", type=int, default=2000)
    options = parser.parse_args()
    tables: list[tuple[str, Callable, list[Design], list, list]] = [
        ("coverage, independent images", coverage, INDEPENDENT, [delong, linear_delong], [bootstrap]),
        ("coverage, several images a patient", coverage, CLUSTERED, [delong, obuchowski], [bootstrap]),
        (
            "type-I error, independent images",
            rejection,
            INDEPENDENT,
            [delong_test],
            [permutation, bootstrap_test, bca_test],
        ),
        (
            "type-I error, several images a patient",
            rejection,
            CLUSTERED,
            [delong_test, obuchowski_test],
            [permutation, bootstrap_test, bca_test],
        ),
    ]
    for title, simulate, designs, formulas, resampled in tables:
        names = [function.__name__ for function in formulas + resampled]
        print(f"\n| {title}, % | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}", flush=True)
        for design in designs:
            found = simulate(design, formulas, options.runs)
            found |= simulate(design, resampled, options.resampled)
            print(f"| {design} | {' | '.join(f'{100 * found[name]:.1f}' for name in names)} |", flush=True)
    print("\n| type-I error over five folds, % | corrected_resampled_test | paired_t_test |\n|---|---|---|")
    for images in (100, 400):
        for repetitions in (1, 10):
            found = rejection_over_folds(images, repetitions, options.resampled)
            shares = " | ".join(f"{100 * share:.1f}" for share in found.values())
            print(f"| {images} images, {repetitions} x 5 folds | {shares} |", flush=True)


if __name__ == "__main__":
    main()
