"""Results computed once for a whole image and reused for each of its frames."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from radimagenet_monai.io.native_image import NativeImage

#: Cached results, kept as long as the image object lives (the reader keeps the last ones in memory).
_found: dict[int, tuple[weakref.ref, dict[tuple, Any]]] = {}

_Result = TypeVar("_Result")


def once(image: NativeImage, key: tuple, compute: Callable[[], _Result]) -> _Result:
    """The result of ``compute()``, computed once for each image and key."""
    results = _of(image)
    if key not in results:
        results[key] = compute()
    return results[key]


def note(image: NativeImage, key: tuple, value: Any) -> None:
    """Store ``value`` as the result of `once` for that image and key."""
    _of(image)[key] = value


def _of(image: NativeImage) -> dict[tuple, Any]:
    identity = id(image)
    reference, results = _found.get(identity, (None, {}))
    if reference is None or reference() is not image:
        results = {}
        _found[identity] = weakref.ref(image, lambda _: _found.pop(identity, None)), results
    return results
