"""A training of seconds: random pictures, a network of two layers, MONAI's trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.engines import SupervisedTrainer
from torch import nn
from torch.utils.data import Dataset

from radimagenet_monai.engine.step import TrainingStep
from radimagenet_monai.loading.loader import PrepareBatch, build_loader

CLASSES = 3
SIZE = 32


class TinyPictures(Dataset):
    """Pictures whose brightness depends on their class, as items of a packed dataset."""

    def __init__(self, images: int = 40, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, CLASSES, images)
        noise = generator.integers(0, 100, (images, 1, SIZE, SIZE))
        self.pictures = torch.from_numpy((noise + 50 * labels[:, None, None, None]).astype(np.uint8))
        self.data = [{"image": f"/pictures/{n:03d}.png", "label": int(label)} for n, label in enumerate(labels)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: Any) -> dict[str, Any]:
        return {
            "image": self.pictures[key.index],
            "label": self.data[key.index]["label"],
            "epoch": key.epoch,
            "index": key.index,
        }


class TinyNetwork(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self, batch_norm: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6) if batch_norm else nn.Identity()
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.convolution(images))).mean((2, 3)))


def tiny_network(batch_norm: bool = True, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return TinyNetwork(batch_norm)


def tiny_trainer(network: nn.Module, handlers: Sequence[Any] = (), **options: Any) -> SupervisedTrainer:
    """A trainer on `TinyPictures`; ``options`` replace its arguments, or those of the loader."""
    loader_options = {"batch_size": 8, "shuffle": True, "num_workers": 0}
    loader_options |= {name: options.pop(name) for name in list(options) if name in loader_options}
    dataset = options.pop("dataset", None) or TinyPictures()
    arguments: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 2,
        "train_data_loader": build_loader(dataset, **loader_options),
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1),
        "loss_function": nn.CrossEntropyLoss(),
        "prepare_batch": PrepareBatch(),
        "iteration_update": TrainingStep(),
        "train_handlers": list(handlers),
        "decollate": False,
    }
    return SupervisedTrainer(**(arguments | options))


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def largest_difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)
