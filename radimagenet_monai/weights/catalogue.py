"""The sets of weights known to this version, and the resolution of names. Imports no torch.

There are two unrelated sets of RadImageNet weights, each trained on a different presentation of the image, and ImageNet
baselines with their own conventions. With the wrong convention the same tensors load without an error and give useless
features, so each set is listed here with the one it was trained on.
"""

from __future__ import annotations

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import ARCHITECTURES, get_architecture
from radimagenet_monai.encoders.spec import InputConvention, NetworkVariant, WeightSpec

RANDOM = "random"

_HALVES = (0.5, 0.5, 0.5)
_MIDDLE = (127.5, 127.5, 127.5)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # of ImageNet, channels BGR, 0-255

# A randomly initialized network has no convention to keep; [-1, 1] is centred and symmetric.
_CENTRED = InputConvention("RGB", 1.0, _HALVES, _HALVES)
_IMAGENET_RGB = InputConvention("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RADIMAGENET_KERAS = InputConvention("BGR", 255.0, _CAFFE_MEAN, (255.0, 255.0, 255.0))
# The authors' scripts read with OpenCV and never swap the channels.
_RADIMAGENET_TORCH = InputConvention("BGR", 255.0, _MIDDLE, _MIDDLE)
_CAFFE = InputConvention("BGR", 255.0, _CAFFE_MEAN, (1.0, 1.0, 1.0))
_TENSORFLOW = InputConvention("RGB", 255.0, _MIDDLE, _MIDDLE)

_KERAS_VARIANT = {
    "resnet50": NetworkVariant(bn_eps=1.001e-5, stride_on="1x1"),
    "densenet121": NetworkVariant(bn_eps=1.001e-5),
    "inceptionv3": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
    "inceptionresnetv2": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
}
_TORCH_VARIANT = {
    "resnet50": NetworkVariant(),
    "densenet121": NetworkVariant(),
    "inceptionv3": NetworkVariant(bn_eps=1e-3),
    "inceptionresnetv2": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
}

_RADIMAGENET_PAPER = (
    "Mei et al., RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective Transfer Learning, "
    "Radiology: Artificial Intelligence 2022;4(5):e210315"
)
_IMAGENET_PAPER = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015"
_RADIMAGENET_LICENCE = (
    "given out by the authors of RadImageNet on request, under an agreement to be signed; whether weights derived from "
    "the data may be passed on is contested, so they are never shipped: use the copy you were given, under its terms"
)
_RADIMAGENET_OBTAIN = "RadImageNet weights are given out by their authors"
_IMAGENET_TERMS = "the images of ImageNet are for non-commercial research and education"


def _random(name: str) -> WeightSpec:
    return WeightSpec(
        architecture=name,
        tag=RANDOM,
        origin="random initialization (He et al. 2015 for convolutions), drawn from the run's seed",
        licence="none needed",
        convention=_CENTRED,
        variant=_TORCH_VARIANT[name],
    )


def _radimagenet_keras(name: str, file: str, sha256: tuple[str, ...] = ()) -> WeightSpec:
    return WeightSpec(
        architecture=name,
        tag="radimagenet_keras",
        origin="RadImageNet, the Keras weights of the paper",
        licence=_RADIMAGENET_LICENCE,
        convention=_RADIMAGENET_KERAS,
        variant=_KERAS_VARIANT[name],
        references=(_RADIMAGENET_PAPER, "https://github.com/BMEII-AI/RadImageNet"),
        file=file,
        obtain=_RADIMAGENET_OBTAIN,
        sha256=sha256,
    )


def _radimagenet_torch(name: str, file: str, sha256: tuple[str, ...] = ()) -> WeightSpec:
    return WeightSpec(
        architecture=name,
        tag="radimagenet_torch",
        origin="RadImageNet, the PyTorch weights that the authors added later; another training than the paper's",
        licence=_RADIMAGENET_LICENCE,
        convention=_RADIMAGENET_TORCH,
        variant=_TORCH_VARIANT[name],
        references=(_RADIMAGENET_PAPER, "https://github.com/BMEII-AI/RadImageNet"),
        file=file,
        obtain=_RADIMAGENET_OBTAIN,
        sha256=sha256,
    )


def _imagenet_torchvision(name: str, file: str, sha256: tuple[str, ...]) -> WeightSpec:
    return WeightSpec(
        architecture=name,
        tag="imagenet_torchvision",
        origin="ImageNet-1k, as torchvision gives them out",
        licence=f"torchvision's code is BSD-3-Clause; it states no licence for its weights, and {_IMAGENET_TERMS}",
        # torchvision's InceptionV3 undoes its transforms' mean and deviation inside the network (transform_input) for
        # weights that came from TensorFlow; the convolutions see [-1, 1].
        convention=_CENTRED if name == "inceptionv3" else _IMAGENET_RGB,
        variant=_TORCH_VARIANT[name],
        references=(_IMAGENET_PAPER, "https://docs.pytorch.org/vision/stable/models.html"),
        file=file,
        obtain=f"torchvision gives them out as {file}",
        # torchvision names a file by the first eight digits of its SHA-256.
        sha256=sha256,
    )


def _imagenet_keras(name: str, file: str, convention: InputConvention) -> WeightSpec:
    return WeightSpec(
        architecture=name,
        tag="imagenet_keras",
        origin="ImageNet-1k, as Keras applications give them out",
        licence=f"Keras is Apache-2.0; its weights keep the terms of those who trained them, and {_IMAGENET_TERMS}",
        convention=convention,
        variant=_KERAS_VARIANT[name],
        references=(_IMAGENET_PAPER, "https://keras.io/api/applications/"),
        file=file,
        obtain=f"Keras gives them out as {file}",
    )


def _imagenet_timm() -> WeightSpec:
    return WeightSpec(
        architecture="inceptionresnetv2",
        tag="imagenet_timm",
        origin="ImageNet-1k, as timm gives them out (inception_resnet_v2.tf_in1k, from TensorFlow)",
        licence=f"timm states Apache-2.0 for these weights, and {_IMAGENET_TERMS}",
        convention=_CENTRED,
        variant=_TORCH_VARIANT["inceptionresnetv2"],
        references=(_IMAGENET_PAPER, "https://huggingface.co/timm/inception_resnet_v2.tf_in1k"),
        file="model.safetensors",
        obtain="timm gives them out as inception_resnet_v2.tf_in1k",
    )


_SPECS = (
    _random("resnet50"),
    _radimagenet_keras(
        "resnet50",
        "RadImageNet-ResNet50_notop.h5",
        ("1f1d1c9fe6ab6980daa5e528145fe0db249c55415f8b3e1f3e3b1624d184f159",),
    ),
    _radimagenet_torch(
        "resnet50", "ResNet50.pt", ("08629f7e7bd3e29b8ee9522ca3f65ce4d010a7ddf74f0ea3c7e3f3d0bbab0734",)
    ),
    _imagenet_torchvision("resnet50", "resnet50-0676ba61.pth", ("0676ba61", "11ad3fa6")),
    _imagenet_keras("resnet50", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", _CAFFE),
    _random("densenet121"),
    _radimagenet_keras("densenet121", "RadImageNet-DenseNet121_notop.h5"),
    _radimagenet_torch("densenet121", "DenseNet121.pt"),
    _imagenet_torchvision("densenet121", "densenet121-a639ec97.pth", ("a639ec97",)),
    _imagenet_keras("densenet121", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5", _IMAGENET_RGB),
    _random("inceptionv3"),
    _radimagenet_keras("inceptionv3", "RadImageNet-InceptionV3_notop.h5"),
    _radimagenet_torch("inceptionv3", "InceptionV3.pt"),
    _imagenet_torchvision("inceptionv3", "inception_v3_google-0cc3c7bd.pth", ("0cc3c7bd",)),
    _imagenet_keras("inceptionv3", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", _TENSORFLOW),
    _random("inceptionresnetv2"),
    _radimagenet_keras("inceptionresnetv2", "RadImageNet-IRV2_notop.h5"),
    _imagenet_timm(),
    _imagenet_keras(
        "inceptionresnetv2", "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", _TENSORFLOW
    ),
)

CATALOGUE: dict[str, WeightSpec] = {spec.name: spec for spec in _SPECS if spec.architecture in ARCHITECTURES}


def resolve_weights(architecture: str, weights: str) -> WeightSpec:
    """The catalogue's specification of ``weights`` for ``architecture``.

    Parameters
    ----------
    architecture
        A name of `ARCHITECTURES`.
    weights
        A tag such as ``"random"``, or a full name such as ``"resnet50.random"``.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name, or a full name of another architecture.
    """
    get_architecture(architecture)
    name = str(weights)
    refuse_other_architecture(architecture, name)
    try:
        return CATALOGUE[name if name in CATALOGUE else f"{architecture}.{name}"]
    except KeyError:
        raise unknown_weights(architecture, name) from None


def refuse_other_architecture(architecture: str, name: str) -> None:
    """Raise `ConfigurationError` if ``name`` starts with the name of another architecture."""
    named = name.partition(".")[0]
    if named in ARCHITECTURES and named != architecture:
        raise ConfigurationError(
            f"weights {name!r} are of {named}, but the architecture is {architecture!r}; "
            f"give --architecture {named} or other weights"
        )


def unknown_weights(architecture: str, name: str, also: tuple[str, ...] = ()) -> ConfigurationError:
    """The error for a name that is neither in the catalogue nor, as ``also``, in the weight store."""
    known = ", ".join([*(spec.tag for spec in CATALOGUE.values() if spec.architecture == architecture), *also])
    return ConfigurationError(f"unknown weights {name!r} for {architecture}; known: {known}")
