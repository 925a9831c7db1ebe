"""Unique identifiers that depend on what they identify.

A prediction that is run again, resumed after a kill or sent twice then gives the same series and the same instances:
an archive replaces or ignores the second copy instead of showing a radiologist two reports of one model. Random
identifiers, the usual choice, would give a new series each time.

The series follows from the source series, the model file and the kind of object. The instance follows also from what it
says, because DICOM forbids one identifier for two contents (PS3.5 chapter 9): a mask or a probability that changed, for
example with another threshold, is another instance of that same series. The time of creation is not counted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

# Any fixed value does; it keeps these identifiers apart from other users of name-based UUIDs.
_NAMESPACE = uuid.UUID("6b7a3c1e-52a9-5c0d-9b44-7d5f0e2a1c86")


def derived_uid(*parts: str | Iterable[str]) -> str:
    """A UID under ``2.25`` (ITU-T X.667) made of a name-based UUID; equal for equal parts.

    Parameters
    ----------
    parts
        Texts, or collections of texts in an order that matters.
    """
    # Lengths in front keep ("ab", "c") apart from ("a", "bc").
    texts = [part if isinstance(part, str) else derived_uid(*part) for part in parts]
    return f"2.25.{uuid.uuid5(_NAMESPACE, ''.join(f'{len(text)}:{text}' for text in texts)).int}"
