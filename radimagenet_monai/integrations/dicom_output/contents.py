"""What an output says: the model, its findings, its segments."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from radimagenet_monai.catalog.codes import ABNORMAL_STRUCTURE, LESION, Code
from radimagenet_monai.core.errors import DicomOutputError

Decision = Literal["positive", "negative", "abstained"]

RESEARCH_ONLY = "Research use only, unverified"
MANUFACTURER = "RadImageNet on MONAI"


@dataclass(frozen=True)
class Model:
    """The model that gave a result.

    Attributes
    ----------
    name, version
        Name and version of the bundle.
    sha256
        SHA-256 of the model file, 64 hexadecimal digits.
    """

    name: str
    version: str
    sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            raise DicomOutputError(f"model '{self.name}': '{self.sha256}' is not the SHA-256 of a file (64 hex digits)")
        if not self.name.strip() or not self.version.strip():
            raise DicomOutputError("a model needs a name and a version, which DICOM output must state")
        object.__setattr__(self, "sha256", self.sha256.lower())


@dataclass(frozen=True)
class Segment:
    """A label of a mask.

    Attributes
    ----------
    name
        As shown in a viewer.
    category, type
        Segmented property category (CID 7150) and type (CID 7151).
    region
        Anatomic region, if known.
    color
        RGB, 0 to 255, in which a viewer is asked to show it.
    """

    name: str
    category: Code = ABNORMAL_STRUCTURE
    type: Code = LESION
    region: Code | None = None
    color: tuple[int, int, int] = (230, 60, 60)


@dataclass(frozen=True)
class Finding:
    """An output of a classifier for the images it refers to.

    Attributes
    ----------
    name
        Name of the output, for example ``"malignant"``.
    code
        Code of the finding.
    probability
        0 to 1.
    threshold
        The operating point, or ``None`` if the class of the largest probability is chosen.
    decision
        ``"positive"`` if the finding was called, else ``"negative"``; ``"abstained"`` if the model gave no answer.
    site
        Anatomic site.
    images
        Which of the source files the finding refers to, counted from 0; ``None`` for all.
    frames
        Frames of a multi-frame file that it refers to, counted from 0; ``None`` for all.
    """

    name: str
    code: Code
    probability: float
    threshold: float | None
    decision: Decision
    site: Code | None = None
    images: tuple[int, ...] | None = None
    frames: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.probability) and 0 <= self.probability <= 1):
            raise DicomOutputError(f"finding '{self.name}': probability {self.probability} is not between 0 and 1")
        if self.decision not in get_args(Decision):
            known = ", ".join(get_args(Decision))
            raise DicomOutputError(f"finding '{self.name}': decision '{self.decision}' is unknown; expected {known}")
        if self.threshold is None or self.decision == "abstained":
            return
        if (self.probability >= self.threshold) != (self.decision == "positive"):
            raise DicomOutputError(
                f"finding '{self.name}': the decision is {self.decision}, but the probability is {self.probability:g} "
                f"and the threshold {self.threshold:g}; a finding is positive from its threshold on"
            )
