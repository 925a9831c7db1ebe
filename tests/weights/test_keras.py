"""Import of Keras files against Keras itself: same picture, each side's own preprocessing, same features."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import keras_oracle
import numpy as np
import pytest
import torch

from radimagenet_monai import load_encoder
from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import Encoder
from radimagenet_monai.encoders.input_norm import InputNorm
from radimagenet_monai.encoders.spec import InputConvention, NetworkVariant
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.importers.import_file import ImportReport, import_weights
from radimagenet_monai.weights.importers.keras_h5 import read_keras
from radimagenet_monai.weights.importers.keras_layers import keras_layers, saved_order

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)


def radimagenet_preprocessing(picture: np.ndarray) -> np.ndarray:
    """As the scripts of the RadImageNet authors: caffe's means off the BGR picture, then divided by 255."""
    bgr = picture[..., ::-1].astype(np.float32)
    return ((bgr - np.array([103.939, 116.779, 123.68], dtype=np.float32)) / 255)[None]


def canonical(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]


def features(encoder: Encoder, picture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return encoder(canonical(picture)).numpy()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@dataclass
class Application:
    """A Keras model, the files that Keras wrote of it, and our encoder imported from the whole one."""

    architecture: str
    model: Any
    folder: Path
    report: ImportReport
    encoder: Encoder


# `tests/encoders/test_published.py` has the network of InceptionResNetV2 every day.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long if name == "inceptionresnetv2" else ()) for name in ALL],
)
def application(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp(request.param)
    model = keras_oracle.keras_application(request.param, session_layers=2)
    model.save(folder / "model.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADIMAGENET_HOME", str(folder))
        report = import_weights(folder / "model.h5", f"{request.param}.radimagenet_keras")
        encoder = load_encoder(request.param, "radimagenet_keras")
    yield Application(request.param, model, folder, report, encoder)
    shutil.rmtree(folder)


def with_spec(application: Application, tag: str, convention: InputConvention | None = None) -> Encoder:
    """The same tensors under another specification of the catalogue."""
    spec = CATALOGUE[f"{application.architecture}.{tag}"]
    encoder = deepcopy(application.encoder)
    encoder.input_norm = InputNorm(convention or spec.convention)
    encoder.backbone.apply_variant(spec.variant)
    return encoder


def only(*quick: str) -> pytest.MarkDecorator:
    """Applications that stand for the others in a quick run."""
    names = [pytest.param(name, marks=() if name in quick else pytest.mark.long) for name in ALL]
    return pytest.mark.parametrize("application", names, indirect=True)


# In a quick run smaller sizes with the same remainders, which is what padding depends on.
SIZES = [128, 139, *(pytest.param(size, marks=pytest.mark.long) for size in (224, 256, 299))]


@pytest.mark.parametrize("size", SIZES)
def test_features_equal_those_of_keras(application: Application, picture: np.ndarray, size: int) -> None:
    part = picture[:size, :size]
    expected = keras_oracle.keras_features(application.model, radimagenet_preprocessing(part))
    assert expected.std(axis=(2, 3)).mean() > 0.01 * expected.max()
    assert relative_error(features(application.encoder, part), expected) <= 1e-4


@only("resnet50", "densenet121")
def test_features_with_the_imagenet_convention_equal_those_of_keras(
    application: Application, picture: np.ndarray
) -> None:
    part = picture[:128, :128]
    preprocessed = keras_oracle.imagenet_preprocessing(application.architecture, part)
    expected = keras_oracle.keras_features(application.model, preprocessed)
    assert relative_error(features(with_spec(application, "imagenet_keras"), part), expected) <= 1e-4


# That of an application is right by the tests above.
@only("resnet50")
def test_another_convention_is_measurably_wrong(application: Application, picture: np.ndarray) -> None:
    part = picture[:128, :128]
    expected = features(application.encoder, part)
    for tag in ("radimagenet_torch", "imagenet_torchvision", "random"):
        swapped = with_spec(application, "radimagenet_keras", CATALOGUE[f"resnet50.{tag}"].convention)
        assert relative_error(features(swapped, part), expected) > 1e-2, tag


@only("resnet50", "inceptionv3")
def test_another_variant_of_the_network_is_measurably_wrong(application: Application, picture: np.ndarray) -> None:
    part = picture[:128, :128]
    expected = features(application.encoder, part)
    variant = replace(CATALOGUE[f"{application.architecture}.radimagenet_keras"].variant, bn_eps=1e-2)
    others = [variant]
    if application.architecture == "resnet50":
        others.append(NetworkVariant(bn_eps=1.001e-5, stride_on="3x3"))
    if application.architecture.startswith("inception"):
        others.append(NetworkVariant(bn_eps=1e-3, pool_padding="counted"))
    for other in others:
        encoder = with_spec(application, "radimagenet_keras")
        encoder.backbone.apply_variant(other)
        assert relative_error(features(encoder, part), expected) > 1e-3, other


@only("resnet50", "densenet121")
def test_the_form_of_the_published_files_gives_the_same_tensors(application: Application, tmp_path: Path) -> None:
    """Bit for bit those of ``model.h5``, whose features are compared above."""
    keras_oracle.as_keras_2(application.folder / "model.h5", tmp_path / "other", first_number=94)
    assert_same_tensors(tmp_path / "other", application)
    (tmp_path / "other").unlink()  # as large as the network


@only("densenet121")
def test_every_form_of_file_gives_the_same_tensors(application: Application, tmp_path: Path) -> None:
    """Weights alone, with and without the names of layers."""
    other = tmp_path / "only.weights.h5"
    application.model.save_weights(other)
    assert_same_tensors(other, application)
    with h5py.File(other, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None) and None)
    assert_same_tensors(other, application)
    other.unlink()


def assert_same_tensors(path: Path, application: Application) -> None:
    found = read_keras(path)
    expected = application.encoder.backbone.state_dict()
    assert found.architecture == application.architecture
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[key], expected[key]) for key in expected)


def test_layers_stand_in_the_order_of_keras(application: Application) -> None:
    """Names, numbers and order of all layers, against the model of the installed Keras."""
    architecture, model = application.architecture, application.model
    kinds = {"Conv2D": "conv", "BatchNormalization": "bn"}
    theirs = [kinds.get(type(layer).__name__, "other") for layer in model.layers]
    assert [layer.kind for layer in saved_order(architecture)] == theirs
    named = [layer.name for layer in saved_order(architecture) if layer.name]
    assert named == [layer.name for layer in model.layers if layer.name in set(named)]
    counts = {
        "resnet50": (53, 53),
        "densenet121": (120, 121),
        "inceptionv3": (94, 94),
        "inceptionresnetv2": (244, 204),
    }
    layers = keras_layers(architecture)
    assert tuple(sum(layer.kind == kind for layer in layers) for kind in ("conv", "bn")) == counts[architecture]


def test_report_counts_what_keras_counts(application: Application) -> None:
    count, report = application.model.count_params(), application.report
    text = "\n".join(report.describe())
    assert report.published.num_values == count
    assert f"from {count:,} numbers" in text
    assert "(not known, recorded)" in text
    assert "BGR, (x * 255 - [103.939, 116.779, 123.68]) / 255" in text
    assert report.stored.record["num_parameters"] == ARCHITECTURES[application.architecture].num_parameters


@pytest.mark.long
def test_head_of_imagenet_tells_the_origin(tmp_path: Path) -> None:
    keras_oracle.keras_application("densenet121", include_top=True).save(tmp_path / "model.h5")
    report = import_weights(tmp_path / "model.h5")
    assert report.stored.spec.name == "densenet121.imagenet_keras"
    assert report.published.head == ("predictions/kernel", "predictions/bias")
    assert "left out" in "\n".join(report.describe())
    with pytest.raises(WeightsError, match=r"cannot be densenet121\.radimagenet_keras"):
        import_weights(tmp_path / "model.h5", "radimagenet_keras")
