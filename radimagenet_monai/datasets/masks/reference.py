"""How a records table refers to a mask, and what it states about it.

========================== ==================================================================================
``m.png``                  a file; its content shows which values are the lesion
``m.nii.gz#values=2``      pixels of value 2 are the lesion; ``values=1+2`` takes both
``m.tif#at_least=128``     pixels of 128 and more are the lesion
``m.png#frame=7``          the file holds one frame, which was drawn on frame 7 of the image, counted from 0
``m.nii#positions=ignore`` frames are paired by number, whatever image and mask state about positions
``12.xml#1``               the outlines of image 1 in the XML file of a DDTI case
========================== ==================================================================================

Statements are joined by ``&``: ``m.png#frame=7&values=255``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from radimagenet_monai.core.errors import UnreadableImageError

_OUTLINES = re.compile(r"(.+\.xml)#(\d+)", re.IGNORECASE)
_STATED = re.compile(r"(.+?)#((?:frame|values|at_least|positions)=.*)", re.DOTALL)


@dataclass(frozen=True)
class MaskReference:
    """A reference to a mask in a records table.

    Attributes
    ----------
    file
        Path of the file.
    outlines
        Number of the image whose outlines are meant, in a DDTI case; ``None`` for a file of pixels.
    frame
        Frame of the image that a single-frame file was drawn on; ``None`` if not stated.
    values
        Stored values that are the lesion, as text; empty if not stated. ``ff0000`` is a color.
    at_least
        Smallest value that is lesion; ``None`` if not stated.
    ignore_positions
        Whether frames are paired by number, whatever the files state about positions.
    """

    file: str
    outlines: int | None = None
    frame: int | None = None
    values: tuple[str, ...] = ()
    at_least: float | None = None
    ignore_positions: bool = False

    @property
    def states_values(self) -> bool:
        """Whether the table states which values are the lesion."""
        return bool(self.values) or self.at_least is not None

    @classmethod
    def parse(cls, text: str) -> MaskReference:
        """Parse a reference.

        Raises
        ------
        UnreadableImageError
            For a statement other than the above; names the reference.
        """
        outlines = _OUTLINES.fullmatch(text)
        if outlines:
            return cls(outlines[1], outlines=int(outlines[2]))
        stated = _STATED.fullmatch(text)
        if not stated:
            return cls(text)
        reference = cls(stated[1])
        for statement in stated[2].split("&"):
            name, _, value = statement.partition("=")
            if name == "frame" and value.isascii() and value.isdecimal():
                reference = replace(reference, frame=int(value))
            elif name == "values" and all(map(_is_value, value.split("+"))):
                reference = replace(reference, values=tuple(value.split("+")))
            elif name == "at_least" and _is_number(value):
                reference = replace(reference, at_least=float(value))
            elif statement == "positions=ignore":
                reference = replace(reference, ignore_positions=True)
            else:
                raise UnreadableImageError(
                    text,
                    "open",
                    f"'{statement}' says nothing about a mask; expected frame=7, values=1+2, at_least=128 or "
                    "positions=ignore",
                )
        if reference.values and reference.at_least is not None:
            raise UnreadableImageError(text, "open", "it states values and at_least; state one of them")
        return reference

    def __str__(self) -> str:
        if self.outlines is not None:
            return f"{self.file}#{self.outlines}"
        stated = [
            *([f"frame={self.frame}"] if self.frame is not None else []),
            *([f"values={'+'.join(self.values)}"] if self.values else []),
            *([f"at_least={self.at_least:g}"] if self.at_least is not None else []),
            *(["positions=ignore"] if self.ignore_positions else []),
        ]
        return self.file + (f"#{'&'.join(stated)}" if stated else "")


def mask_file(reference: str) -> str:
    """The file in a reference: ``12.xml`` for ``12.xml#1``, ``m.png`` for ``m.png#frame=7``."""
    named = _OUTLINES.fullmatch(reference) or _STATED.fullmatch(reference)
    return named[1] if named else reference


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_value(text: str) -> bool:
    return _is_number(text) or re.fullmatch("[0-9a-f]{6}", text) is not None
