"""One order of slices in every format, against SimpleITK's series reader, and what is no slice of a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from written_series import dicom_slice, save

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.records.slices import choose_of_volumes
from radimagenet_monai.io.dicom.series_kind import (
    ACROSS,
    COPY,
    DERIVED,
    DOSE_REPORT,
    LOCALIZER,
    PROJECTION,
    SCREEN_SAVE,
)
from radimagenet_monai.io.discovery.left_out import LeftOut
from radimagenet_monai.io.discovery.survey import series_files, series_volumes, survey
from radimagenet_monai.io.frame_layout import frame_layout
from radimagenet_monai.io.reader import read_image

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def placed(value: int, place: float, **elements: object) -> Dataset:
    values = {
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [0, 0, place],
        "PixelSpacing": [1, 1],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyInstanceUID": "1.2",
        **elements,
    }
    dataset = dicom_slice(np.full((4, 4), value, np.int16))
    for keyword, element in values.items():
        if element is not None:
            setattr(dataset, keyword, element)
    return dataset


def series(folder: Path, count: int = 4, **elements: object) -> list[str]:
    """Slices of value 0, 1, ... from inferior to superior, named and numbered against their order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        save(placed(k, 5.0 * k, InstanceNumber=count - k, **elements), folder / f"{99 - k}.dcm") for k in range(count)
    ]
    return [str(file) for file in files]


def values(path: object) -> list[int]:
    return read_image(path).pixels[:, 0, 0].tolist()


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, -1, 0]])
@pytest.mark.parametrize("number", ["descending", "constant", "missing"])
def test_a_series_is_in_the_order_of_simpleitk_or_in_the_reverse(tmp_path, orientation, number):
    """The direction of the order is that of the plane: superior, posterior, left."""
    column, row = np.reshape(orientation, (2, 3))
    for k, place in enumerate(np.random.default_rng(4).permutation(7)):
        dataset = placed(
            int(place),
            0,
            ImageOrientationPatient=orientation,
            ImagePositionPatient=(3.0 * place * np.abs(np.cross(column, row))).tolist(),
            InstanceNumber={"descending": 7 - k, "constant": 1, "missing": None}[number],
        )
        save(dataset, tmp_path / f"{k}.dcm")
    by_itk = list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path), "1.2.3"))
    assert series_files(tmp_path / "0.dcm") in (by_itk, by_itk[::-1])
    assert values(tmp_path) == list(range(7))
    assert frame_layout(tmp_path).volumes == [list(range(7))]


def test_without_numbers_and_positions_names_are_in_natural_order(tmp_path):
    for k in range(11):
        save(dicom_slice(np.full((2, 2), k, np.int16)), tmp_path / f"IM{k + 1}")
    assert values(tmp_path) == list(range(11))
    assert [Path(file).name for file in series_files(tmp_path / "IM1")] == [f"IM{k + 1}" for k in range(11)]


def test_positions_without_orientation_are_an_order(tmp_path):
    for k in range(4):
        save(placed(k, 5.0 * k, ImageOrientationPatient=None, InstanceNumber=10 - k), tmp_path / f"{k}.dcm")
    assert values(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "told",
    [
        {"TemporalPositionIdentifier": lambda time, place: time + 1},
        {"EchoTime": lambda time, place: 10.0 * time},
        {"AcquisitionNumber": lambda time, place: time},
        {"InstanceNumber": lambda time, place: time * 5 + place},
        {"InstanceNumber": lambda time, place: place * 3 + time},
        {"AcquisitionTime": lambda time, place: f"1200{time:02d}", "ContentTime": lambda time, place: f"13{place:02d}"},
    ],
    ids=lambda told: "+".join(told),
)  # fmt: skip
def test_a_series_that_repeats_its_places_is_volume_after_volume(tmp_path, told):
    order = np.random.default_rng(1).permutation(15)
    for number, index in enumerate(order):
        time, place = divmod(int(index), 5)
        elements = {keyword: tell(time, place) for keyword, tell in told.items()}
        save(placed(10 * time + place, 2.0 * place, **elements), tmp_path / f"{number}.dcm")
    image = read_image(tmp_path)
    assert image.pixels[:, 0, 0].tolist() == [10 * time + place for time in range(3) for place in range(5)]
    assert image.volumes == 3
    central = choose_of_volumes(frame_layout(tmp_path).volumes, "central:1")
    assert image.pixels[central, 0, 0].tolist() == [2, 12, 22]
    files = choose_of_volumes(series_volumes(tmp_path / "0.dcm"), "central:1")
    assert sorted(dcmread(file).pixel_array[0, 0] for file in files) == [2, 12, 22]


def enhanced(path: Path, order: list[tuple[int, int]], dimension: bool) -> Path:
    """A multi-frame object of (time, place) in any order, told apart by a dimension index or the temporal position."""
    dataset = placed(0, 0, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    dataset.NumberOfFrames = len(order)
    dataset.PixelData = b"".join(np.full((4, 4), 10 * t + p, "<i2").tobytes() for t, p in order)

    def group(**sequences: dict[str, object]) -> Dataset:
        item = Dataset()
        for name, elements in sequences.items():
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(item, name, Sequence([inner]))
        return item

    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            group(
                PlaneOrientationSequence={"ImageOrientationPatient": AXIAL},
                PixelMeasuresSequence={"PixelSpacing": [1, 1]},
            )
        ]
    )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 2.0 * p]},
            FrameContentSequence={"DimensionIndexValues": [t + 1, p + 1]}
            if dimension
            else {"TemporalPositionIndex": t},
        )
        for t, p in order
    )
    if dimension:
        pointers = []
        for tag in (0x00209128, 0x00209057):  # Temporal Position Index, In-Stack Position Number
            pointer = Dataset()
            pointer.DimensionIndexPointer = tag
            pointers.append(pointer)
        dataset.DimensionIndexSequence = Sequence(pointers)
    return save(dataset, path)


@pytest.mark.parametrize("dimension", [True, False])
def test_frames_of_an_enhanced_object_in_any_order(tmp_path, dimension):
    order = [divmod(int(k), 5) for k in np.random.default_rng(2).permutation(10)]
    path = enhanced(tmp_path / "a.dcm", order, dimension)
    layout = frame_layout(path)
    assert layout.plane == "axial"
    assert [[order[frame] for frame in volume] for volume in layout.volumes] == [
        [(time, place) for place in range(5)] for time in range(2)
    ]
    # The object's own numbers stay, as reports refer to them; in another plane its volumes are stacked in order.
    assert values(path) == [10 * time + place for time, place in order]
    assert read_image(path, "coronal").pixels[:, :, 0].tolist() == [
        [10 * time + place for place in reversed(range(5))] for time in range(2) for _ in range(4)
    ]


def test_a_copy_and_a_second_slice_at_one_place_are_named(tmp_path):
    files = series(tmp_path)
    (tmp_path / "97 copy.dcm").write_bytes(Path(files[2]).read_bytes())
    with pytest.raises(UnreadableImageError, match=r"97.*copy of '97.*same SOP Instance UID"):
        read_image(tmp_path)
    assert survey(tmp_path).left_out == {COPY: ["97.dcm"]}
    (tmp_path / "97 copy.dcm").unlink()
    save(placed(9, 10.0, InstanceNumber=9), tmp_path / "again.dcm")
    with pytest.raises(UnreadableImageError, match=r"again.*lies at the place of '97.dcm'"):
        read_image(tmp_path)


OTHERS = {
    LOCALIZER: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    SCREEN_SAVE: {"SOPClassUID": SECONDARY_CAPTURE, "ImageType": ["DERIVED", "SECONDARY"]},
    DOSE_REPORT: {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]},
    PROJECTION: {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]},
    DERIVED: {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
    ACROSS: {"ImageOrientationPatient": CORONAL},
}


@pytest.mark.parametrize("reason", OTHERS)
def test_what_is_no_slice_of_an_examination_is_left_out_by_reason(tmp_path, reason):
    files = series(tmp_path)
    save(placed(77, 33.0, **OTHERS[reason]), tmp_path / "other.dcm")
    images, left_out = survey(tmp_path)
    assert sorted(item.path for item in images) == sorted(files)
    assert left_out == {reason: ["other.dcm"]}
    assert [item.path for item in survey(tmp_path / "other.dcm").images] == [str(tmp_path / "other.dcm")]
    if reason == ACROSS:  # of one series: which is meant is for the user to say
        with pytest.raises(UnreadableImageError, match=r"other.dcm.*oriented unlike"):
            read_image(tmp_path)
        return
    passed_over = LeftOut(tmp_path)
    assert frame_layout(tmp_path, left_out=passed_over).frames == 4
    assert passed_over == {reason: ["other.dcm"]}
    assert values(tmp_path) == [0, 1, 2, 3]


def test_a_segmentation_beside_its_series_is_passed_over(tmp_path):
    files = series(tmp_path)
    other = placed(1, 0.0, SOPClassUID=SEGMENTATION, Modality="SEG", SeriesInstanceUID="9.9")
    save(other, tmp_path / "seg.dcm")
    assert sorted(item.path for item in survey(tmp_path).images) == sorted(files)
    assert values(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "CR", "SOPClassUID": SECONDARY_CAPTURE},  # as the RSNA pneumonia challenge stores radiographs
        {"SOPClassUID": SECONDARY_CAPTURE, "RescaleSlope": 1, "RescaleIntercept": -1024},
        {"ImageType": ["DERIVED", "SECONDARY"]},  # as converters write whole studies
        {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM"], "Modality": "MR"},
    ],
)
def test_images_that_only_look_derived_stay(tmp_path, elements):
    files = series(tmp_path, **elements)
    images, left_out = survey(tmp_path)
    assert sorted(item.path for item in images) == sorted(files)
    assert not left_out
