"""Encoders, input normalization, classifiers and U-Nets.

Torch is imported on first use, so that listing the architectures stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.networks.classifier import Classifier, build_classifier
    from radimagenet_monai.networks.encoder import Encoder
    from radimagenet_monai.networks.encoder_copy import take_encoder
    from radimagenet_monai.networks.unet import UNet, build_unet
    from radimagenet_monai.weights.pretrained_encoder import build_encoder

_MODULE_OF = {
    "Classifier": "classifier",
    "Encoder": "encoder",
    "UNet": "unet",
    "build_classifier": "classifier",
    "build_encoder": "radimagenet_monai.weights.pretrained_encoder",
    "build_unet": "unet",
    "take_encoder": "encoder_copy",
}

__all__ = [
    "Classifier",
    "Encoder",
    "UNet",
    "build_classifier",
    "build_encoder",
    "build_unet",
    "take_encoder",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
