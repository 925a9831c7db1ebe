"""What inference runs on: files, volumes and series, and which of their slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.slices import choose_slices
from radimagenet_monai.loading import list_native_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume of 7 slices, a DICOM series of 5 files named against their order, and a picture."""
    np.save(tmp_path / "knee.npy", np.zeros((7, 8, 8), np.uint8))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "picture.png")
    (tmp_path / "series").mkdir()
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for number in range(1, 6):
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.save_as(tmp_path / "series" / f"{9 - number}.dcm")
    return tmp_path


def names(folder: Path, slices: str) -> list[tuple[str, int]]:
    return [
        (Path(item["image"]).relative_to(folder).as_posix(), item["frame"])
        for item in list_native_images(folder, slices)
    ]


def test_all_slices_of_everything_in_order_of_files(folder: Path) -> None:
    expected = [("knee.npy", frame) for frame in range(7)] + [("picture.png", 0)]
    assert names(folder, "all") == expected + [(f"series/{number}.dcm", 0) for number in range(4, 9)]


def test_central_slices_go_by_the_order_of_the_series(folder: Path) -> None:
    central = names(folder, "central:3")
    assert [frame for name, frame in central if name == "knee.npy"] == [2, 3, 4]
    assert [name for name, _ in central if name.startswith("series")] == [
        "series/7.dcm",
        "series/6.dcm",
        "series/5.dcm",
    ]
    assert ("picture.png", 0) in central


def test_an_exam_is_a_volume_or_a_series(folder: Path) -> None:
    exams: dict[str, int] = {}
    for item in list_native_images(folder):
        exams[item["exam"]] = exams.get(item["exam"], 0) + 1
    assert sorted(exams.values()) == [1, 5, 7]


def test_nothing_to_run_on(tmp_path: Path) -> None:
    assert list_native_images("") == []
    with pytest.raises(RecordsError, match="holds no image"):
        list_native_images(tmp_path)


@given(st.integers(1, 500), st.integers(1, 500))
def test_slices_are_central_or_evenly_spaced(count: int, number: int) -> None:
    central = list(choose_slices(count, f"central:{number}"))
    assert len(central) == min(count, number)
    assert central == list(range(central[0], central[-1] + 1))
    assert abs(central[0] - (count - 1 - central[-1])) <= 1, "as many are left out before as after"
    every = list(choose_slices(count, f"every:{number}"))
    assert every
    assert every[-1] < count
    assert set(np.diff(every)) <= {number}
    assert every[0] < number


@pytest.mark.parametrize(
    "rule", ["", "central", "central:0", "central:-1", "every:x", "middle:3", "central:1.5", "all:2"]
)
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="expected all, central:N or every:N"):
        choose_slices(10, rule)
