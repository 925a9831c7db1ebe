"""What a reader does not take is counted by reason, and files are found under the names that the disk gives them."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.table import (
    check_records,
    load_datalist,
    missing_files,
    to_datalist,
    write_records,
)
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.datasets.tables.disk_names import DiskNames
from radimagenet_monai.engine.outputs.writers import write_left_out
from radimagenet_monai.engine.start.preflight import require_images
from radimagenet_monai.loading import list_native_images
from radimagenet_monai.loading.native_dataset import NativeDataset
from radimagenet_monai.phantoms import write_phantom

NFC, NFD = (unicodedata.normalize(form, "Körper") for form in ("NFC", "NFD"))


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def busi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("busi")
    write_phantom("busi", root, patients=24, size=32, workers=1)
    folder = next(root.rglob("benign"))
    picture(folder / "scan.png")
    (folder / "notes.txt").write_text("x")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return root


def test_every_file_of_a_dataset_is_listed_or_counted(busi: Path, tmp_path: Path) -> None:
    table, facts = prepare("busi", busi, tmp_path, folds=0, progress=False)
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    used = {*rows["image"], *(part for cell in rows["mask"] for part in cell.split(";") if part)}
    files = [Path(folder, name) for folder, _, names in os.walk(busi) for name in names]
    assert len(used) + sum(facts["left_out"].values()) == len(files)
    assert facts["left_out"]["hidden"] == 1
    assert facts["left_out"]["link to nothing"] == 1
    assert json.loads((tmp_path / "summary.json").read_text())["left_out"] == facts["left_out"]
    assert any(note.startswith("left out: 1 x link to nothing") for note in facts["notes"])


def test_inference_on_busi_does_not_classify_its_masks(
    busi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = list_native_images(busi)
    masks = list(busi.rglob("*_mask*.png"))
    assert len(masks) > 10
    assert not any("_mask" in item["image"] for item in images)
    assert len(images.left_out["mask beside its image"]) == len(masks)
    dataset = NativeDataset(images, lambda item: item, (1, 8, 8))
    require_images(dataset)
    assert f"note: left out: {len(masks)} x mask beside its image" in capsys.readouterr().out
    write_left_out(tmp_path, dataset.data)
    rows = pd.read_csv(tmp_path / "left_out.csv", keep_default_na=False)
    assert rows["reason"].value_counts().to_dict() == images.left_out.counts
    write_left_out(tmp_path, [])
    assert not (tmp_path / "left_out.csv").exists()


def test_linked_patients_of_a_class_are_images_like_others(tmp_path: Path) -> None:
    """Eight of twelve images lie behind links: to folders of patients, and of a whole class."""
    for number in range(12):
        picture(tmp_path / "archive" / f"p{number}" / "x.png")
    root = tmp_path / "root"
    for label, numbers in (("a", range(6)), ("b", range(6, 12))):
        for number in numbers:
            link = root / label / f"p{number}"
            link.parent.mkdir(parents=True, exist_ok=True)
            if number % 3:
                link.symlink_to(tmp_path / "archive" / f"p{number}")
            else:
                picture(link / "x.png")
    table, facts = prepare("folder", root, tmp_path / "out", folds=0, progress=False)
    assert facts["labels"] == {"a": 6, "b": 6}
    assert facts["left_out"] == {}
    assert pd.read_csv(table)["patient_id"].nunique() == 12


def test_a_table_finds_files_whose_names_are_decomposed_on_disk(tmp_path: Path) -> None:
    picture(tmp_path / NFD / f"{NFD}.png")
    picture(tmp_path / NFD / f"{NFD}_m.png")
    frame = check_records(pd.DataFrame({"image": [f"{NFC}/{NFC}.png"], "label": "x", "mask": f"{NFC}/{NFC}_m.png"}))
    write_records(frame, tmp_path / "records.csv")
    (item,) = load_datalist(None, tmp_path, ["x"])
    assert Path(item["image"]).is_file()
    assert Path(item["mask"][0]).is_file()
    assert missing_files([str(tmp_path / NFC / f"{NFC}.png")]) == []
    other = check_records(pd.DataFrame({"image": [f"{NFC}/{NFC.upper()}.PNG"], "label": "x"}))
    with pytest.raises(RecordsError, match="is there"):
        to_datalist(other, tmp_path, ["x"])


def test_a_folder_with_a_name_of_any_bytes_is_prepared(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xf6t"))
    for number in range(12):
        picture(root / "ab"[number % 2] / f"p{number}" / "x.png")
    odd = Path(os.fsdecode(os.fsencode(root) + b"/a/\xfc.png"))
    odd.write_bytes((root / "a" / "p0" / "x.png").read_bytes())
    _, facts = prepare("folder", root, tmp_path / "out", folds=0, progress=False)
    assert facts["left_out"] == {"name that is not UTF-8": 1}
    written = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert Path(written["root"]).is_dir(), "an audit finds the images again"
    assert "left out: 1 x name that is not UTF-8, 'a/\\xfc.png'" in written["notes"]


def test_names_of_a_disk(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        picture(tmp_path / f"{name}.png")
    disk = DiskNames()
    for name in (NFC, NFD):
        assert disk.find(str(tmp_path / f"{name}.png")) == str(tmp_path / f"{name}.png"), (
            "both are there: each is itself"
        )
    assert disk.find(str(tmp_path / "none" / "x.png")) is None
    assert disk.find(str(tmp_path / f"{NFC}.png" / "x.png")) is None
    assert disk.find("/") is None or disk.find("/") == "/"
    assert disk.alike(str(tmp_path / "KÖRPER.jpg")) is not None


def test_a_single_file_with_a_name_of_any_bytes(tmp_path: Path) -> None:
    from radimagenet_monai.engine.outputs.writers import relative_to

    path = os.fsdecode(os.fsencode(tmp_path) + b"/K\xf6rper.png")
    Path(path).write_bytes(picture(tmp_path / "a.png").read_bytes())
    (item,) = list_native_images(path)
    assert relative_to(Path(path), item["image"]) == "K\\xf6rper.png"
    error = RecordsError(f"'{path}' is odd")
    assert str(error).encode("utf-8")
