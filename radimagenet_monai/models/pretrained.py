"""Loading a pretrained encoder for use in any PyTorch code."""

from __future__ import annotations

from radimagenet_monai.encoders.encoder import Encoder
from radimagenet_monai.weights.pretrained_encoder import build_encoder


def load_encoder(architecture: str = "resnet50", weights: str = "random") -> Encoder:
    """An encoder with weights chosen by name, in evaluation mode, on the CPU.

    It takes images as they come from a file, scaled to [0, 1], and applies the input convention of its weights itself:
    channel order, scale, mean and deviation. Weights other than ``"random"`` must be in the weight store
    (``radimagenet weights import FILE``); nothing is downloaded.

    Parameters
    ----------
    architecture
        ``"resnet50"``, ``"densenet121"``, ``"inceptionv3"`` or ``"inceptionresnetv2"``.
    weights
        A tag (``"radimagenet_keras"``), a full name (``"resnet50.radimagenet_keras"``), or the path of stored weights,
        of a trained ``model.pt``, of a ``checkpoint.pt`` or of a bundle's folder.

    Returns
    -------
    Encoder
        A ``torch.nn.Module``. Called on float images (N, 1 or 3, H, W) in [0, 1], upright, channels RGB, it gives the
        final feature map (N, ``num_features``, h, w) of non-negative numbers (at 224 x 224: 7 x 7, for the Inception
        networks 5 x 5). ``encoder.pooled(image)`` gives (N, ``num_features``), ``encoder.pyramid(image)`` five maps at
        1/2 ... 1/32 for sides that are multiples of 32.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name.
    WeightsError
        If the weights are missing from the weight store, damaged, or of another architecture.

    Examples
    --------
    >>> import torch
    >>> from radimagenet_monai import load_encoder
    >>> encoder = load_encoder("resnet50", weights="random")
    >>> image = torch.rand(2, 1, 224, 224)  # two gray images in [0, 1]
    >>> with torch.no_grad():
    ...     features = encoder(image)
    ...     pooled = encoder.pooled(image)
    ...     pyramid = encoder.pyramid(image)
    >>> features.shape
    torch.Size([2, 2048, 7, 7])
    >>> bool(features.min() >= 0)
    True
    >>> pooled.shape
    torch.Size([2, 2048])
    >>> [tuple(level.shape[1:]) for level in pyramid]
    [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    """
    return build_encoder(architecture, weights).eval()
