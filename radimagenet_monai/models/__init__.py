"""Networks made of encoders: pretrained encoders, classifiers, U-Nets.

Torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.models.classifier import Classifier, build_classifier
    from radimagenet_monai.models.encoder_copy import take_encoder
    from radimagenet_monai.models.unet import UNet, build_unet
    from radimagenet_monai.weights.pretrained_encoder import build_encoder

_MODULE_OF = {
    "Classifier": "classifier",
    "UNet": "unet",
    "build_classifier": "classifier",
    "build_encoder": "radimagenet_monai.weights.pretrained_encoder",
    "build_unet": "unet",
    "take_encoder": "encoder_copy",
}

__all__ = [
    "Classifier",
    "UNet",
    "build_classifier",
    "build_encoder",
    "build_unet",
    "take_encoder",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
