"""Encoders, input normalization, classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radimagenet_monai.networks.classifier import Classifier, build_classifier
    from radimagenet_monai.networks.encoder import Encoder, build_encoder

__all__ = ["Classifier", "Encoder", "build_classifier", "build_encoder"]

_HOME = {"Classifier": "classifier", "build_classifier": "classifier", "Encoder": "encoder", "build_encoder": "encoder"}


def __getattr__(name: str) -> Any:
    # Torch is imported when a network is asked for, so that listing architectures stays instant.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
