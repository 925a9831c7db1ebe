"""Header tables of many DICOM files, and the list of files they are read from."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.tables import dicom_headers
from radimagenet_monai.datasets.tables.dicom_headers import FAULT, list_dicom_files, read_header_table

pytestmark = pytest.mark.slow

KEYWORDS = ("PatientID", "SeriesInstanceUID", "PixelRepresentation", "RescaleIntercept", "ImageType")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two whole files and one cut short within its header."""
    content = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientID = "0042"
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.SeriesInstanceUID = "ID_12ab"  # the challenges write such pseudonyms where the standard wants a UID
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.dcm").write_bytes(content)
    dataset.save_as(tmp_path / "files" / "b.dcm")
    (tmp_path / "files" / "c.dcm").write_bytes(content[:300])
    return tmp_path / "files"


def test_values_are_those_of_pydicom(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read_header_table(folder, ["b.dcm", "a.dcm"], KEYWORDS, progress=False)
    reference = pydicom.dcmread(folder / "a.dcm")
    assert table.index.tolist() == ["b.dcm", "a.dcm"]
    assert table.loc["a.dcm"].tolist() == [
        reference.PatientID,
        reference.SeriesInstanceUID,
        str(reference.PixelRepresentation),
        str(reference.RescaleIntercept),
        "\\".join(reference.ImageType),
        "",
    ]
    assert table.loc["b.dcm", list(KEYWORDS[:4])].tolist() == ["0042", "ID_12ab", "0", "0"]


def test_unreadable_files_have_a_fault_and_no_values(folder: Path) -> None:
    (folder / "text.dcm").write_text("no image")
    (folder / "gone.dcm").symlink_to(folder / "nowhere")
    table = read_header_table(folder, ["a.dcm", "c.dcm", "text.dcm", "gone.dcm"], KEYWORDS, progress=False)
    assert (table[FAULT] != "").tolist() == [False, True, True, True]
    assert (table.loc[["c.dcm", "text.dcm", "gone.dcm"], list(KEYWORDS)] == "").all(axis=None)


def test_processes_read_the_same(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    one, two = (read_header_table(folder, names, KEYWORDS, workers=workers, progress=False) for workers in (1, 2))
    assert one.equals(two)


def test_the_cache_is_read_instead_of_the_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "headers.csv"
    first = read_header_table(folder, ["a.dcm"], KEYWORDS, cache, progress=False)
    opened: list[str] = []
    read = dicom_headers._read_header
    monkeypatch.setattr(dicom_headers, "_read_header", lambda path, tags: opened.append(path) or read(path, tags))
    second = read_header_table(folder, ["a.dcm"], KEYWORDS, cache, progress=False)
    assert first.equals(second)
    assert opened == []
    more = read_header_table(folder, ["c.dcm", "b.dcm", "a.dcm"], KEYWORDS, cache, progress=False)
    assert [Path(path).name for path in opened] == ["c.dcm", "b.dcm"]
    assert more.loc["b.dcm", "PatientID"] == "0042"
    read_header_table(folder, ["b.dcm", "c.dcm"], KEYWORDS, cache, progress=False)
    assert [Path(path).name for path in opened[2:]] == ["c.dcm"], "a fault is not kept, it may have been the network's"


@pytest.mark.parametrize("content", ["", "name,PatientID\na.dcm,1\n", "\xff\xfe", "name,A,A,fault\n"])
def test_another_file_is_no_cache(folder: Path, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "headers.csv"
    cache.write_text(content, encoding="latin-1")
    with pytest.raises(RecordsError, match=r"headers\.csv.*remove it, or give another file"):
        read_header_table(folder, ["a.dcm"], KEYWORDS, cache, progress=False)
    assert cache.read_text(encoding="latin-1") == content


def test_only_dicom_files_are_listed(folder: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", "._a.dcm", "desktop.ini", "photo.jpg", "D.DCM"):
        (folder / name).touch()
    notes: list[str] = []
    assert list_dicom_files(folder, notes) == ["D.DCM", "a.dcm", "b.dcm", "c.dcm"]
    assert notes == ["1 files of 'files' are not .dcm and were left out, first 'photo.jpg'"]
