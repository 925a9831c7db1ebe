"""A store to give away trains like the one it was made from, and names nobody."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.datasets.records.table import check_records, read_records
from radimagenet_monai.loading.bundle_dataset import packed_dataset
from radimagenet_monai.store.packed_part import part_folders, verify_part
from radimagenet_monai.store.packing import PRETRAINING, pack_records, task_preparation
from radimagenet_monai.store.sealed.sharing import pseudonymized

CLASSES = TASKS[PRETRAINING].classes
SECRETS = ("MUELLER", "ZEBRASTUDY", "Ward7Scanner", "EXAM-4711")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve pictures whose names, folders and columns hold what must not leave."""
    folder = tmp_path / "ZEBRASTUDY"
    (folder / "scans").mkdir(parents=True)
    generator = np.random.default_rng(4)
    rows = []
    for number in range(12):
        cv2.imwrite(str(folder / f"scans/MUELLER-{number:02d}.png"), generator.integers(0, 256, (40, 40), np.uint8))
        rows.append(
            {
                "image": f"scans/MUELLER-{number:02d}.png",
                "label": CLASSES[number % 2],
                "patient_id": f"MUELLER-{number // 3}",
                "exam": f"EXAM-4711-{number // 3}",
                "split": "train" if number < 9 else "test",
                "scanner": "Ward7Scanner",
                "sex": "fm"[number % 2],
            }
        )
    pd.DataFrame(rows).to_csv(folder / "records.csv", index=False)
    return folder


def every_byte(folder: Path) -> bytes:
    parts = [str(path.relative_to(folder)).encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"\0".join(parts)


def trained_on(store: Path):
    transform, options = task_preparation(TASKS[PRETRAINING])
    return packed_dataset([], transform, store, 32, classes=CLASSES, split="train", **options)


def test_it_trains_like_its_origin_and_names_nobody(data, tmp_path):
    (data / "scans/MUELLER-07.png").write_bytes(b"\x89PNG")  # its name is in quarantine.csv
    pack_records(data, tmp_path / "store", size=32, workers=0, share=tmp_path / "shared")
    found, expected = trained_on(tmp_path / "shared"), trained_on(tmp_path / "store")
    assert len(found) == len(expected) == 8
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one["image"].numpy(), other["image"].numpy())
        assert one["label"] == other["label"]
    patients = [record["patient_id"] for record in found.data]
    groups = pd.factorize(pd.Series([record["patient_id"] for record in expected.data]))[0].tolist()
    assert pd.factorize(pd.Series(patients))[0].tolist() == groups

    content = every_byte(tmp_path / "shared")
    for secret in (*SECRETS, str(tmp_path)):
        assert secret.encode() not in content
    assert b"sex" not in content
    assert SECRETS[0].encode() in every_byte(tmp_path / "store"), "the names are found where they are"
    (folder,) = (path.parent for path in (tmp_path / "shared").glob("*/manifest.json"))
    assert [damage for part in part_folders(folder) for _, found in verify_part(part, 1) for damage in found] == []


def test_only_images_of_the_records_are_given_away(data, tmp_path):
    pack_records(data, tmp_path / "store", size=32, workers=0)
    frame = pd.read_csv(data / "records.csv", dtype=str)
    frame[frame["split"] == "train"].to_csv(data / "records.csv", index=False)
    pack_records(data, tmp_path / "store", size=32, workers=0, share=tmp_path / "shared")
    (images,) = (np.load(path) for path in (tmp_path / "shared").rglob("images.npy"))
    assert images[:9].any(axis=(1, 2, 3)).all()
    assert not images[9:].any()
    (original,) = (np.load(path) for path in (tmp_path / "store").rglob("images.npy"))
    assert original.any(axis=(1, 2, 3)).all()


def test_pseudonyms_are_keyed_group_and_repeat_only_with_the_same_salt(data):
    frame = read_records(data / "records.csv")
    one, same, other = (pseudonymized(frame, salt=salt) for salt in ("a", "a", "b"))
    assert one.equals(same)
    assert set(one["patient_id"]).isdisjoint(other["patient_id"])
    assert not pseudonymized(frame).equals(pseudonymized(frame))
    assert one["patient_id"].nunique() == frame["patient_id"].nunique()
    assert one["exam"].nunique() == 4
    assert one["image"].nunique() == 12
    assert "scanner" not in one.columns
    assert pseudonymized(frame, columns=["sex"])["sex"].tolist() == frame["sex"].tolist()
    check_records(one.astype(str).replace("<NA>", ""), classes=CLASSES)


def test_unknown_patients_stay_unknown():
    frame = check_records(pd.DataFrame({"image": ["a.png", "b.png"], "mask": ["m.png;n.png", ""]}), require_label=False)
    shared = pseudonymized(frame)
    assert shared["patient_id"].tolist() == ["", ""]
    assert [len([name for name in cell.split(";") if name]) for cell in shared["mask"]] == [2, 0]


@pytest.mark.parametrize("column", ["shoe_size", "patient_id", "image"])
def test_columns_that_cannot_be_kept_are_refused_before_packing(data, tmp_path, column):
    with pytest.raises(ConfigurationError, match=f"'{column}'"):
        pack_records(data, tmp_path / "store", size=32, share=tmp_path / "shared", share_columns=[column])
    assert not (tmp_path / "store").exists()


def test_a_folder_that_exists_is_refused_and_a_failure_leaves_none(data, tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    with pytest.raises(ConfigurationError, match="exists already"):
        pack_records(data, tmp_path / "store", size=32, share=tmp_path / "shared")
    monkeypatch.setattr("shutil.copy2", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        pack_records(data, tmp_path / "store", size=32, workers=0, share=tmp_path / "given")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ZEBRASTUDY", "shared", "store"]
