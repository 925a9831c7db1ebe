"""MONAI's random transforms after the packed store, as a function of seed, epoch and image alone."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, OneOf, Randomizable, RandomizableTrait, RandomOrder, SomeOf

from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.loading.augmentation import AffineAugmentation

Steps = Callable[..., Any] | Sequence[Callable[..., Any]]


class RandomSteps:
    """Dictionary transforms that are applied to an image each time it is read.

    The random state of every step, and the global ones of torch, NumPy and Python, are set from ``(seed, epoch,
    index)`` before the call; the global ones are put back after it. An image therefore does not depend on order,
    batch size, number of workers or on what was read before, and a resumed run sees what an uninterrupted one would.
    Outside of the main thread the global states are left alone, since other threads draw from them: there, transforms
    that do not draw from a state of their own, as MONAI's do, are not repeatable.

    Parameters
    ----------
    steps
        MONAI or other dictionary transforms, in order; `AffineAugmentation` may be one of them.
    seed
        Non-negative integer.
    image_key, label_key
        Keys that the steps see: the image, and its mask where it has one.
    """

    def __init__(
        self, steps: Sequence[Callable[..., Any]], seed: int = 0, image_key: str = "image", label_key: str = "label"
    ) -> None:
        if seed < 0:
            raise ConfigurationError(f"seed {seed}: expected a non-negative integer")
        self.compose = Compose(list(steps))
        self._lock = threading.Lock()
        self.seed = int(seed)
        self.image_key = image_key
        self.label_key = label_key

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __call__(
        self, image: torch.Tensor, epoch: int, index: int, record: dict[str, Any], with_mask: bool = False
    ) -> torch.Tensor:
        """Apply the steps to one image.

        Parameters
        ----------
        image
            uint8 ``(C, H, W)``, 255 for 1.0; ``with_mask``, its last channel is a mask, which the steps see under
            ``label_key`` as ``(1, H, W)``.
        epoch, index
            Non-negative integers.
        record
            Further entries for the steps to read.

        Returns
        -------
        torch.Tensor
            float32 ``(C, H, W)``, 1.0 for what was 255; steps may leave [0, 1] and change the size.

        Raises
        ------
        ConfigurationError
            If a step fails or gives no image.
        """
        values = image.to(torch.float32) * (1 / 255)
        keys = [self.image_key, self.label_key] if with_mask else [self.image_key]
        item: dict[str, Any] = {**record, "epoch": epoch, "index": index, self.image_key: values}
        if with_mask:
            item |= {self.image_key: values[:-1], self.label_key: values[-1:]}
        with self._lock, random_state(self.seed, epoch, index) as drawn:
            self.compose.set_random_state(seed=drawn)
            try:
                result = self.compose(item)
                found = [torch.as_tensor(result[key]).as_subclass(torch.Tensor).to(torch.float32) for key in keys]
                if any(part.ndim != 3 for part in found):
                    raise ValueError(f"result of shape {[list(part.shape) for part in found]}, expected (C, H, W)")
                return torch.cat(found)
            except Exception as error:
                cause = error.__cause__ or error
                names = ", ".join(type(step).__name__ for step in self.compose.transforms)
                raise ConfigurationError(
                    f"the transforms after the packed store ({names}) failed on image {index}: "
                    f"{one_line(f'{type(cause).__name__}: {cause}')}; expected dictionary transforms of a tensor "
                    f"(C, H, W) under {' and '.join(map(repr, keys))}"
                ) from error


@contextlib.contextmanager
def random_state(seed: int, epoch: int, index: int) -> Iterator[int]:
    """Seed the global states of torch's CPU generator, NumPy and Python from the three numbers; put them back after.

    Only in the main thread.
    Gives a number of 32 bits for further generators.
    """
    first, second = np.random.SeedSequence([seed, epoch, index]).generate_state(2).tolist()
    if threading.current_thread() is not threading.main_thread():
        yield second
        return
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - third-party transforms draw from it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(first)
            np.random.seed(first)  # noqa: NPY002 - as above
            random.seed(first)
            yield second
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above


def is_random(transform: Any) -> bool:
    """Whether a transform, or any of those in a ``Compose``, draws random numbers as MONAI's do."""
    if isinstance(transform, OneOf | RandomOrder | SomeOf):
        return True
    if isinstance(transform, Compose):
        return any(map(is_random, transform.transforms))
    return isinstance(transform, Randomizable | RandomizableTrait | AffineAugmentation)


def split_where_random(transform: Steps) -> tuple[Callable[..., Any], list[Callable[..., Any]]]:
    """What comes before the first random transform, which a store can keep, and the steps from there on.

    A transform without random parts keeps its store, and so does one whose random parts are at its end.

    Raises
    ------
    ConfigurationError
        If the first transform is random already: nothing could be stored.
    """
    whole = Compose(list(transform)) if isinstance(transform, Sequence) else transform
    if not is_random(whole):
        return whole, []
    steps = flattened(whole)
    first = next(place for place, step in enumerate(steps) if is_random(step))
    if first == 0:
        raise ConfigurationError(
            f"the preprocessing begins with {type(steps[0]).__name__}, which is random; read the image first, or give "
            "the transform as augmentation"
        )
    before = copy.copy(whole) if isinstance(whole, Compose) else Compose()  # keeps the options, and so the store
    before.transforms = tuple(steps[:first])
    return before, steps[first:]


def deterministic(steps: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """The steps without the random ones."""
    return [step for step in steps if not is_random(step)]
