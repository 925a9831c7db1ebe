"""RadImageNet encoders and downstream tasks as MONAI bundles.

Importing this package imports neither torch nor MONAI, so that ``radimagenet info`` answers at once; each function
below imports what it needs on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports
from radimagenet_monai.core.moved import install
from radimagenet_monai.core.version import __version__

if TYPE_CHECKING:
    from radimagenet_monai.integrations.prediction.run import predict
    from radimagenet_monai.models.classifier import build_classifier
    from radimagenet_monai.models.pretrained import load_encoder
    from radimagenet_monai.models.unet import build_unet
    from radimagenet_monai.weights.store import list_weights

_MODULE_OF = {
    "build_classifier": "models.classifier",
    "build_unet": "models.unet",
    "list_weights": "weights.store",
    "load_encoder": "models.pretrained",
    "predict": "integrations.prediction.run",
}

__all__ = ["__version__", "build_classifier", "build_unet", "list_weights", "load_encoder", "predict"]

install()

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
