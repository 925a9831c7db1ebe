"""Bundles as after a training, with small networks that were never trained, and one whose right answer is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from radimagenet_monai.engine.trained.model_file import save_model

REPOSITORY = Path(__file__).parents[2]
SIZE = 32


class Bright(torch.nn.Module):
    """Segments what is white."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        lesion = (images[:, :1] > self.level).float() * 100
        return torch.cat([50 - lesion, lesion - 50], dim=1)


class Mean(torch.nn.Module):
    """Two classes by the mean of a slice: slices differ, and the order of classes is plain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = self.weight * (images.mean(dim=(1, 2, 3)) - 0.3)
        return torch.stack([-mean, mean], dim=1)


def untrained(name: str, folder: Path, network: torch.nn.Module | None = None, **facts: Any) -> Path:
    """A bundle with a shallow DenseNet121 of random weights, or ``network``, as its trained model."""
    bundle = Path(shutil.copytree(REPOSITORY / "bundles" / name, folder / name))
    known: dict[str, Any] = {"architecture": "densenet121", "image_size": SIZE, **facts}
    config = bundle / "configs" / "inference.json"
    if network is None:
        torch.manual_seed(0)
        parser = ConfigParser(json.loads(config.read_text()))
        parser["architecture"] = "densenet121"
        network = parser.get_parsed_content("network_def")
    else:
        for path in (config, bundle / "configs" / "evaluate.json"):
            content = json.loads(path.read_text())
            content["network_def"] = {"_target_": f"small_bundles.{type(network).__name__}"}
            path.write_text(json.dumps(content))
    (bundle / "models").mkdir(exist_ok=True)
    save_model(bundle / "models" / "model.pt", network, known)
    return bundle


def window(bundle: Path) -> Path:
    """Let a segmentation bundle take CT, whose values are known exactly."""
    config = bundle / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["intensity"] = {
        "_target_": "radimagenet_monai.intensity.CTWindowd",
        "keys": "image",
        "windows": ["abdomen"],
        "allow_modality_mismatch": "$engine.parse_flag(@allow_modality_mismatch)",
    }
    config.write_text(json.dumps(content))
    return bundle
