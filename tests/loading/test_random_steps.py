"""MONAI's random transforms after the packed store: a function of seed, epoch and image."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, OneOf, RandAdjustContrastd, RandFlipd, RandGaussianNoised, ScaleIntensityRanged
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading import AffineAugmentation, SampleKey, build_loader, packed_dataset

SIZE = 32
NOISE: dict[str, Any] = {"keys": "image", "prob": 1.0, "std": 0.1, "sample_std": False}


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    return [{"image": str(tmp_path / f"{number}.png"), "label": number % 2} for number in range(4)]


@pytest.fixture
def make(items: list[dict[str, Any]], tmp_path: Path) -> Any:
    def dataset(transform: Any, **options: Any) -> Any:
        return packed_dataset(items, transform, tmp_path / "store", SIZE, num_workers=0, progress=False, **options)

    return dataset


def read(data: dict) -> dict:
    """Grey picture to canonical image."""
    return {**data, "image": np.asarray(Image.open(data["image"]), np.float32)[None] / 255}


def images(dataset: Any, epoch: int) -> list[torch.Tensor]:
    return [dataset[SampleKey(epoch, index)]["image"] for index in range(len(dataset))]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(one, other) for one, other in zip(first, second, strict=True)]


def test_random_steps_of_the_preprocessing_are_not_stored(make: Any, tmp_path: Path) -> None:
    plain = make([read])
    noisy = make(Compose([read, RandGaussianNoised(**NOISE)]), seed=0)
    assert len([path for path in (tmp_path / "store").iterdir() if path.is_dir()]) == 1
    for one, other in zip(images(plain, 1), images(noisy, 1), strict=True):
        difference = other - one / 255
        assert other.dtype == torch.float32
        assert 0.08 < float(difference.std()) < 0.12
    assert same(images(noisy, 1), images(noisy, 2)) == [False] * 4


def test_they_depend_on_seed_epoch_and_image_alone(make: Any) -> None:
    def fresh(seed: int = 0) -> Any:
        return make([read], augmentation=[RandGaussianNoised(**NOISE), RandAdjustContrastd("image", 1.0)], seed=seed)

    expected = images(fresh(), 3)
    used = fresh()
    images(used, 1)
    torch.manual_seed(5)
    assert same(expected, [used[SampleKey(3, index)]["image"] for index in (3, 2, 1, 0)][::-1]) == [True] * 4
    assert same(expected, images(fresh(seed=1), 3)) == [False] * 4
    for workers in (0, 2):
        loader = build_loader(fresh(), 3, shuffle=True, num_workers=workers)
        loader.sampler.set_epoch(3)
        found = {int(i): image for batch in loader for i, image in zip(batch["index"], batch["image"], strict=True)}
        assert same(expected, [found[index] for index in range(4)]) == [True] * 4


def test_global_random_states_are_left_alone(make: Any) -> None:
    dataset = make([read], augmentation=RandGaussianNoised(**NOISE))

    def draw() -> tuple[Any, ...]:
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the state that other transforms draw from

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002 - the state that other transforms draw from
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002 - the state that other transforms draw from
    images(dataset, 1)
    assert draw() == expected


def test_transforms_that_draw_from_global_states_are_repeatable(make: Any) -> None:
    def add(data: dict) -> dict:
        return {**data, "image": data["image"] + torch.rand(1) + np.random.rand() + random.random()}  # noqa: NPY002 - the state that other transforms draw from

    first, second = make([read], augmentation=add), make([read], augmentation=add)
    assert same(images(first, 1), images(second, 1)) == [True] * 4
    assert same(images(first, 1), images(first, 2)) == [False] * 4


def test_the_warp_in_a_compose_is_the_warp_alone(make: Any) -> None:
    warp = AffineAugmentation(seed=2)
    alone = make([read], augmentation=warp)
    first = make([read], augmentation=Compose([warp, RandFlipd("image", prob=0.0)]))
    later = make([read], augmentation=Compose([RandFlipd("image", prob=0.0), warp]))
    for one, two, three in zip(images(alone, 1), images(first, 1), images(later, 1), strict=True):
        assert torch.allclose(one / 255, two, atol=1e-6)
        assert torch.allclose(one / 255, three, atol=0.02)  # OpenCV rounds to uint8 and to 1/32 of a pixel


def test_a_mask_is_moved_with_its_image_and_not_made_noisy(make: Any) -> None:
    def with_mask(data: dict) -> dict:
        image = read(data)["image"]
        return {**data, "image": np.concatenate([image, image > 0.5]).astype(np.float32)}

    options = {"with_mask": True}
    plain = make([with_mask], **options)
    flip = RandFlipd(["image", "label"], prob=1.0, spatial_axis=1)
    flipped = make([with_mask], augmentation=[flip, RandGaussianNoised(**NOISE)], **options)
    for one, other in zip(images(plain, 1), images(flipped, 1), strict=True):
        assert torch.equal(one[1:] / 255, other[1:].flip(2))
        assert not torch.equal(one[:1] / 255, other[:1].flip(2))


def test_without_a_seed_as_in_validation_only_the_random_steps_are_left_out(make: Any) -> None:
    clip = ScaleIntensityRanged("image", 0.0, 1.0, 0.0, 0.5)
    steps = Compose([read, Compose([OneOf([RandGaussianNoised(**NOISE)])]), clip])
    plain, validation = make([read]), make(steps)
    for one, other in zip(images(plain, 0), images(validation, 0), strict=True):
        assert torch.allclose(one / 510, other, atol=1e-6)


def test_errors_say_what_was_expected(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="begins with RandGaussianNoised, which is random"):
        make(Compose([RandGaussianNoised(**NOISE), read]))
    with pytest.raises(ConfigurationError, match=r"\(RandFlipd\) failed on image 1: KeyError: .*picture"):
        make([read], augmentation=RandFlipd("picture", prob=1.0))[1]
    with pytest.raises(ConfigurationError, match="needs 'epoch' and 'index'"):
        AffineAugmentation()({"image": torch.zeros(1, 8, 8)})
