"""Networks made of encoders: pretrained encoders, classifiers, U-Nets.

Torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.models.classifier import Classifier as Classifier
    from radimagenet_monai.models.classifier import build_classifier as build_classifier
    from radimagenet_monai.models.encoder_copy import take_encoder as take_encoder
    from radimagenet_monai.models.recorded import trained_classifier as trained_classifier
    from radimagenet_monai.models.recorded import trained_unet as trained_unet
    from radimagenet_monai.models.unet import UNet as UNet
    from radimagenet_monai.models.unet import build_unet as build_unet
    from radimagenet_monai.weights.pretrained_encoder import build_encoder as build_encoder

_MODULE_OF = {
    "Classifier": "classifier",
    "UNet": "unet",
    "build_classifier": "classifier",
    "build_encoder": "radimagenet_monai.weights.pretrained_encoder",
    "build_unet": "unet",
    "take_encoder": "encoder_copy",
    "trained_classifier": "recorded",
    "trained_unet": "recorded",
}

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
