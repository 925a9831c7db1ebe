"""Writes `conformance.csv`: what becomes of each file of pydicom's test data.

Run it after a deliberate change, look at the difference, and commit it: ``python tests/io/make_conformance_table.py``.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import pydicom

sys.path.append(str(Path(__file__).parents[1] / "oracles"))

from pydicom_files import pydicom_files

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.reader import read_image

TABLE = Path(__file__).with_name("conformance.csv")
COLUMNS = ("file", "outcome", "sha256", "transfer_syntax", "note")


def conformance_rows() -> list[dict[str, str]]:
    """One row a file: whether it is read or refused, and as what or why."""
    rows = []
    for name, path in pydicom_files().items():
        try:
            image = read_image(path)
            header = image.headers[0]
            shape = " x ".join(map(str, image.pixels.shape))
            outcome, note = "read", f"{shape} {image.pixels.dtype} {header.PhotometricInterpretation}"
        except UnreadableImageError as exc:
            outcome, note = "refused", f"{exc.stage}: {exc.cause}"
        values = (name, outcome, hashlib.sha256(path.read_bytes()).hexdigest(), _transfer_syntax(path), note)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _transfer_syntax(path: Path) -> str:
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        return meta.TransferSyntaxUID.name
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError):
        return ""


if __name__ == "__main__":
    with TABLE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(conformance_rows())
