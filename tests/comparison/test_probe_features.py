"""Cached features: equal to computing them anew, computed once, and never those of something else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from probe_data import ARCHITECTURE, SIZE, TASK, write_speckle
from shallow_densenet import shallow_densenet

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.comparison.probe.feature_cache import FeatureCache, image_hash
from radimagenet_monai.comparison.probe.features import FeatureTable, FrozenEncoder, encoder_features
from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.datasets.records.table import read_records, to_datalist, write_records
from radimagenet_monai.encoders import Encoder
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.intensity import UltrasoundLuminanced
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading import PackedDataset
from radimagenet_monai.models import build_encoder

pytestmark = pytest.mark.slow

Features = Callable[..., FeatureTable]


@pytest.fixture(scope="module", autouse=True)
def _shallow_densenet() -> Iterator[None]:
    with shallow_densenet():
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of pictures with ``records.csv``."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_speckle(folder)
    return folder


def features_of(arguments: dict[str, Any]) -> FeatureTable:
    where = [arguments[name] for name in ("task", "records_table", "root")]
    options = {name: item for name, item in arguments.items() if name in FrozenEncoder.__dataclass_fields__}
    return encoder_features(*where, FrozenEncoder(**options))


@pytest.fixture
def features(data: Path, tmp_path: Path) -> Features:
    """`encoder_features` of the small dataset."""

    def compute(**changes: Any) -> FeatureTable:
        arguments: dict[str, Any] = {
            "task": get_task(TASK),
            "records_table": data / "records.csv",
            "root": data,
            "architecture": ARCHITECTURE,
            "weights": "random",
            "image_size": SIZE,
            "cache_dir": tmp_path / "cache",
            "batch_size": 5,
            **changes,
        }
        return features_of(arguments)

    return compute


def test_cached_features_equal_uncached_ones(features: Features, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    encoder = build_encoder(ARCHITECTURE, "random").eval().to(memory_format=torch.channels_last)
    items = to_datalist(read_records(data / "records.csv"), data, None)
    transform = [LoadNativeImaged(keys="image"), UltrasoundLuminanced(keys="image", crop="auto")]
    packed = PackedDataset(items, transform, tmp_path / "store", SIZE)
    images = torch.stack([item["image"] for item in packed]) / 255
    with torch.inference_mode():
        batches = [batch.contiguous(memory_format=torch.channels_last) for batch in images.split(5)]
        uncached = np.concatenate([encoder.pooled(batch).numpy() for batch in batches])
        # In double precision and another memory layout, one image at a time.
        precise = encoder.double().to(memory_format=torch.contiguous_format)
        exact = np.concatenate([precise.pooled(image[None].double()).numpy() for image in images])
    for _ in range(2):
        found = features(seed=3)
        assert np.array_equal(found.index, np.arange(24))
        assert difference(found.features, uncached) < 1e-6
        assert difference(found.features, exact) < 5e-6


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Of the features of any image, relative to their Euclidean norm."""
    return float((np.linalg.norm(one - other, axis=1) / np.linalg.norm(other, axis=1)).max())


@pytest.mark.long
def test_a_second_run_computes_nothing(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    first = features()
    assert first.computed == 24
    monkeypatch.setattr(Encoder, "pooled", lambda *arguments: pytest.fail("an image went through the encoder again"))
    second = features()
    assert second.computed == 0
    assert np.array_equal(first.features, second.features)


@pytest.mark.long
def test_new_records_compute_only_what_is_new(features: Features, data: Path) -> None:
    frame = read_records(data / "records.csv")
    write_records(frame.iloc[4:16], data / "some.csv")
    some = features(records_table=data / "some.csv")
    assert some.computed == 12
    everything = features()
    assert everything.computed == 12
    assert np.array_equal(everything.features[4:16], some.features)
    # A copy under another name is the same picture.
    shutil.copy(data / "000.png", data / "copy.png")
    write_records(pd.concat([frame, frame.iloc[:1].assign(image="copy.png")]), data / "more.csv")
    more = features(records_table=data / "more.csv")
    assert more.computed == 0
    assert np.array_equal(more.features[-1], more.features[0])


@pytest.mark.long
def test_changed_pixels_are_computed_again(features: Features, data: Path) -> None:
    before = features()
    picture = cv2.imread(str(data / "005.png"), cv2.IMREAD_GRAYSCALE)
    picture[10:30, 10:30] = 255 - picture[10:30, 10:30]
    cv2.imwrite(str(data / "005.png"), picture)
    after = features()
    assert after.computed == 1
    assert np.array_equal(np.flatnonzero((after.features != before.features).any(axis=1)), [5])


def test_other_weights_sizes_and_policies_are_not_mixed_up(features: Features, tmp_path: Path) -> None:
    first = features()
    torch.manual_seed(5)
    network = torch.nn.Module()
    network.encoder = build_encoder(ARCHITECTURE)
    save_encoder(tmp_path / "own.safetensors", network, {})
    others = [
        features(seed=1),
        features(weights=str(tmp_path / "own.safetensors")),
        features(image_size=SIZE + 1),
    ]
    for other in others:
        assert other.computed == 24
        assert difference(other.features, first.features) > 1e-4
    hashes = {table.weights_sha256 for table in [first, *others]}
    assert len(hashes) == 3
    # Another policy misses the cache, although these pictures have neither header nor margin and look the same to it.
    policy = features(task=get_task("pneumonia_cxr_classification"))
    assert policy.computed == 24
    assert policy.intensity != first.intensity
    assert features().computed == 0


def test_a_killed_run_goes_on_where_it_stopped(features: Features, tmp_path: Path, monkeypatch: Any) -> None:
    expected = features(cache_dir=tmp_path / "uninterrupted").features
    pooled, calls = Encoder.pooled, []

    def killed(self: Encoder, image: torch.Tensor) -> torch.Tensor:
        calls.append(len(image))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pooled(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "pooled", killed)
        with pytest.raises(KeyboardInterrupt):
            features()
    (folder,) = (tmp_path / "cache").glob(f"{ARCHITECTURE}-*")
    # What a kill in the middle of writing leaves: features without a name, and half a name.
    for name in ("features.f32", "rows.bin"):
        with (folder / name).open("ab") as stream:
            stream.write(b"torn" * 5)
    resumed = features()
    assert resumed.computed == 24 - 3 * 5
    assert np.array_equal(resumed.features, expected)


@pytest.mark.long
def test_a_damaged_row_is_computed_again(features: Features, tmp_path: Path, caplog: Any) -> None:
    expected = features().features
    (folder,) = (tmp_path / "cache").glob(f"{ARCHITECTURE}-*")
    data = bytearray((folder / "features.f32").read_bytes())
    data[7 * 4 * 1024 + 2] ^= 1
    (folder / "features.f32").write_bytes(data)
    mended = features()
    assert mended.computed == 1
    assert "1 damaged rows" in caplog.text
    assert difference(mended.features, expected) < 5e-6
    assert features().computed == 0


def _compute(arguments: dict[str, Any]) -> tuple[int, np.ndarray]:
    torch.set_num_threads(1)
    table = features_of(arguments)
    return table.computed, table.features


@pytest.mark.long
def test_processes_share_the_work(data: Path, tmp_path: Path, features: Features) -> None:
    arguments = {
        "task": get_task(TASK),
        "records_table": data / "records.csv",
        "root": data,
        "architecture": ARCHITECTURE,
        "weights": "random",
        "image_size": SIZE,
        "cache_dir": tmp_path / "shared",
    }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_compute, [arguments] * 2))
    assert sorted(computed for computed, _ in results) == [0, 24]
    assert np.array_equal(results[0][1], results[1][1])


def test_drawing_random_weights_leaves_the_callers_generator_alone(features: Features) -> None:
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    features()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_unreadable_images_stop_the_run_or_are_left_out(features: Features, data: Path) -> None:
    (data / "003.png").write_bytes(b"no picture")
    with pytest.raises(StoreError, match=r"003\.png"):
        features()
    table = features(unreadable="skip")
    assert np.array_equal(table.index, [number for number in range(24) if number != 3])


def test_what_cannot_work_is_refused_at_once(features: Features) -> None:
    with pytest.raises(ConfigurationError, match="too small for inceptionv3"):
        features(architecture="inceptionv3")
    with pytest.raises(ConfigurationError, match="unknown weights 'radimagenet'"):
        features(weights="radimagenet")


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file", ARCHITECTURE, SIZE, 2, {})
    with pytest.raises(StoreError, match=r"cannot be written.*--cache_dir"), cache.filling():
        pass


def test_the_hash_of_an_image_sees_shape_and_values() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    same = image_hash(np.asfortranarray(image))
    assert image_hash(image) == same
    assert len({same, image_hash(image.reshape(1, 4, 3)), image_hash(image + np.uint8(1))}) == 3
