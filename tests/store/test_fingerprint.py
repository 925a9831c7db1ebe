"""Fingerprint of a transform: equal for equal settings, also in another process, and different for any other."""

from __future__ import annotations

import enum
import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    OneOf,
    RandFlipd,
    Resized,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
)

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.store.fingerprint import describe_transform, digest, file_stamp

pytestmark = pytest.mark.slow


class Mode(enum.Enum):
    A = 1
    B = 2


class Holder:
    def __init__(self, value: object) -> None:
        self.value = value


def fingerprint(value: object) -> str:
    return digest(describe_transform(Holder(value)))


def offset_by(amount: int):
    return lambda pixels: pixels + amount


DIFFERENT = [
    None, True, 1, 1.0, "1", b"1", 2, 1.5, float("nan"), float("inf"), Mode.A, Mode.B, Path("a"), "a",
    [1, 2], [2, 1], [[1], 2], {"a": 1}, {"a": 2}, {"b": 1}, {1, 2}, {1, 3}, slice(1), slice(2),
    np.zeros(3), np.zeros(3, np.float32), np.ones(3), np.zeros((3, 1)), torch.arange(3), np.float32(1), np.dtype("u1"),
    torch.float32, torch.float64, torch.device("cpu"), np.sin, np.cos, min, max, Holder, Holder(1), Holder(2),
    lambda pixels: pixels, lambda pixels: pixels + 1, lambda pixels: pixels + 2, lambda pixels, n=2: pixels + 1,
    lambda name: name in {"a", "b", "c", "d", "e"}, offset_by(1), offset_by(2),
    functools.partial(offset_by, 1), functools.partial(offset_by, 2), "abc".upper,
    ScaleIntensityRanged("image", 0, 255, 0, 1), ScaleIntensityRanged("image", 0, 254, 0, 1),
    ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1), ScaleIntensityRangePercentilesd("image", 2, 99, 0, 1),
    Resized("image", (8, 8)), Resized("image", (8, 8), mode="bilinear"),
    LoadImaged("image"), LoadImaged("image", reader="PILReader"),
    EnsureChannelFirstd("image"), Lambdad("image", lambda pixels: pixels), Lambdad("image", lambda pixels: pixels * 2),
    Compose([Resized("image", 8), EnsureChannelFirstd("image")]),
    Compose([EnsureChannelFirstd("image"), Resized("image", 8)]),
]  # fmt: skip


def test_different_settings_differ():
    found = [fingerprint(value) for value in DIFFERENT]
    collisions = [
        (DIFFERENT[first], DIFFERENT[second])
        for first in range(len(found))
        for second in range(first)
        if found[first] == found[second]
    ]
    assert not collisions


def test_equal_settings_are_equal_at_other_addresses():
    spec = importlib.util.spec_from_file_location(__name__, __file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert [fingerprint(value) for value in again.DIFFERENT] == [fingerprint(value) for value in DIFFERENT]


def test_the_order_within_a_set_is_nothing():
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(frozenset(one)) == fingerprint(frozenset(other))
    # Also where the compiler makes a constant of it; compiled together, the two would be one constant.
    functions = [eval(f"lambda number: number in {numbers}") for numbers in ("{0, 8}", "{8, 0}")]
    assert fingerprint(functions[0]) == fingerprint(functions[1])


@pytest.mark.long
def test_equal_settings_are_equal_in_another_process():
    """Also under another hash seed, which changes the order of sets and the addresses in every repr."""
    script = f"import {__name__} as t; print(*[t.fingerprint(value) for value in t.DIFFERENT], sep='\\n')"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]),
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [fingerprint(value) for value in DIFFERENT]


def test_use_does_not_change_it(tmp_path):
    transform = Compose(
        [LoadImaged("image", reader="NumpyReader"), EnsureChannelFirstd("image", channel_dim="no_channel")]
    )
    np.save(tmp_path / "image.npy", np.zeros((4, 4)))
    before = describe_transform(transform)
    transform({"image": str(tmp_path / "image.npy")})
    assert describe_transform(transform) == before


def test_cyclic_state_ends():
    holder = Holder(None)
    holder.value = [holder]
    assert fingerprint(holder) == fingerprint(holder)


def test_versions_are_part_of_it():
    assert "monai" in describe_transform(Resized("image", 8))["versions"]


@pytest.mark.parametrize(
    "transform",
    [
        RandFlipd("image"),
        Compose([RandFlipd("image")]),
        OneOf([Resized("image", 8), Resized("image", 9)]),
        Lambdad("image", RandFlipd("image")),
    ],
)
def test_random_transforms_are_refused(transform):
    with pytest.raises(ConfigurationError, match="is random, and a packed store keeps one result"):
        describe_transform(transform)


def test_state_that_cannot_be_seen_is_refused():
    with pytest.raises(ConfigurationError, match=r"transform\.Holder\.value: the state of a .*generator"):
        fingerprint(number for number in range(3))


def test_stamp_of_a_folder_sees_what_is_below_it(tmp_path):
    (tmp_path / "deep").mkdir()
    stamps = [file_stamp(str(tmp_path))]
    for name in ("a", "deep/b"):
        (tmp_path / name).write_text("x")
        stamps.append(file_stamp(str(tmp_path)))
    (tmp_path / "deep" / "b").rename(tmp_path / "deep" / "c")
    stamps.append(file_stamp(str(tmp_path)))
    assert len(set(stamps)) == 4
