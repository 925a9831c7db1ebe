"""The four encoders, and the input that weights expect.

Torch is imported on first use, so that listing the architectures stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.encoders.encoder import Encoder

_MODULE_OF = {
    "Encoder": "encoder",
}

__all__ = [
    "Encoder",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
