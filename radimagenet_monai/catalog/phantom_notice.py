"""The statement that marks results of synthetic images, and the test for such images."""

from __future__ import annotations

import os
import re
from pathlib import Path

PHANTOM_NOTICE = (
    "These are phantoms: images computed from a seed, not patients. The figures show that the software works from "
    "the file to the report. They say nothing about how well any network reads the images of a patient."
)


def is_phantom(folder: str | os.PathLike[str]) -> bool:
    """Whether the images in a folder are phantoms, by the ``README.txt`` that every phantom has."""
    for place in (Path(folder), Path(folder).parent):
        try:
            text = (place / "README.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if re.match(r"These \w+ are phantoms:", text):
            return True
    return False
