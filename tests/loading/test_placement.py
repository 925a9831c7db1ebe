"""Augmentation happens once: in the workers on a CPU, on the device otherwise."""

from __future__ import annotations

import pytest

from radimagenet_monai.loading import AffineAugmentation, augmentation_in_workers, augmentation_on_device


@pytest.mark.parametrize(("device", "in_workers"), [("cpu", True), ("cuda", False), ("cuda:1", False)])
def test_each_device_augments_in_one_place(device: str, in_workers: bool) -> None:
    augmentation = AffineAugmentation()
    assert augmentation_in_workers(augmentation, device) is (augmentation if in_workers else None)
    assert augmentation_on_device(augmentation, device) is (None if in_workers else augmentation)
