"""U-Net on one of the encoders, built by MONAI's `FlexibleUNet`.

Importing this module registers every catalogued set of weights in MONAI's ``FLEXUNET_BACKBONE``, under its full name,
so that ``FlexibleUNet(in_channels=1, out_channels=2, backbone="resnet50.radimagenet_keras")`` works too.
"""

from typing import Any

from monai.networks.blocks import BaseEncoder
from monai.networks.nets import FLEXUNET_BACKBONE, FlexibleUNet
from torch import Tensor
from torch.nn import functional as F

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import get_architecture
from radimagenet_monai.encoders.encoder import EncoderParts
from radimagenet_monai.models.freezing import Freeze, freeze_encoder, keep_frozen_in_evaluation
from radimagenet_monai.models.partial_copy import RefusesPartialCopy
from radimagenet_monai.weights.catalogue import CATALOGUE, resolve_weights
from radimagenet_monai.weights.pretrained_encoder import build_encoder

_RANDOM = "random"


class PyramidEncoder(EncoderParts, BaseEncoder):
    """An encoder that returns its pyramid when called, as `FlexibleUNet` expects, with the state dict of `Encoder`.

    Parameters
    ----------
    architecture, weights
        See `build_encoder`.
    spatial_dims, in_channels
        Given by `FlexibleUNet`: 2, and 1 or 3.
    pretrained
        Given by `FlexibleUNet`, whose default is False. The name of the weights already says which they are, so this
        is only checked for a contradiction.

    Raises
    ------
    ConfigurationError
        For other dimensions or channels, unknown names, or ``pretrained=True`` with random weights.
    """

    def __init__(
        self,
        architecture: str,
        weights: str = _RANDOM,
        spatial_dims: int = 2,
        in_channels: int = 1,
        pretrained: bool = False,
    ) -> None:
        if spatial_dims != 2:
            raise ConfigurationError(f"spatial_dims is {spatial_dims}, but the encoders take 2-D images")
        if in_channels not in (1, 3):
            raise ConfigurationError(f"in_channels is {in_channels}, but a canonical image has 1 or 3")
        if pretrained and weights == _RANDOM:
            raise ConfigurationError(
                f"pretrained=True contradicts backbone '{architecture}.random'; name the weights, such as "
                f"'{architecture}.radimagenet_keras'"
            )
        super().__init__(architecture, resolve_weights(architecture, _RANDOM))
        if weights != _RANDOM:
            self.load_state_dict(build_encoder(architecture, weights).state_dict())

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.pyramid(image)

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        return list(CATALOGUE)

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        # FlexibleUNet writes its own spatial_dims, in_channels and pretrained into these at each construction.
        fixed = {"spatial_dims": 2, "in_channels": 1, "pretrained": False}
        return [{"architecture": spec.architecture, "weights": spec.tag, **fixed} for spec in CATALOGUE.values()]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        return [get_architecture(spec.architecture).pyramid_channels for spec in CATALOGUE.values()]

    @classmethod
    def num_outputs(cls) -> list[int]:
        return [len(channels) for channels in cls.num_channels_per_output()]


FLEXUNET_BACKBONE.register_class(PyramidEncoder)


class UNet(RefusesPartialCopy, FlexibleUNet):
    """An encoder with the decoder of `FlexibleUNet` and its defaults, for images of any size.

    Takes canonical images (N, 1 or 3, H, W) in [0, 1] and gives **logits** (N, ``num_classes``, H, W). Internally
    the last row and column are repeated up to multiples of 32, and the logits are cropped back.

    The names under ``encoder.`` in its state dict are those of `Classifier`; see `take_encoder`.
    """

    def __init__(self, architecture: str, weights: str, num_classes: int, freeze: str = "none") -> None:
        if num_classes < 1:
            raise ConfigurationError(f"num_classes is {num_classes}, expected at least 1")
        policy = Freeze.parse(freeze)
        get_architecture(architecture)
        super().__init__(in_channels=1, out_channels=num_classes, backbone=f"{architecture}.{_RANDOM}", is_pad=False)
        if weights != _RANDOM:
            self.encoder.load_state_dict(build_encoder(architecture, weights).state_dict())
        self.freeze = str(policy)
        freeze_encoder(self.encoder, policy)

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[2], inputs.shape[3]
        below, right = (32 - height % 32) % 32, (32 - width % 32) % 32
        if below > 0 or right > 0:
            inputs = F.pad(inputs, [0, right, 0, below], mode="replicate")
        logits = self.segmentation_head(self.decoder(self.encoder(inputs), self.skip_connect))
        return logits[:, :, :height, :width]

    def train(self, mode: bool = True) -> "UNet":
        """As in PyTorch, except that frozen modules stay in evaluation mode."""
        super().train(mode)
        if mode:
            keep_frozen_in_evaluation(self.encoder, Freeze(self.freeze))
        return self


def build_unet(
    architecture: str = "resnet50", weights: str = _RANDOM, num_classes: int = 2, freeze: str = "none"
) -> UNet:
    """A U-Net on one of the encoders.

    Parameters
    ----------
    architecture
        ``"resnet50"``, ``"densenet121"``, ``"inceptionv3"`` or ``"inceptionresnetv2"``.
    weights
        Initialization of the encoder, by name; see ``radimagenet info``. The decoder is always randomly initialized.
    num_classes
        Channels of the logits: 2 or more for softmax, 1 for a sigmoid.
    freeze
        ``"none"``, ``"encoder"`` or ``"all_but_last_10"``; the decoder is always trained.

    Returns
    -------
    UNet
        Takes (N, 1 or 3, H, W) in [0, 1], H and W of any size, gives logits (N, ``num_classes``, H, W).

    Raises
    ------
    ConfigurationError
        For an unknown name or a value out of range.

    Examples
    --------
    >>> import torch
    >>> network = build_unet("densenet121", num_classes=2).eval()
    >>> network(torch.rand(1, 1, 250, 230)).shape
    torch.Size([1, 2, 250, 230])
    """
    return UNet(architecture, weights, num_classes, freeze)
