"""The steps of MONAI's composed transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def flattened(transform: Any) -> list[Callable[..., Any]]:
    """Steps of one transform, of a sequence of them, or of ``Compose`` s within each other; ``[]`` for ``None``."""
    from monai.transforms import Compose, OneOf, RandomOrder, SomeOf  # slow to import

    if transform is None:
        return []
    if isinstance(transform, Compose) and not isinstance(transform, OneOf | RandomOrder | SomeOf):
        transform = transform.transforms
    if isinstance(transform, Sequence):
        return [step for part in transform for step in flattened(part)]
    return [transform]
