"""Checks the column ``modality`` of a table against the intensity policy, before any image is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.intensity.checks.modality import POLICIES
from radimagenet_monai.intensity.transforms import IntensityPolicyd

_FIRST_ROW = 2  # the header is row 1, as a spreadsheet counts


def require_fitting_modality(
    records: Sequence[Mapping[str, Any]], transform: Callable[..., Any] | Sequence[Callable[..., Any]]
) -> None:
    """Refuse records that state another modality than ``transform`` takes, or one that no policy knows.

    Parameters
    ----------
    records
        With ``modality``, where it is stated, and their position in the table under ``record``.
    transform
        Image preparation; without an intensity policy it accepts all modalities.

    Raises
    ------
    IntensityError
        If a record does not fit; the message names its row, file and modality, and how to fix it.
    """
    for policy in _policies(transform):
        stated = (record.get(policy.modality_key) for record in records)
        wrong = _wrong(policy, stated)
        if wrong:
            first = records[wrong[0]]
            row = int(first.get("record", wrong[0])) + _FIRST_ROW
            raise _refusal(policy, str(first[policy.modality_key]), row, str(first.get("image", "")), wrong)


def require_fitting_column(
    modalities: Sequence[str],
    images: Sequence[str],
    rows: Sequence[int],
    transform: Callable[..., Any] | Sequence[Callable[..., Any]],
) -> None:
    """As `require_fitting_modality`, for the ``rows``, from 0, of the columns ``modality`` and ``image`` of a table.

    Raises
    ------
    IntensityError
        See there.
    """
    for policy in _policies(transform):
        if policy.modality_key != "modality":
            continue
        wrong = [rows[place] for place in _wrong(policy, (modalities[row] for row in rows))]
        if wrong:
            raise _refusal(policy, modalities[wrong[0]], wrong[0] + _FIRST_ROW, images[wrong[0]], wrong)


def _policies(transform: Callable[..., Any] | Sequence[Callable[..., Any]]) -> list[IntensityPolicyd]:
    return [step for step in flattened(transform) if isinstance(step, IntensityPolicyd)]


def _wrong(policy: IntensityPolicyd, stated: Iterable[Any]) -> list[int]:
    taken = policy.takes()
    if taken is not None and policy.allow_modality_mismatch:
        return []
    accepted = {"", None, *(POLICIES if taken is None else (taken,))}
    return [position for position, word in enumerate(stated) if word not in accepted]


def _refusal(policy: IntensityPolicyd, word: str, row: int, image: str, wrong: Sequence[int]) -> IntensityError:
    taken = policy.takes()
    more = "" if len(wrong) == 1 else f", the first of {len(wrong)} such rows"
    way_out = f"one of {', '.join(POLICIES)} was expected; mend the column"
    if taken is not None:
        way_out = (
            f"{taken} was expected; give {taken} images, mend the column, or go on with --allow_modality_mismatch true"
        )
    return IntensityError(f"records table, row {row} ('{image}'): the column 'modality' says {word}{more}; {way_out}")
