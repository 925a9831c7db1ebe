"""The sanity check of Adebayo et al., NeurIPS 2018: a map that explains a network must change when its weights do.

First the head of the network is randomized, then more and more layers from the top down, finally all of them. Maps that
do not change show the image (its edges, its center), not what the network has learned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.explain.localization import measure_localization
from radimagenet_monai.models.classifier import Classifier

MOST_SPEARMAN = 0.5
"""Two maps whose ranks correlate by less share under a quarter of the variance of their ranks (the square of 0.5)."""

MOST_SSIM = 0.5
"""Halfway between maps without common structure (0) and equal ones (1)."""

LEAST_IMAGES = 5
"""Fewer maps can be alike, or different, by chance."""

ALL = "all layers"
STAGES: tuple[tuple[str, float], ...] = (
    ("head", 0.0),
    ("head and last third of the encoder", 1 / 3),
    ("head and last two thirds of the encoder", 2 / 3),
    (ALL, 1.0),
)
"""The parts whose weights are reinitialized, from the top down: a name, and the share of the encoder's layers."""

Verdict = Literal["passed", "failed", "not estimable", "not made"]


@dataclass(frozen=True)
class Similarity:
    """Mean similarity, over images and draws, of the trained network's maps and those of partly randomized copies.

    ``spearman`` is the rank correlation over pixels, in [-1, 1], ``ssim`` the structural similarity; both are 1 for
    equal maps. An empty map (all 0) counts as equal to another empty map and different from all others; ``empty`` is
    the share of empty maps after randomization. ``pointing`` is their pointing game, if lesions are known.
    """

    randomized: str
    spearman: float
    ssim: float
    empty: float
    pointing: float | None


@dataclass(frozen=True)
class RandomizationCheck:
    """Effect of randomization on the maps, with the verdict as a word and as text for the report."""

    checks: tuple[Similarity, ...]
    images: int
    draws: int
    verdict: Verdict
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary for JSON without NaN."""
        return asdict(self)


def check_randomization(
    network: Classifier,
    maps_of: Callable[[Classifier], np.ndarray],
    draws: int = 3,
    seed: int = 0,
    masks: Sequence[np.ndarray | None] = (),
) -> RandomizationCheck:
    """Compare a network's maps with those of copies whose weights are random.

    Parameters
    ----------
    network
        The trained network; it is not changed.
    maps_of
        Returns the maps ``(N, H, W)`` of a network, in [0, 1], always for the same images and target classes.
    draws
        Number of random networks per stage.
    seed
        Seed of the draws. The global random state is not changed.
    masks
        ``N`` lesion masks ``(H, W)`` bool for the pointing game, ``None`` for an image without one; by default no game.
    """
    trained = maps_of(network)
    checks = []
    for name, share in STAGES:
        pairs = [
            (before, after)
            for draw in range(draws)
            for before, after in zip(trained, maps_of(randomized_copy(network, share, seed + draw)), strict=True)
        ]
        hits = [
            measure_localization(after, mask).hit
            for (_, after), mask in zip(pairs, list(masks) * draws, strict=False)
            if mask is not None and mask.any()
        ]
        if pairs:
            checks.append(
                Similarity(
                    name,
                    float(np.mean([rank_correlation(*pair) for pair in pairs])),
                    float(np.mean([structural_likeness(*pair) for pair in pairs])),
                    float(np.mean([not after.any() for _, after in pairs])),
                    float(np.mean(hits)) if hits else None,
                )
            )
    verdict, text = judge(checks, len(trained))
    return RandomizationCheck(tuple(checks), len(trained), draws, verdict, text)


def judge(checks: Sequence[Similarity], images: int) -> tuple[Verdict, str]:
    """Verdict and report text from the similarities, the last of which is from the fully random network."""
    if images < LEAST_IMAGES:
        return "not estimable", f"{images} maps are too few for the sanity check; it needs at least {LEAST_IMAGES}."
    last = checks[-1]
    figures = f"mean rank correlation {last.spearman:.2f}, structural similarity {last.ssim:.2f}, {images} images"
    if last.spearman < MOST_SPEARMAN and last.ssim < MOST_SSIM:
        return (
            "passed",
            f"With all weights reinitialized, the maps are no longer the same ({figures}): they depend on training.",
        )
    return "failed", (
        f"With all weights reinitialized, the maps stay much the same ({figures}; expected below {MOST_SPEARMAN} and "
        f"{MOST_SSIM}): they show the images, not what the network has learnt. Do not read them as explanations, and "
        "do not compare networks by them."
    )


def randomized_copy(network: Classifier, encoder_share: float, seed: int) -> Classifier:
    """A copy with its head, and the last share of its encoder's layers, drawn from their initial distributions.

    Convolutions are drawn from He's normal distribution, as for training from scratch; a batch norm becomes the
    identity, its statistics included.

    Raises
    ------
    RadImageNetError
        For a share outside [0, 1].
    """
    if not 0 <= encoder_share <= 1:
        raise RadImageNetError(f"encoder_share {encoder_share} was given; expected a share from 0 to 1")
    drawn = copy.deepcopy(network)
    layers = list(_layers(drawn.encoder.backbone))
    kept = round(len(layers) * (1 - encoder_share))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        # On the CPU, so that the draw does not depend on the device.
        device = next(drawn.parameters()).device
        drawn.cpu()
        drawn.head.reset_parameters()
        for layer in layers[kept:]:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
    return drawn.to(device)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps ``(H, W)``; 1 for two constant maps, 0 if only one is constant."""
    constant = [float(np.ptp(heat)) == 0 for heat in (first, second)]
    if any(constant):
        return float(all(constant))
    return float(spearmanr(first, second, axis=None).statistic)


def structural_likeness(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM (Wang et al., IEEE Trans Image Process 2004;13:600-612) of two maps ``(H, W)`` in [0, 1]."""
    return float(
        structural_similarity(
            first.astype(np.float64),
            second.astype(np.float64),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _layers(backbone: nn.Module) -> Iterator[nn.Module]:
    """Convolutions and batch norms from the input upwards, as the encoders define them in that order."""
    return (module for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d))
