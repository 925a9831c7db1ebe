"""``radimagenet predict``: a trained bundle on images of a clinic or a study, one answer per image, series or exam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.integrations.prediction.prediction import Mask, Prediction
    from radimagenet_monai.integrations.prediction.run import predict

_MODULE_OF = {"Mask": "prediction", "Prediction": "prediction", "predict": "run"}

__all__ = ["Mask", "Prediction", "predict"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
