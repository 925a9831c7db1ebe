"""Loader and batch preparation: the same batches however they are read, and MONAI's engines take them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import SmartCacheDataset, list_data_collate
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch.utils.data import DataLoader

import radimagenet_monai.loading
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading.augmentation import AffineAugmentation
from radimagenet_monai.loading.loader import PrepareBatch, build_loader, collate_packed, dataset_items, records_of
from radimagenet_monai.loading.packed_items import PackedDataset
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

SIZE = (24, 32)
AUGMENTATION = AffineAugmentation(seed=8)


@pytest.fixture
def dataset(records, read_picture, store_dir) -> PackedDataset:
    return PackedDataset(records, read_picture, store_dir, SIZE)


@pytest.fixture
def augmented(records, read_picture, store_dir) -> PackedDataset:
    return PackedDataset(records, read_picture, store_dir, SIZE, augmentation=AUGMENTATION)


def epochs(loader: DataLoader, *numbers: int) -> list[dict]:
    batches = []
    for number in numbers:
        loader.sampler.set_epoch(number)
        batches.extend(loader)
    return batches


def assert_equal(left: list[dict], right: list[dict]) -> None:
    assert len(left) == len(right) > 0
    for ours, theirs in zip(left, right, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
            assert same, key


@pytest.mark.parametrize(("method", "num_workers"), [("fork", 2), ("forkserver", 1)])
def test_workers_change_nothing(augmented, method, num_workers):
    here = epochs(build_loader(augmented, 7, shuffle=True, seed=5), 1, 2, 3)
    options = {"num_workers": num_workers, "multiprocessing_context": method}
    there = epochs(build_loader(augmented, 7, shuffle=True, seed=5, **options), 1, 2, 3)
    assert_equal(here, there)


def test_resuming_at_an_epoch_changes_nothing(augmented):
    whole = epochs(build_loader(augmented, 8, shuffle=True, seed=5), 1, 2, 3)
    resumed = epochs(build_loader(augmented, 8, shuffle=True, seed=5), 3)
    assert_equal(whole[-5:], resumed)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_random_state_is_left_alone(augmented, num_workers):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - it is what must not change
    epochs(build_loader(augmented, 8, shuffle=True, num_workers=num_workers), 1, 2)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002


def test_augmentation_differs_between_epochs_and_images(augmented, dataset):
    first, second = epochs(build_loader(augmented, 40), 1, 2)
    assert not any(torch.equal(one, two) for one, two in zip(first["image"], second["image"], strict=True))
    assert torch.equal(
        first["image"][7], torch.from_numpy(AUGMENTATION.warp(dataset[7]["image"][0].numpy(), 1, 7))[None]
    )


def test_both_backends_give_the_same_batch(dataset, augmented):
    on_cpu = epochs(build_loader(augmented, 40, shuffle=True), 4)[0]
    raw = epochs(build_loader(dataset, 40, shuffle=True), 4)[0]
    image, label = PrepareBatch(AUGMENTATION)(raw, "cpu")
    plain, _ = PrepareBatch()(on_cpu, "cpu")
    assert (image - plain).abs().mean() < 0.5 / 255
    assert (image - plain).abs().max() < 2 / 255
    assert torch.equal(label, on_cpu["label"])


def test_a_last_image_alone_joins_the_batch_before_in_training(records, read_picture, store_dir):
    """Batch norm in training refuses one value a channel, which DenseNet121 has of one image of 32 x 32."""
    dataset = PackedDataset(records[:5], read_picture, store_dir, (32, 32))
    network = build_classifier("densenet121").train()
    loader = build_loader(dataset, 4, shuffle=True)
    sizes = [len(network(PrepareBatch()(batch)[0])) for batch in loader]
    assert sizes == [5]
    assert [len(batch["index"]) for batch in build_loader(dataset, 4)] == [4, 1]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.rand(1, 1, 32, 32))


def test_collated_columns(dataset):
    batch = collate_packed([dataset[0], dataset[1]])
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (2, 1, *SIZE)
    assert batch["label"].tolist() == [0, 1]
    assert batch["site"] == ["a", "b"]
    mixed = collate_packed([{"age": 40, "sex": "F", "seen": True}, {"age": 41.5, "sex": None, "seen": False}])
    assert mixed["age"].tolist() == [40, 41.5]
    assert mixed["sex"] == ["F", None]
    assert mixed["seen"].tolist() == [True, False]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_with_channels_are_channels_last(records, store_dir, num_workers):
    rgb = np.random.default_rng(0).random((3, *SIZE)).astype(np.float32)
    dataset = PackedDataset(records, lambda data: {"image": rgb}, store_dir, SIZE)
    batch = next(iter(build_loader(dataset, 4, num_workers=num_workers)))
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    image, _ = PrepareBatch()(batch)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert (image[3] - torch.from_numpy(rgb)).abs().max() < 0.51 / 255


def test_prepared_batch(dataset):
    batch = next(iter(build_loader(dataset, 4)))
    image, label = PrepareBatch()(batch, torch.device("cpu"), non_blocking=True)
    assert image.dtype == torch.float32
    assert torch.allclose(image * 255, batch["image"].float(), atol=1e-4)
    assert label.dtype == torch.int64
    floating, none = PrepareBatch()({"image": image})
    assert torch.equal(floating, image)
    assert none is None
    with pytest.raises(ConfigurationError, match="needs 'epoch' and 'index'"):
        PrepareBatch(AUGMENTATION)({"image": image})


def test_monai_engines_set_the_epoch(augmented):
    seen = []

    class Recorder(PrepareBatch):
        def __call__(self, batchdata, *arguments, **options):
            seen.append((batchdata["epoch"].unique().tolist(), batchdata["index"].tolist()))
            return super().__call__(batchdata, *arguments, **options)

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE[0] * SIZE[1], 2))
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=build_loader(augmented, 20, shuffle=True, seed=2, num_workers=1),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 1e-3),
        loss_function=torch.nn.CrossEntropyLoss(),
        prepare_batch=Recorder(),
    ).run()
    assert [epoch for epoch, _ in seen] == [[1], [1], [2], [2], [3], [3]]
    expected = [[key.index for key in keys] for keys in _halves(augmented)]
    assert [indices for _, indices in seen] == expected
    seen.clear()
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=build_loader(augmented, 20),
        network=network,
        prepare_batch=Recorder(),
    ).run()
    assert [indices for _, indices in seen] == [list(range(20)), list(range(20, 40))]


def _halves(dataset: PackedDataset):
    loader = build_loader(dataset, 20, shuffle=True, seed=2)
    for epoch in (1, 2, 3):
        loader.sampler.set_epoch(epoch)
        keys = list(loader.sampler)
        yield from (keys[:20], keys[20:])


def test_a_bundle_config_can_name_them(records, store_dir):
    parser = ConfigParser(
        {
            "transform": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader", "ensure_channel_first": True},
                    {
                        "_target_": "ScaleIntensityRanged",
                        "keys": "image",
                        "a_min": 0,
                        "a_max": 255,
                        "b_min": 0,
                        "b_max": 1,
                    },
                ],
            },
            "dataset": {
                "_target_": "radimagenet_monai.loading.PackedDataset",
                "data": records,
                "transform": "@transform",
                "store_dir": str(store_dir),
                "image_size": list(SIZE),
                "augmentation": {"_target_": "radimagenet_monai.loading.AffineAugmentation", "seed": 3},
            },
            "loader": {
                "_target_": "radimagenet_monai.loading.build_loader",
                "dataset": "@dataset",
                "batch_size": 16,
                "shuffle": True,
            },
            "prepare": {"_target_": "radimagenet_monai.loading.PrepareBatch"},
        }
    )
    image, label = parser.get_parsed_content("prepare")(next(iter(parser.get_parsed_content("loader"))))
    assert image.shape == (16, 1, *SIZE)
    assert label.shape == (16,)


def test_exports():
    for name in radimagenet_monai.loading.__all__:
        assert getattr(radimagenet_monai.loading, name).__module__.startswith("radimagenet_monai.")
    assert set(radimagenet_monai.loading.__all__) <= set(dir(radimagenet_monai.loading))
    with pytest.raises(AttributeError, match="Nothing"):
        radimagenet_monai.loading.Nothing  # noqa: B018 - the access is the test


def test_columns_that_some_records_lack_are_left_out() -> None:
    items = [{"index": 0, "label": 1, "sha256": "a" * 64}, {"index": 1, "label": 0}]
    assert collate_packed(items).keys() == collate_packed(items[::-1]).keys() == {"index", "label"}


def test_items_for_monais_datasets_collate_whatever_the_records_state():
    records = [
        {"image": "a.png", "frame": 0, "label": [1.0, np.nan], "mask": ["m.png"], "sex": "F"},
        {"image": "b.png", "frame": 3, "label": [0.0, 1.0], "mask": []},
        {"image": "c.png", "frame": 1, "label": [0.0, 0.0], "mask": ["m.png", "n.png"]},
    ]
    items = dataset_items(records)
    batch = list_data_collate(items)
    assert batch["index"].tolist() == [0, 1, 2]
    assert batch["sex"] == ["F", "", ""]
    assert batch["label"].shape == (3, 2)
    assert "mask" not in batch
    assert [item["mask"] for item in dataset_items(records, with_mask=True)] == [record["mask"] for record in records]
    shuffled = SmartCacheDataset(items, replace_rate=0.5, cache_num=2, seed=1, progress=False)
    assert shuffled.data != items
    assert records_of(shuffled) == items


def test_records_that_are_no_items_stay_as_they_are(dataset):
    assert records_of(dataset) is dataset.data
    assert records_of(SimpleNamespace(data=[])) == []
