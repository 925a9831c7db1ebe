"""How unsure a model is of each image that has no label yet."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.tasks.infer.basic_infer import CallBackTypes
from monailabel.tasks.infer.bundle import BundleInferTask

logger = logging.getLogger(__name__)

_UNUSABLE = -1.0  # below any entropy, so that such an image is shown last


class Uncertainty(ScoringMethod):
    """Keeps the entropy of a model's prediction in the information on each image, from 0 (sure) to 1.

    For classes, the entropy of the probabilities; for findings and masks, its mean over findings or pixels. An image is
    scored once for each state of the model; one that the model cannot use scores -1.

    Parameters
    ----------
    task
        Inference of a bundle.
    key
        Name of the score.
    """

    def __init__(self, task: BundleInferTask, key: str) -> None:
        super().__init__(f"Entropy of the predictions: {task.description}")
        self.task = task
        self.key = key

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, int]:
        self.task.clear_cache()
        model = Path(self.task.get_path()).stat().st_mtime_ns
        images = [
            image
            for image in datastore.get_unlabeled_images()
            if datastore.get_image_info(image).get(f"{self.key}_model") != model
        ]
        failed = 0
        for image in images:
            try:
                score = self.score(datastore.get_image_uri(image))
            except Exception as error:
                logger.warning("%s of image %s: %s", self.key, image, error)
                score = _UNUSABLE
                failed += 1
            datastore.update_image_info(image, {self.key: score, f"{self.key}_model": model})
        self.task.clear_cache()
        return {"scored": len(images) - failed, "failed": failed}

    def score(self, path: str) -> float:
        """The uncertainty of one image."""
        outputs: list[torch.Tensor] = []

        def keep(data: dict[str, Any]) -> dict[str, Any]:
            outputs.append(data["pred"].detach().float())
            return data

        _, data = self.task({"image": path, "skip_writer": True}, callbacks={CallBackTypes.INFERER: keep})
        if self.task.type == InferType.SEGMENTATION:
            return entropy(torch.softmax(outputs[0], dim=0))
        probabilities = torch.as_tensor(data["pred"]).float()
        if "findings" in self.task.bundle_config:
            return entropy(torch.stack([probabilities, 1 - probabilities]))
        return entropy(probabilities)


def entropy(probabilities: torch.Tensor) -> float:
    """Mean entropy of distributions along the first axis, relative to the largest possible one."""
    parts = -torch.xlogy(probabilities, probabilities).sum(dim=0) / math.log(len(probabilities))
    return float(parts.mean())
