"""The first module of every network: from the canonical image to what the weights were trained on."""

import torch
from torch import Tensor, nn

from radimagenet_monai.encoders.spec import InputConvention


class InputNorm(nn.Module):
    """Map a canonical image, ``(N, 1 or 3, H, W)`` in [0, 1], to ``(N, 3, H, W)`` in the weights' own convention.

    Channel order, scale, mean and standard deviation are buffers: they are saved in the state dict and exported with
    TorchScript and ONNX, so that a trained network cannot be given the wrong preprocessing.

    Raises
    ------
    ValueError
        From ``forward``, if the image does not have 1 or 3 channels.
    """

    scale: Tensor
    offset: Tensor
    channel_order: Tensor

    def __init__(self, convention: InputConvention) -> None:
        super().__init__()
        mean = torch.tensor(convention.mean, dtype=torch.float64)
        std = torch.tensor(convention.std, dtype=torch.float64)
        self.register_buffer("scale", (convention.scale / std).float().view(1, 3, 1, 1))
        self.register_buffer("offset", (-mean / std).float().view(1, 3, 1, 1))
        self.register_buffer("channel_order", torch.tensor([0, 1, 2] if convention.order == "RGB" else [2, 1, 0]))

    def forward(self, image: Tensor) -> Tensor:
        channels = image.shape[1]
        if channels == 3:
            image = image.index_select(1, self.channel_order)
        elif channels != 1:
            raise ValueError(f"a canonical image has 1 or 3 channels, not {channels}")
        # One channel is broadcast to the three that the weights expect.
        return image * self.scale + self.offset
