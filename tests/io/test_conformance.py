"""Every file of pydicom's own test data: read as pydicom reads it, or refused; and which is which is committed."""

from __future__ import annotations

import csv
import logging
import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest
from display_convention import affine_of_slice, shown
from make_conformance_table import TABLE, conformance_rows
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom_files import pydicom_files

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.native_image import HEADER_KEYWORDS
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow

FILES = pydicom_files()
ROWS = list(csv.DictReader(TABLE.open(encoding="utf-8", newline="")))
READ = [row["file"] for row in ROWS if row["outcome"] == "read"]


def stored_values(path):
    """The pixels by pydicom, turned to the display convention by nibabel, as (frames, rows, columns[, 3])."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = pydicom.pixels.pixel_array(dataset, raw=True)
    color = dataset.get("SamplesPerPixel", 1) == 3
    frames = pixels if pixels.ndim == 3 + color else pixels[None]
    orientations = [orientation(dataset, index) for index in range(len(frames))]
    if color or orientations[0] is None:
        return frames
    turned = [
        shown(frame.T[:, :, None], affine_of_slice(directions))
        for frame, directions in zip(frames, orientations, strict=True)
    ]
    return np.concatenate(turned)


def orientation(dataset, frame):
    if "ImageOrientationPatient" in dataset:
        return dataset.ImageOrientationPatient
    groups = [*dataset.get("SharedFunctionalGroupsSequence", [])[:1]]
    groups += [*dataset.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1]]
    for group in groups:
        if "PlaneOrientationSequence" in group:
            return group.PlaneOrientationSequence[0].ImageOrientationPatient
    return None


@pytest.mark.long
def test_the_committed_table_is_what_the_reader_does():
    assert conformance_rows() == ROWS


@pytest.mark.parametrize("row", [row for row in ROWS if row["outcome"] != "read"], ids=lambda row: row["file"])
def test_what_the_committed_table_refuses_is_refused(row):
    with pytest.raises(UnreadableImageError):
        read_image(FILES[row["file"]])


def test_the_table_holds_every_file_and_reads_most_images():
    assert set(FILES) == {row["file"] for row in ROWS}
    assert Counter(row["outcome"] for row in ROWS)["read"] >= 150


LARGE = ("pydicom-data/color3d_jpeg_baseline.dcm",)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in LARGE else ()) for name in READ])
def test_a_readable_file_gives_the_stored_values_of_pydicom(name):
    """And of its headers only what an intensity policy needs."""
    image = read_image(FILES[name])
    expected = stored_values(FILES[name])
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.pixels.dtype == expected.dtype.newbyteorder("=")
    assert len(image.headers) == len(image)
    for header in image.headers:
        assert (header.Rows, header.Columns) == image.pixels.shape[1:3]
        assert header.SamplesPerPixel == (3 if image.is_color else 1)
        header.walk(lambda _, element: None)
        assert {element.keyword for element in header.iterall()} <= HEADER_KEYWORDS


def test_no_refusal_was_needed_where_pydicom_gives_an_image():
    missed = []
    logging.disable(logging.CRITICAL)
    try:
        for row in ROWS:
            if row["outcome"] == "refused" and "a mask and not an image" not in row["note"]:
                try:
                    stored_values(FILES[row["file"]])
                except Exception:
                    continue
                missed.append(row["file"])
    finally:
        logging.disable(logging.NOTSET)
    assert missed == []
