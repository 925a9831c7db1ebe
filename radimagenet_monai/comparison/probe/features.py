"""Pooled features of a frozen encoder for the images of a records table, computed once per image."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from radimagenet_monai.catalog.tasks import Task
from radimagenet_monai.collection.render import render_bundle
from radimagenet_monai.comparison.probe.feature_cache import FeatureCache, image_hash
from radimagenet_monai.datasets.records.table import load_datalist
from radimagenet_monai.encoders import Encoder
from radimagenet_monai.encoders.architectures import get_architecture
from radimagenet_monai.engine.distributed import local_device
from radimagenet_monai.engine.start.preflight import require_image_size
from radimagenet_monai.engine.trained.intensity import intensity_facts
from radimagenet_monai.loading import PackedDataset
from radimagenet_monai.models import build_encoder
from radimagenet_monai.weights.store import find_weights, tensors_sha256

PROBE_IMAGE_SIZE = 160
"""Side in pixels: the largest at which four encoders in three initializations take 1 000 images in minutes on two
cores. The Inception networks need 75."""

_HASHED_AT_ONCE = 256


@dataclass(frozen=True)
class FrozenEncoder:
    """An encoder, and how it is run on images.

    Attributes
    ----------
    architecture, weights
        As for `build_encoder`.
    image_size
        Side in pixels.
    seed
        Seed of ``random`` weights.
    cache_dir
        Folder of packed images and features, shared by all runs on the same images.
    batch_size
        Images per forward pass; finished batches survive a killed process.
    unreadable
        ``"stop"`` or ``"skip"``, as for `PackedDataset`.
    progress
        Whether to show bars on a terminal.
    """

    architecture: str
    weights: str
    image_size: int = PROBE_IMAGE_SIZE
    seed: int = 0
    cache_dir: str | os.PathLike[str] = "features"
    batch_size: int = 32
    unreadable: Literal["stop", "skip"] = "stop"
    progress: bool = False


@dataclass(frozen=True)
class FeatureTable:
    """Features of the readable images of a records table.

    Attributes
    ----------
    features
        float32 ``(n, num_features)``, spatial averages, 0 or more.
    index
        int64 ``(n,)``, ascending: zero-based row of each image in the records table.
    computed
        Number of images that passed through the encoder; the others came from the cache.
    weights_sha256
        Hash of the encoder's tensors, including its input convention.
    intensity
        The intensity policy as JSON values.
    """

    features: np.ndarray
    index: np.ndarray
    computed: int
    weights_sha256: str
    intensity: Any


def encoder_features(
    task: Task, records_table: str | os.PathLike[str], root: str | os.PathLike[str], frozen: FrozenEncoder
) -> FeatureTable:
    """Features of all images of a records table, from the cache if present.

    Images are prepared as in the task's bundle, without augmentation, and kept in a packed store in the cache folder,
    so that pixels are decoded once for all encoders. The cache key is the encoder's tensors, the intensity policy, the
    image size and the canonical pixels, so changing any of them never returns old features.

    Parameters
    ----------
    task
        The task, which sets the intensity policy.
    records_table
        CSV file for `read_records`.
    root
        Folder that its paths are relative to.
    frozen
        The encoder.

    Raises
    ------
    ConfigurationError
        For an unknown name, or images too small for the architecture.
    RecordsError
        For an unsuitable records table.
    WeightsError
        If the weights are not in the store or are damaged.
    StoreError
        If images cannot be read or the cache cannot be written.
    """
    architecture, weights, image_size = frozen.architecture, frozen.weights, frozen.image_size
    require_image_size(architecture, image_size)
    find_weights(architecture, weights)  # fails before hours of packing
    items = load_datalist(records_table, root, classes=None)
    preprocessing, policy, transform_keys = task_preprocessing(task)
    images = PackedDataset(
        items,
        preprocessing,
        Path(frozen.cache_dir) / "images",
        image_size,
        transform_keys=transform_keys,
        unreadable=frozen.unreadable,
        progress=frozen.progress,
    )
    weights_sha256 = _weights_hash(architecture, weights, frozen.seed)
    intensity = intensity_facts(policy)
    cache = FeatureCache(
        frozen.cache_dir,
        architecture,
        image_size,
        get_architecture(architecture).num_features,
        {"weights_sha256": weights_sha256, "intensity": intensity},
    )
    hashes = _image_hashes(images)
    rows, computed = cache.find(hashes), 0
    if (rows < 0).any():
        with cache.filling():
            rows = cache.find(hashes)  # another process may have filled it meanwhile
            missing = np.flatnonzero(rows < 0)
            missing = missing[np.unique([hashes[place] for place in missing], return_index=True)[1]]
            if len(missing):
                encoder = _seeded_encoder(architecture, weights, frozen.seed)
                for places, features in _forward(encoder, images, np.sort(missing), frozen):
                    cache.append([hashes[place] for place in places], features)
                computed = len(missing)
        rows = cache.find(hashes)
    index = np.array([item["record"] for item in images.data], dtype=np.int64)
    return FeatureTable(cache.read(rows), index, computed, weights_sha256, intensity)


def task_preprocessing(task: Task) -> tuple[Callable[..., Any], Callable[..., Any], list[str]]:
    """From the task's bundle: the whole transform, its intensity policy, and the record columns it reads."""
    parser = ConfigParser(json.loads(render_bundle(task)["configs/train.json"]))
    columns = parser["train#dataset#transform_keys"]
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("intensity"), columns


def _weights_hash(architecture: str, weights: str, seed: int) -> str:
    """SHA-256 over the tensors of the encoder that `encoder_features` uses."""
    source = find_weights(architecture, weights)
    if source.stored is not None:
        # Hash of the file's tensors at import; loading checks that they are unchanged.
        return str(source.stored.record["tensors_sha256"])
    if source.path is None:
        return _random_hash(architecture, seed)
    return tensors_sha256(build_encoder(architecture, weights).state_dict())


@functools.lru_cache(maxsize=32)
def _random_hash(architecture: str, seed: int) -> str:
    # A comparison uses the same few encoders in every fold, and initializing one takes up to a second.
    return tensors_sha256(_seeded_encoder(architecture, "random", seed).state_dict())


def _seeded_encoder(architecture: str, weights: str, seed: int) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(architecture, weights).eval()


def _image_hashes(images: PackedDataset) -> list[bytes]:
    hashes = []
    for start in range(0, len(images), _HASHED_AT_ONCE):
        places = range(start, min(start + _HASHED_AT_ONCE, len(images)))
        hashes += [image_hash(item["image"].numpy()) for item in images.__getitems__(places)]
    return hashes


def _forward(
    encoder: Encoder, images: PackedDataset, places: np.ndarray, frozen: FrozenEncoder
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield positions and features, ``(batch, num_features)``, batch by batch."""
    device = local_device()
    # The stub of Module.to lacks memory_format.
    encoder = encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
    bar = tqdm(total=len(places), desc="Features", unit="image", disable=None if frozen.progress else True)
    # With TensorFloat-32, GPU features would differ from the CPU's in the third digit.
    with bar, torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        for start in range(0, len(places), frozen.batch_size):
            batch = places[start : start + frozen.batch_size].tolist()
            pixels = torch.stack([item["image"] for item in images.__getitems__(batch)]).to(device)
            pooled = encoder.pooled(pixels.float().div(255).contiguous(memory_format=torch.channels_last))
            yield batch, pooled.float().cpu().numpy()
            bar.update(len(batch))
