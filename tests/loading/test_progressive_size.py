"""Images that grow over the first epochs: the sizes, and what reaches the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading.loader import PrepareBatch
from radimagenet_monai.loading.progressive_size import ProgressiveSize


def test_sizes_grow_in_steps_of_32_and_end_full():
    progressive = ProgressiveSize(224, epochs=12, first_size=128)
    sizes = [progressive.size(epoch) for epoch in range(1, 16)]
    assert sizes == [128, 128, 128, 128, 160, 160, 160, 160, 192, 192, 192, 192, 224, 224, 224]


@given(st.integers(64, 600), st.integers(0, 50), st.integers(1, 18), st.integers(0, 60))
def test_sizes_never_shrink_and_never_exceed_the_images(image_size, epochs, steps, epoch):
    first = min(32 * steps, image_size // 32 * 32)
    progressive = ProgressiveSize(image_size, epochs, first)
    size = progressive.size(epoch)
    assert first <= size <= image_size or epochs == 0
    assert size <= progressive.size(epoch + 1)
    assert size % 32 == 0 or size == image_size
    assert progressive.size(epochs + 1) == image_size


def test_off_leaves_the_batch_alone():
    images = torch.rand(2, 1, 64, 64)
    assert ProgressiveSize(64).resize(images, 1) is images


def test_pixels_are_those_of_pillow():
    picture = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((128, 128), Image.Resampling.BILINEAR))
    images = torch.from_numpy(picture)[None, None].float()
    ours = ProgressiveSize(224, 10, 128).resize(images, 1)[0, 0].numpy()
    assert np.abs(ours - expected).max() <= 1.0  # Pillow rounds twice, to 8 bits


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_batch_gets_the_size_of_its_epoch(channels_last):
    prepare = PrepareBatch(resizing=ProgressiveSize(64, 4, 32), channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for epoch, size in ((1, 32), (5, 64)):
        batch = {
            "image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
            "label": torch.tensor([0, 1]),
            "epoch": torch.full((2,), epoch),
            "index": torch.arange(2),
        }
        images, _ = prepare(batch)
        assert images.shape == (2, 3, size, size)
        assert images.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("size", "epochs", "first"), [(224, -1, 128), (224, 3, 100), (64, 3, 96), (64, 3, 0)])
def test_sizes_that_make_no_sense_are_refused(size, epochs, first):
    with pytest.raises(ConfigurationError, match=r"image_size|progressive_resizing"):
        ProgressiveSize(size, epochs, first)


def test_a_batch_without_its_epoch_is_refused():
    with pytest.raises(ConfigurationError, match="'epoch' and 'index'"):
        PrepareBatch(resizing=ProgressiveSize(64, 4, 32))({"image": torch.zeros(2, 1, 64, 64)})
