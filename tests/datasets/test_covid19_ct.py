"""One's own table of COVID-19 CT as records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.covid19_ct import CLASSES, looks_like_covid19_ct, read_covid19_ct, summary
from radimagenet_monai.datasets.registry import READERS
from radimagenet_monai.io.reader import read_frame
from radimagenet_monai.phantoms.ct_dicom import SCANNERS, Series, write_slice

pytestmark = pytest.mark.slow

PATIENTS, SLICES = 8, 13


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of 13 slices whose HU tell their number from below; files are numbered from above."""
    folder = tmp_path_factory.mktemp("covid") / "covid19_ct"
    lines = ["filename,label,patient"]
    for patient in range(PATIENTS):
        (folder / f"series{patient}").mkdir(parents=True)
        series = Series(
            *(f"covid/{patient}", f"C{patient}", "F", 50, "CHEST", "test", SCANNERS[2]),
            *(((-600, 1500),), ("LUNG",), 1.0, 5.0, 1.0),
        )
        for index in range(SLICES):
            path = folder / f"series{patient}" / f"{SLICES - index:02d}.dcm"
            write_slice(path, np.full((3, 3), float(index)), series, index)
        lines.append(f"series{patient},{'positive' if patient % 2 else 'negative'},C{patient}")
    (folder / "labels.csv").write_text("\n".join([*lines, ""]))
    return folder.parent


def read(root: Path, **options: object) -> pd.DataFrame:
    return read_covid19_ct(root, progress=False, **{"folds": 0, **options})


def test_ten_central_slices_a_series(written: Path) -> None:
    frame = read(written)
    assert tuple(TASKS["covid19_ct_classification"].classes) == CLASSES
    assert len(frame) == 10 * PATIENTS
    assert frame["frame"][:10].tolist() == list(range(2, 12))
    assert frame["patient_id"].nunique() == frame["exam"].nunique() == PATIENTS
    assert frame["label"].value_counts().to_dict() == {"negative": 40, "positive": 40}
    image, number = read_frame(written / frame["image"][4], int(frame["frame"][4]))
    assert image.pixels[number].max() == 6, "frames are counted from below, whatever the files are called"


def test_root_is_the_folder_or_its_parent(written: Path) -> None:
    assert read(written / "covid19_ct")["image"][0] == "series0"
    assert read(written)["image"][0] == "covid19_ct/series0"
    assert looks_like_covid19_ct(str(written))
    assert READERS["covid19_ct"].looks_like(written / "covid19_ct")


def test_single_slices_and_other_spellings(written: Path, tmp_path: Path) -> None:
    lines = [
        f"{written}/covid19_ct/series{patient}/{index:02d}.dcm,{'Positive ' if patient % 2 else '0'}"
        for patient in range(PATIENTS)
        for index in (3, 4)
    ]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(["filename,label", *lines, ""]))
    frame = read(tmp_path, csv=str(table), patient_from_header=True)
    assert frame["label"].value_counts().to_dict() == {"negative": 8, "positive": 8}
    assert frame["patient_id"].nunique() == PATIENTS
    known = pydicom.dcmread(frame["image"][0], stop_before_pixels=True).PatientID
    assert not frame["patient_id"].str.contains(known).any()
    assert len(read(tmp_path, csv=str(table), slices="all")) == 16


def test_files_that_are_not_there(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "covid19_ct" / "series7")
    with pytest.raises(RecordsError, match="1 of 8 files do not exist"):
        read(tmp_path / "copy")
    assert len(read(tmp_path / "copy", missing="skip")) == 70


def test_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is not a folder"):
        read(tmp_path / "none")
    with pytest.raises(RecordsError, match=r"does not hold labels\.csv with filename,label; .*--csv FILE"):
        read(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    assert not looks_like_covid19_ct(tmp_path)


def test_summary(written: Path) -> None:
    facts = summary(read(written))
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["images"], facts["differences"]) == (80, {})
