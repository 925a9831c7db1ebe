"""The anatomical plane of a model's training slices; slices in other planes are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.io.geometry import PLANES
from radimagenet_monai.store.sealed.records import SealedRecords


def planes_of(data: Sequence[Mapping[str, Any]]) -> list[str]:
    """The planes stated by the records of a dataset, most frequent first; empty if none states one."""
    return [plane for plane, _ in _counted(data).most_common()]


def require_plane(plane: str | Sequence[str], *data: Sequence[Mapping[str, Any]]) -> None:
    """Refuse records whose slices lie in another plane; records that state no plane are accepted.

    Parameters
    ----------
    plane
        One or several of axial, coronal and sagittal; ``"acquired"`` accepts all.
    data
        Records.

    Raises
    ------
    RecordsError
        If any record lies in another plane; the message counts them by plane.
    ConfigurationError
        For an unknown plane.
    """
    wanted = [plane] if isinstance(plane, str) else list(plane)
    unknown = [name for name in wanted if name not in (*PLANES, "acquired")]
    if unknown:
        raise ConfigurationError(f"plane '{unknown[0]}' is unknown; expected {', '.join(PLANES)} or acquired")
    if "acquired" in wanted:
        return
    for part in data:
        counts = _counted(part)
        others = {name: count for name, count in counts.items() if name not in wanted}
        if others:
            found = " and ".join(f"{count} {name}" for name, count in sorted(others.items()))
            raise RecordsError(
                f"{found} slices are among {len(part)} records, {' or '.join(wanted)} ones were expected; prepare the "
                f"data with --plane {wanted[0]}, or go on with all of them with --plane acquired"
            )


def _counted(data: Sequence[Mapping[str, Any]]) -> Counter[str]:
    stated = data.stated_planes() if isinstance(data, SealedRecords) else (str(item.get("plane", "")) for item in data)
    return Counter(plane for plane in stated if plane in PLANES)
