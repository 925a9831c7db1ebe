"""Keras applications on the torch backend, with random weights, and the files that Keras itself writes of them.

A test that asks for one skips, with the reason, where keras is not installed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

APPLICATIONS = {
    "resnet50": ("ResNet50", "resnet"),
    "densenet121": ("DenseNet121", "densenet"),
    "inceptionv3": ("InceptionV3", "inception_v3"),
    "inceptionresnetv2": ("InceptionResNetV2", "inception_resnet_v2"),
}


def keras_application(architecture: str, include_top: bool = False, session_layers: int = 0) -> Any:
    """The application with random weights and statistics that are not 0 and 1.

    ``session_layers`` convolutions and batch norms are built before it, so that Keras numbers its layers from there.
    """
    keras = _keras()
    keras.backend.clear_session()
    for _ in range(session_layers):
        keras.layers.Conv2D(1, 1)
        keras.layers.BatchNormalization()
    shape = None if include_top else (None, None, 3)
    name, _ = APPLICATIONS[architecture]
    model = getattr(keras.applications, name)(weights=None, include_top=include_top, input_shape=shape)
    generator = np.random.default_rng(0)
    draw: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        # He's deviation keeps the size of activations, and so their differences, through a hundred layers.
        "kernel": lambda shape: (
            generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
        ),
        "bias": lambda shape: generator.normal(0, 0.1, shape),
        "gamma": lambda shape: generator.uniform(0.5, 1.5, shape),
        "beta": lambda shape: generator.normal(0, 0.1, shape),
        "moving_mean": lambda shape: generator.normal(0, 0.1, shape),
        "moving_variance": lambda shape: generator.uniform(0.5, 1.5, shape),
    }
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(draw[variable.name](tuple(variable.shape)).astype("float32", copy=False))
    return model


def keras_features(model: Any, batch: np.ndarray) -> np.ndarray:
    """Final feature maps, (N, C, h, w), of a batch (N, H, W, 3) that has had its preprocessing."""
    keras = _keras()
    features = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(batch), training=False))
    return np.transpose(features, (0, 3, 1, 2))


def imagenet_preprocessing(architecture: str, picture: np.ndarray) -> np.ndarray:
    """Keras' own ``preprocess_input`` of the application, of an RGB picture (H, W, 3) in 0-255."""
    module = getattr(_keras().applications, APPLICATIONS[architecture][1])
    return np.asarray(module.preprocess_input(picture.astype("float32").copy()[None]))


def as_keras_2(source: Path, target: Path, first_number: int) -> None:
    """Rewrite a whole model of Keras 3 as Keras 2 wrote it, which is how the published files are.

    Weights are ``layer/kernel:0``, lists of names are bytes and may be broken into pieces, DenseNet's first layers are
    ``conv1/conv`` and ``conv1/bn``, and numbers start where the session had come to.
    """
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs["keras_version"] = b"2.4.0"
        new.attrs["model_config"] = b'{"class_name": "Lambda", "config": {"function": "never to be read"}}'
        root = new.create_group("model_weights")
        names = []
        for name in old["model_weights"].attrs["layer_names"]:
            renamed = _keras_2_name(str(name), first_number)
            names.append(renamed.encode())
            group = root.create_group(renamed)
            weights = []
            for weight in old["model_weights"][name].attrs["weight_names"]:
                stored = f"{renamed}/{str(weight).rpartition('/')[2]}:0"
                group.create_dataset(stored, data=old["model_weights"][name][weight][()])
                weights.append(stored.encode())
            group.attrs["weight_names"] = weights
        half = len(names) // 2
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:half], names[half:]


def _keras_2_name(name: str, first_number: int) -> str:
    if name in ("conv1_conv", "conv1_bn"):
        return name.replace("_", "/")
    stem, _, number = name.rpartition("_")
    if name in ("conv2d", "batch_normalization"):
        stem, number = name, "0"
    if stem in ("conv2d", "batch_normalization"):
        return f"{stem}_{int(number) + first_number}"
    return name


def _keras() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        pytest.skip(f"keras is not installed: {error}")
    if keras.backend.backend() != "torch":
        pytest.skip(f"keras runs on {keras.backend.backend()}, expected KERAS_BACKEND=torch")
    return keras
