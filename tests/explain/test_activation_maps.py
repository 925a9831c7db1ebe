"""Activation maps where the right map is known, against MONAI, and against independent arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM, GradCAMpp
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor, nn

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.explain.activation_maps import (
    FEATURE_MAPS,
    FINAL,
    FeatureMap,
    activation_maps,
    classifier_feature_map,
)
from radimagenet_monai.explain.localization import measure_localization
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

CELLS = FeatureMap("features", 8, 3)  # cells of 8 pixels, centered between pixels 3 and 4


class BrightOrDark(nn.Module):
    """Cells of mean brightness and darkness; class 1 is for bright cells, class 0 for dark ones."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, kernel_size=8, stride=8)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.features.weight.copy_(torch.stack([torch.ones(1, 8, 8), -torch.ones(1, 8, 8)]) / 64)
            self.features.bias.copy_(torch.tensor([0.0, 1.0]))
            self.head.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).mean(dim=(2, 3)))


def image_with_patch(rows: int = 64, columns: int = 96) -> tuple[Tensor, np.ndarray]:
    """A bright patch off every axis of symmetry, and where it is."""
    image = torch.full((1, 1, rows, columns), 0.1)
    image[..., 8:24, 56:80] = 0.9
    mask = np.zeros((rows, columns), bool)
    mask[8:24, 56:80] = True
    return image, mask


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_map_points_at_the_planted_patch(method: str) -> None:
    image, mask = image_with_patch()
    (heat,) = activation_maps(BrightOrDark(), image, torch.tensor([1]), method, CELLS)
    assert heat.shape == (64, 96)
    assert heat.max() == 1
    found = measure_localization(heat, mask)
    assert found.pointing == 1
    assert max(found.dice) > 0.8
    for wrong in (heat[::-1], heat[:, ::-1], 1 - heat):
        assert measure_localization(wrong, mask).pointing == 0
    square, square_mask = image_with_patch(96, 96)
    (heat,) = activation_maps(BrightOrDark(), square, torch.tensor([1]), method, CELLS)
    assert measure_localization(heat, square_mask).pointing == 1
    assert measure_localization(heat.T, square_mask).pointing == 0


def test_images_of_one_batch_are_explained_for_classes_of_their_own() -> None:
    image, mask = image_with_patch()
    network = BrightOrDark()
    dark, bright = activation_maps(network, image.repeat(2, 1, 1, 1), torch.tensor([0, 1]), feature_map=CELLS)
    np.testing.assert_array_equal(bright, activation_maps(network, image, torch.tensor([1]), feature_map=CELLS)[0])
    assert dark[mask].mean() < dark[~mask].mean()
    assert bright[mask].mean() > bright[~mask].mean()


def test_grad_cam_equals_its_formula() -> None:
    """For a head on the mean over cells, Grad-CAM is the head's weighted sum of the channels (Zhou et al. 2016)."""
    torch.manual_seed(0)
    network = build_classifier("resnet50", num_classes=3).eval()
    images = torch.rand(2, 1, 96, 128)
    targets = torch.tensor([2, 0])
    heat = activation_maps(network, images, targets)
    with torch.no_grad():
        features = network.encoder(images).double().numpy()
    weights = network.head.weight.detach().double().numpy()
    for one, cells, target in zip(heat, features, targets.tolist(), strict=True):
        evidence = np.maximum(np.tensordot(weights[target], cells, axes=1), 0)
        np.testing.assert_allclose(one, at_pixels(evidence, FEATURE_MAPS["resnet50"][FINAL], one.shape), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "method"),
    [
        *(
            pytest.param(name, "gradcam++", marks=pytest.mark.long if name == "inceptionresnetv2" else ())
            for name in ARCHITECTURES
        ),
        ("resnet50", "gradcam"),
    ],
)
def test_every_encoder_agrees_with_monai(architecture: str, method: str) -> None:
    torch.manual_seed(1)
    network = build_classifier(architecture).eval().double()
    image = torch.rand(1, 3, 80, 96, dtype=torch.float64)
    with torch.no_grad():
        # MONAI adds 1e-7 to a denominator of squared gradients, which is not little against those of a new head, and
        # multiplies by exp(logit), which a logit far from 0 makes 0 or infinite.
        network.head.weight.add_(network.head.weight.max() / 2).mul_(100)
        network.head.bias.sub_(network(image)[0])
    ours = activation_maps(network, image, torch.tensor([1]), method)[0]
    peer = {"gradcam": GradCAM, "gradcam++": GradCAMpp}[method]
    evidence = peer(network, target_layers="encoder.backbone").compute_map(image, class_idx=1)[0, 0].detach().numpy()
    theirs = at_pixels(evidence, FEATURE_MAPS[architecture][FINAL], (80, 96))
    assert ours.any()
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def at_pixels(evidence: np.ndarray, where: FeatureMap, shape: tuple[int, int]) -> np.ndarray:
    """Linear interpolation by SciPy, level beyond the outer cells, divided by its maximum."""
    centers = [where.first + where.stride * np.arange(cells) for cells in evidence.shape]
    grid = np.meshgrid(
        *(np.clip(np.arange(size), line[0], line[-1]) for size, line in zip(shape, centers, strict=True)), indexing="ij"
    )
    pixels = RegularGridInterpolator(centers, evidence)(np.stack(grid, axis=-1))
    return pixels / pixels.max() if pixels.max() > 0 else pixels


def make_averaging(module: nn.Module) -> None:
    """Replace every layer by a mean over its window, so that a gradient is the receptive field itself."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.Conv2d):
            nn.init.constant_(child.weight, 1 / child.weight[0].numel())
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.BatchNorm2d):
            child.reset_parameters()
        else:
            make_averaging(child)


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=() if name == "resnet50" else pytest.mark.long) for name in ARCHITECTURES]
)
def test_cells_lie_where_their_receptive_fields_are_centered(architecture: str) -> None:
    network = build_classifier(architecture).eval().requires_grad_(False)
    make_averaging(network)
    for level, where in FEATURE_MAPS[architecture].items():
        cell = 128 // where.stride
        # The cell is in the middle of the image, so that padding takes as much of its field on either side.
        size = 2 * (where.first + where.stride * cell) + 1
        seen: list[Tensor] = []
        hook = network.get_submodule(where.layer).register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        image = torch.ones(1, 1, size, size, requires_grad=True)
        network(image)
        hook.remove()
        (field,) = torch.autograd.grad(seen[-1][0, :, cell, cell].sum(), image)
        pixels = torch.arange(size, dtype=torch.float64)
        profile = field[0, 0].double().sum(dim=1)
        center = float((profile * pixels).sum() / profile.sum())
        assert center == pytest.approx(where.first + where.stride * cell, abs=0.01), level


@pytest.mark.parametrize(
    ("architecture", "freeze"),
    [
        *(
            pytest.param(name, "none", marks=pytest.mark.long if name.startswith("inception") else ())
            for name in ARCHITECTURES
        ),
        ("densenet121", "encoder"),
    ],
)
def test_nothing_of_the_network_changes(architecture: str, freeze: str) -> None:
    torch.manual_seed(2)
    network = build_classifier(architecture, freeze=freeze).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    for level, channels in zip(FEATURE_MAPS[architecture], (1, 3), strict=True):
        heat = activation_maps(
            network,
            torch.rand(2, channels, 80, 96),
            torch.tensor([0, 1]),
            feature_map=classifier_feature_map(network, level),
        )
        assert heat.shape == (2, 80, 96)
        assert ((heat.max(axis=(1, 2)) == 1) | ~heat.any(axis=(1, 2))).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_dropout_does_not_make_maps_random() -> None:
    network = build_classifier("densenet121").train()
    image, targets = torch.rand(1, 1, 64, 64), torch.tensor([1])
    np.testing.assert_array_equal(activation_maps(network, image, targets), activation_maps(network, image, targets))


def test_a_map_without_evidence_is_zero() -> None:
    network = BrightOrDark()
    with torch.no_grad():
        network.head.weight.mul_(-1)
    image, _ = image_with_patch()
    assert not activation_maps(network, image, torch.tensor([1]), feature_map=CELLS).any()
    with torch.no_grad():
        network.head.weight.zero_()
    for method in ("gradcam", "gradcam++"):
        assert not activation_maps(network, image, torch.tensor([1]), method, CELLS).any()


def test_what_makes_no_map_is_refused() -> None:
    network = BrightOrDark()
    image, _ = image_with_patch()
    target = torch.tensor([1])
    with pytest.raises(ConfigurationError, match="unknown method 'cam'; choose one of gradcam"):
        activation_maps(network, image, target, "cam", CELLS)
    with pytest.raises(ConfigurationError, match="no layer 'body'"):
        activation_maps(network, image, target, feature_map=FeatureMap("body", 8, 3))
    with pytest.raises(ConfigurationError, match="gives no feature map"):
        activation_maps(network, image, target, feature_map=FeatureMap("head", 8, 3))
    with pytest.raises(ConfigurationError, match="give a Classifier, or a feature_map"):
        activation_maps(network, image, target)
    with pytest.raises(ConfigurationError, match="choose one of 1/32, 1/16"):
        classifier_feature_map(build_classifier("densenet121"), "1/8")
    with pytest.raises(RadImageNetError, match="not finite"):
        activation_maps(network, image * float("inf"), target, feature_map=CELLS)
