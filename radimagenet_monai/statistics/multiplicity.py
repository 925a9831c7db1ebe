"""Several tests at once: the more there are, the more likely one is significant by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radimagenet_monai.core.errors import RadImageNetError


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of a family of tests, so that the chance of any false positive stays below the level.

    Holm S, Scand J Stat 1979;6:65-70. It needs no independence and is never worse than Bonferroni. Decide what belongs
    to the family before looking at the data.

    Parameters
    ----------
    p_values
        In [0, 1]; ``None`` for a test that could not be done.

    Returns
    -------
    list
        Adjusted p-values in the same order. ``None`` stays ``None`` and does not count in the family.

    Raises
    ------
    RadImageNetError
        For a number outside [0, 1].
    """
    for position, p in enumerate(p_values):
        if p is not None and not 0 <= p <= 1:
            raise RadImageNetError(
                f"p-value {p} was given at position {position}; expected 0 to 1, or None for a test not made"
            )
    made = [position for position, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[position] for position in made], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    # Never below the adjusted value of a smaller p, which keeps the order.
    adjusted = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)))
    result: list[float | None] = [None] * len(p_values)
    for rank, value in zip(order, adjusted, strict=True):
        result[made[rank]] = float(value)
    return result
