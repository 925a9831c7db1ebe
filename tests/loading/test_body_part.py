"""Images of another region than the model's are used, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from radimagenet_monai.catalog.tasks import TASKS, Kind
from radimagenet_monai.engine import expected_body_parts
from radimagenet_monai.engine.outputs.writers import write_questions
from radimagenet_monai.intensity import RadiographVOId
from radimagenet_monai.intensity.checks.plausibility import OTHER_BODY_PART
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.dicom.body_part import REGIONS
from radimagenet_monai.loading import NativeDataset, list_native_images

RADIOGRAPHS = TASKS["pneumonia_cxr_classification"]
# Of the defined terms of PS3.16, annex L, and of what protocols write; whether a chest classifier is meant for them.
PARTS = {
    **{"CHEST": True, "LUNG": True, "RIB": True, "CHESTABDOMEN": True, "PORT CHEST": True},
    **{"ABDOMEN": False, "KNEE": False, "SKULL": False, "HAND": False, "LSPINE": False},
    **{"": True, "UNKNOWN": True, "PA VIEW": True},
}


def radiograph(path: Path, body_part: str) -> None:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    dataset.Modality, dataset.BodyPartExamined, dataset.SeriesInstanceUID = "CR", body_part, generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 8, 7
    dataset.PixelRepresentation, dataset.PixelData = 0, pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)


def test_other_regions_are_used_and_counted(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for number, part in enumerate(PARTS):
        radiograph(folder / f"{number:02d}.dcm", part)
    found = list_native_images(folder, body_parts=RADIOGRAPHS.body_parts)
    assert len(found) == len(PARTS)
    dataset = NativeDataset(
        found, lambda item: RadiographVOId("image")(LoadNativeImaged("image")(item)), (1, 16, 16), unreadable="stop"
    )
    asked = {index: item["questions"] for index, item in enumerate(dataset) if item["questions"]}
    doubted = {
        part for (part, _), item in zip(PARTS.items(), dataset, strict=True) if OTHER_BODY_PART in item["questions"]
    }
    assert doubted == {part for part, fits in PARTS.items() if not fits}
    assert write_questions(out, found, folder, asked)[OTHER_BODY_PART] == len(doubted)
    assert all("doubt" not in item for item in list_native_images(folder))


def test_tasks_name_known_regions() -> None:
    for task in TASKS.values():
        assert set(task.body_parts) <= REGIONS.keys()
        assert bool(task.body_parts) == (task.kind is not Kind.PRETRAINING)


@pytest.mark.parametrize(("reader", "expected"), [("rsna_pneumonia", ["chest"]), ("csv", []), (None, [])])
def test_a_model_of_other_data_expects_no_region(tmp_path: Path, reader: str | None, expected: list[str]) -> None:
    assert expected_body_parts(RADIOGRAPHS.name, tmp_path / "model.pt") == ["chest"]
    facts = {"classes": list(RADIOGRAPHS.classes), "source": {"reader": reader, "table": "a.csv", "options": {}}}
    (tmp_path / "model.json").write_text(json.dumps(facts))
    assert expected_body_parts(RADIOGRAPHS.name, tmp_path / "model.pt") == expected
