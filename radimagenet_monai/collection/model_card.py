"""The front page of a bundle's Hugging Face repository, and statements about the weights in a released bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from radimagenet_monai.catalog.tasks import Kind, Task
from radimagenet_monai.collection.bundle_files import BundleError
from radimagenet_monai.engine.trained.stated_facts import CARD_ROW, stated_card

GIT_ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in ("onnx", "pt"))
"""Which files the hub keeps in its large file storage."""

_PIPELINES = {
    Kind.CLASSIFICATION: "image-classification",
    Kind.SEGMENTATION: "image-segmentation",
    Kind.PRETRAINING: "image-classification",
}

_NO_WEIGHTS = "This bundle holds no images and no weights derived from images of this dataset."
_WEIGHTS = (
    "This bundle holds no images. It holds weights in models/; the terms of the images that they were trained on apply."
)


def front_matter(task: Task, has_weights: bool) -> str:
    """YAML front matter of a model card, as read by the hub.

    It has no ``datasets``: the hub would look for them among its own data sets, where those of the field are missing.
    """
    tags = ["monai", "radimagenet", "radiology", "medical", task.kind.value]
    tags += [] if task.modality is None else [task.modality.value.lower()]
    tags += [] if has_weights else ["untrained"]
    lines = [
        "license: apache-2.0",
        "library_name: monai",
        f"pipeline_tag: {_PIPELINES[task.kind]}",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        f"model_name: {json.dumps(task.name)}",
        "inference: false",
    ]
    return "\n".join(["---", *lines, "---", "", ""])


def state_weights(card: str, facts: Mapping[str, Any]) -> str:
    """The model card ``docs/README.md``, with the row on weights stating those in the bundle.

    Raises
    ------
    BundleError
        If the card has no such row.
    """
    stated = stated_card(card, facts)
    if stated is None:
        raise BundleError(f"docs/README.md has no row '{CARD_ROW}' in which a release could state the weights")
    return stated


def state_data_license(text: str) -> str:
    """``docs/data_license.txt`` of a bundle with trained weights.

    Raises
    ------
    BundleError
        If the text lacks the statement that there are none, so that it cannot be replaced.
    """
    anywhere_wrapped = r"\s+".join(map(re.escape, _NO_WEIGHTS.split()))
    changed, count = re.subn(anywhere_wrapped, _WEIGHTS, text)
    if count != 1:
        raise BundleError(
            "docs/data_license.txt does not say that there are no weights, so a release cannot change that"
        )
    return changed
