"""Grad-CAM of every encoder finds the quadrant that the decision rests on."""

from __future__ import annotations

import pytest
import torch
from monai.visualize import GradCAM

from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.models import Classifier, build_classifier

pytestmark = pytest.mark.slow

SIZE = 224
HALF = SIZE // 2
CORNERS = [(0, 0), (0, HALF), (HALF, 0), (HALF, HALF)]


def images_with_texture(per_corner: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Faint noise, and the same with coarse texture in one quadrant, (0, 0), (0, 1), (1, 0), (1, 1) in turn."""
    plain = 0.5 + 0.05 * torch.randn(4 * per_corner, 1, SIZE, SIZE)
    marked = plain.clone()
    for image, (row, column) in zip(marked, CORNERS * per_corner, strict=True):
        texture = 0.4 * torch.randn(1, HALF - 32, HALF - 32).sign()
        image[:, row + 16 : row + HALF - 16, column + 16 : column + HALF - 16] += texture
    return plain.clamp(0, 1), marked.clamp(0, 1)


def teach(network: Classifier, plain: torch.Tensor, marked: torch.Tensor) -> None:
    """Batch norm statistics of these images, and a head along the difference of the two classes' mean features.

    That is what a trained head would be for classes of equal, round spread (Fisher's discriminant), without training.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.cat([plain, marked]))
        network.eval()
        difference = network.encoder.pooled(marked).mean(0) - network.encoder.pooled(plain).mean(0)
        network.head.weight.copy_(torch.stack([-difference, difference]))


# `test_activation_maps.py` compares the maps of every encoder with MONAI's.
@pytest.mark.long
@pytest.mark.learns
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_peak_lies_in_the_quadrant_that_matters(architecture: str, seed: int) -> None:
    torch.manual_seed(seed)
    network = build_classifier(architecture)
    plain, marked = images_with_texture(per_corner=1)
    teach(network, plain, marked)
    # MONAI's own postprocessing turns the map upside down: what matters most becomes 0.
    cam = GradCAM(network, target_layers="encoder.backbone", postprocessing=lambda heat: heat)
    heat = cam(marked[:4], class_idx=1)
    assert heat.shape == (4, 1, SIZE, SIZE)
    for one, (row, column) in zip(heat[:, 0], CORNERS, strict=True):
        peak_row, peak_column = divmod(int(one.argmax()), SIZE)
        assert (peak_row // HALF * HALF, peak_column // HALF * HALF) == (row, column)
        assert one[row : row + HALF, column : column + HALF].mean() > one.mean()
