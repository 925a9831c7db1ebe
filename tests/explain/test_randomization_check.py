"""The sanity check tells maps of the network from maps of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from radimagenet_monai.explain.activation_maps import activation_maps
from radimagenet_monai.explain.randomization_check import (
    STAGES,
    Similarity,
    check_randomization,
    judge,
    randomized_copy,
    rank_correlation,
    structural_likeness,
)
from radimagenet_monai.models import Classifier, build_classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(0)
    return build_classifier("densenet121").eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(6, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_maps_of_the_image_fail(network: Classifier, images: torch.Tensor) -> None:
    brightness = images[:, 0].numpy()
    check = check_randomization(network, lambda _: brightness, draws=1, masks=[brightness[0] > 0.5] * 6)
    assert check.verdict == "failed"
    assert [item.randomized for item in check.checks] == [name for name, _ in STAGES]
    assert all(item.spearman == pytest.approx(1) and item.ssim == pytest.approx(1) for item in check.checks)
    assert check.checks[0].pointing is not None
    assert "Do not read them" in check.text


def test_maps_of_the_weights_pass(network: Classifier, images: torch.Tensor) -> None:
    """Maps that are a function of the weights alone, with nothing of the image in them."""

    def maps_of(network: Classifier) -> np.ndarray:
        first = network.encoder.backbone.features[0].weight.detach().numpy().ravel()
        seed = int(np.abs(first).sum() * 1e6)
        return np.random.default_rng(seed).random((6, 64, 64))

    check = check_randomization(network, maps_of, draws=1)
    # The first layer is drawn anew in the last stage only.
    assert [round(item.spearman, 1) for item in check.checks] == [1, 1, 1, 0]
    assert check.verdict == "passed"
    assert check.checks[-1].pointing is None


def test_grad_cam_of_a_network_runs_through(network: Classifier, images: torch.Tensor) -> None:
    targets = torch.ones(6, dtype=torch.int64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check = check_randomization(network, lambda net: activation_maps(net, images, targets), draws=1)
    assert all(-1 <= item.spearman <= 1 and 0 <= item.empty <= 1 for item in check.checks)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_layers_are_drawn_from_the_top_down(network: Classifier) -> None:
    trained = network.state_dict()
    for share, changed_blocks in ((0.0, set()), (1 / 3, {"denseblock4"}), (1.0, {"conv0", "denseblock1"})):
        drawn = randomized_copy(network, share, seed=3).state_dict()
        changed = {name for name in trained if not torch.equal(trained[name], drawn[name])}
        assert {"head.weight", "head.bias"} <= changed
        for block in ("conv0", "denseblock1", "denseblock4"):
            assert any(f".{block}." in name for name in changed) == (block in changed_blocks or share == 1)
    again = randomized_copy(network, 1.0, seed=3).state_dict()
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    state = torch.get_rng_state()
    randomized_copy(network, 1.0, seed=4)
    assert torch.equal(state, torch.get_rng_state())


def test_batch_norm_forgets_its_statistics(network: Classifier) -> None:
    taught = build_classifier("densenet121")
    taught.train()(torch.rand(2, 1, 64, 64))
    drawn = randomized_copy(taught, 1.0, seed=0)
    for module in drawn.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert not module.running_mean.any()
            assert (module.running_var == 1).all()


def test_rank_correlation_is_that_of_the_ranks() -> None:
    first, second = np.random.default_rng(0).random((2, 9, 9)).round(1)
    expected = np.corrcoef(rankdata(first), rankdata(second))[0, 1]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(np.zeros((9, 9)), np.zeros((9, 9))) == 1
    assert rank_correlation(np.zeros((9, 9)), second) == 0


def test_structural_similarity_tells_maps_apart() -> None:
    rows, columns = np.mgrid[:48, :48]
    here, there = (np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 50) for r, c in ((12, 12), (36, 36)))
    assert structural_likeness(here, here) == pytest.approx(1)
    assert structural_likeness(here, there) < structural_likeness(here, here * 0.9)


def test_verdict_needs_both_similarities_and_enough_images() -> None:
    def last(spearman: float, ssim: float) -> list[Similarity]:
        return [Similarity("all layers", spearman, ssim, 0.0, None)]

    assert judge(last(0.49, 0.49), 10)[0] == "passed"
    assert judge(last(0.51, 0.1), 10)[0] == "failed"
    assert judge(last(0.1, 0.51), 10)[0] == "failed"
    assert judge(last(0.1, 0.1), 4)[0] == "not estimable"
