"""The datasets of this collection. Each describes itself in the file of its reader; imports no pandas.

Each figure has a `Certainty`, because several facts of the field are claimed in only one place; the model cards print
it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from radimagenet_monai.core.registry import Registry


class Certainty(StrEnum):
    """Source of a figure."""

    PUBLISHED = "published"  # seen in a primary source
    DERIVED = "derived"  # computed from a primary source
    CLAIMED = "claimed"  # stated by a third party, not checked
    REMEMBERED = "not verified"  # known from memory only


@dataclass(frozen=True)
class Count:
    """A number of images, patients, ... with its certainty."""

    value: int
    certainty: Certainty = Certainty.PUBLISHED


@dataclass(frozen=True)
class Dataset:
    """A dataset on which a task is defined.

    The file that describes the dataset ``NAME`` also reads it, by its functions ``read_NAME``, ``looks_like_NAME`` and
    ``summary``; see `radimagenet_monai.datasets.registry.DatasetReader`.

    Attributes
    ----------
    counts
        Counts of the published dataset, by name.
    own
        Whether the images are the user's own, so that nothing can be said about where they come from.
    phantom
        ``"module:function"`` that writes synthetic images in this format; ``None`` for ``write_NAME_phantom`` of
        `radimagenet_monai.phantoms`, if it exists.
    module
        The module that describes the dataset and reads it; filled in.
    """

    name: str
    title: str
    access: str
    terms: str
    format: str
    counts: dict[str, Count] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    own: bool = False
    phantom: str | None = None
    module: str = ""

    def published(self, *names: str) -> dict[str, int]:
        """The counts of these names, without their certainty."""
        return {name: self.counts[name].value for name in names}

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable form."""
        return {**asdict(self), "reader": self.name}


DATASETS: Registry[Dataset] = Registry(
    "datasets", "dataset", Dataset, "DATASET", folder="datasets/readers", vocabulary=(Dataset, Count, Certainty)
)
