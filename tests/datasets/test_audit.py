"""Planted leakage, contradictions and broken images are found; a clean phantom passes; the order of rows is nothing."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.audit import Audit, audit_records
from radimagenet_monai.datasets.audit.inspection import gray_picture, inspect_files
from radimagenet_monai.datasets.audit.picture_hash import difference_hash, near_pairs, pack_hashes
from radimagenet_monai.datasets.readers.busi import read_busi
from radimagenet_monai.datasets.readers.rsna_ich import read_rsna_ich
from radimagenet_monai.intensity.checks.plausibility import GUESSED_WHITE, NARROW
from radimagenet_monai.io.reader import read_frame
from radimagenet_monai.phantoms.busi import write_busi_phantom
from radimagenet_monai.phantoms.rsna_ich import write_rsna_ich_phantom
from radimagenet_monai.store.packed_row import Packer, Row, Unreadable
from radimagenet_monai.store.packing import PRETRAINING, task_preparation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_busi_phantom(tmp_path_factory.mktemp("clean"), patients=30, seed=5, size=(96, 128), progress=False)


@pytest.fixture(scope="module")
def table(clean: Path) -> pd.DataFrame:
    return read_busi(clean, progress=False)


@pytest.fixture
def busi(clean: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(clean, tmp_path / "busi")
    return tmp_path / "busi"


def run(frame: pd.DataFrame, root: Path, **options: Any) -> Audit:
    return audit_records(frame, root, progress=False, **options)


def found(audit: Audit) -> set[tuple[str, str, frozenset[str]]]:
    """Findings as kind, severity and images, which do not depend on the order of rows."""
    return {
        (finding.kind, finding.severity, frozenset(audit.rows[row].image for row in finding.rows))
        for finding in audit.findings
    }


def kinds(audit: Audit) -> dict[str, dict[str, int]]:
    return {kind: dict(counts) for kind, counts in audit.counts.items()}


def with_row(frame: pd.DataFrame, /, **cells: Any) -> pd.DataFrame:
    row = {**dict.fromkeys(frame.columns, ""), "fold": pd.NA, "frame": 0, **cells}
    return pd.concat([frame, pd.DataFrame([row]).astype({"fold": "Int64"})], ignore_index=True)


def first(frame: pd.DataFrame, split: str, label: str = "benign") -> dict[str, Any]:
    return frame[(frame["split"] == split) & (frame["label"] == label)].iloc[0].to_dict()


def test_a_clean_phantom_passes(clean: Path, table: pd.DataFrame) -> None:
    audit = run(table, clean)
    assert audit.findings == []
    assert audit.verdict == "clean"
    assert not audit.failed
    assert audit.compared == audit.images == audit.patients == audit.files == 30
    assert sum(count for *_, count in audit.sizes) == 30
    assert sum(sum(counts.values()) for counts in audit.labels_by_split.values()) == 30
    for label, counts in audit.labels_by_fold.items():
        for fold, count in counts.items():
            assert ((table["label"] == label) & (table["fold"] == int(fold))).sum() == count


@pytest.mark.long
def test_heads_of_different_patients_are_told_apart(tmp_path: Path) -> None:
    """Their outlines are much the same, so that many hashes are near."""
    root = write_rsna_ich_phantom(tmp_path, patients=16, progress=False)
    audit = run(read_rsna_ich(root, progress=False), root)
    assert audit.verdict == "clean"
    assert audit.compared == audit.images > 100
    hashes = pack_hashes(
        np.stack([difference_hash(gray_picture(*read_frame(path, 0))) for path in sorted(root.rglob("*.dcm"))])
    )
    assert sum(block.shape[1] for block in near_pairs(hashes, audit.near_bits or 0)) > 200


@pytest.mark.parametrize("window", [(40, 80), None])
def test_ct_is_shown_through_its_window(tmp_path: Path, window: tuple[int, int] | None) -> None:
    """Against pydicom; without a window through 50/400 HU, as in a volume of Hounsfield units."""
    root = write_rsna_ich_phantom(tmp_path, patients=4, progress=False)
    path = next(root.rglob("*.dcm"))
    header = dcmread(path)
    if window is None:
        del header.WindowCenter, header.WindowWidth
    else:
        header.WindowCenter, header.WindowWidth = window
    header.save_as(path)
    hounsfield = apply_modality_lut(header.pixel_array, header).astype(float)
    if window is None:
        expected = np.clip((hounsfield - 50) / 400 + 0.5, 0, 1)
        np.save(tmp_path / "volume.npy", hounsfield.astype(np.float32)[None])
        volume = gray_picture(*read_frame(tmp_path / "volume.npy", 0))
        np.testing.assert_allclose(volume, 255 * expected, atol=0.51)
    else:
        expected = apply_windowing(hounsfield, header) / (2**header.BitsStored - 1)
        expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(gray_picture(*read_frame(path, 0)), 255 * expected, atol=1)


def test_a_patient_on_both_sides(clean: Path, table: pd.DataFrame) -> None:
    train, test = first(table, "train"), first(table, "test")
    table = table.replace({"patient_id": {test["patient_id"]: train["patient_id"]}})
    audit = run(table, clean, pixels=False)
    assert found(audit) == {("patient", "leakage", frozenset({train["image"], test["image"]}))}
    assert audit.verdict == "leakage"
    assert "in train (1) and test (1)" in audit.findings[0].text
    assert train["patient_id"] not in str(audit.to_dict())
    assert train["patient_id"] in str(audit.to_dict(show_ids=True))
    for row in audit.findings[0].rows:  # counted as a spreadsheet does
        assert table["image"][row - 2] == audit.rows[row].image


def test_a_patient_in_two_folds(clean: Path, table: pd.DataFrame) -> None:
    one = first(table, "train")
    other = table[(table["split"] == "train") & (table["fold"] != one["fold"])].iloc[0]
    table = table.replace({"patient_id": {other["patient_id"]: one["patient_id"]}})
    audit = run(table, clean, pixels=False)
    assert found(audit) == {("patient", "leakage", frozenset({one["image"], other["image"]}))}
    assert "in folds" in audit.findings[0].text
    assert "train" not in audit.findings[0].text


@pytest.mark.parametrize(("split", "severity"), [("train", "conflict"), ("test", "leakage")])
def test_an_image_copied_under_another_label(busi: Path, table: pd.DataFrame, split: str, severity: str) -> None:
    one = first(table, "train", "malignant")
    shutil.copy(busi / one["image"], busi / "copy.png")
    table = with_row(table, image="copy.png", label="benign", patient_id="new", split=split, fold=one["fold"])
    audit = run(table, busi)
    assert found(audit) == {("file", severity, frozenset({one["image"], "copy.png"}))}
    assert audit.verdict == severity
    assert audit.failed
    assert audit.findings[0].text.endswith("under benign and malignant")


def test_a_copy_for_the_same_patient_and_label_is_a_warning(busi: Path, table: pd.DataFrame) -> None:
    one = first(table, "train")
    shutil.copy(busi / one["image"], busi / "copy.png")
    audit = run(with_row(table, **{**one, "image": "copy.png"}), busi)
    assert found(audit) == {("file", "warning", frozenset({one["image"], "copy.png"}))}
    assert not audit.failed


def save_small_jpeg(gray: np.ndarray, stem: Path) -> Path:
    small = cv2.resize(gray, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(stem.with_suffix(".jpg"), quality=80)
    return stem.with_suffix(".jpg")


def save_inverted_dicom(gray: np.ndarray, stem: Path) -> Path:
    """Sixteen bits and MONOCHROME1: white is 0."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    header.Modality, header.PatientID = "DX", "secret"
    header.Rows, header.Columns = gray.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME1"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.PixelData = (4000 - 12 * gray.astype(np.uint16)).tobytes()
    header.save_as(stem.with_suffix(".dcm"), enforce_file_format=True)
    return stem.with_suffix(".dcm")


def save_float_array(gray: np.ndarray, stem: Path) -> Path:
    np.save(stem.with_suffix(".npy"), gray.astype(np.float32))
    return stem.with_suffix(".npy")


def save_color_tiff(gray: np.ndarray, stem: Path) -> Path:
    Image.fromarray(gray).convert("RGB").save(stem.with_suffix(".tif"))
    return stem.with_suffix(".tif")


@pytest.mark.parametrize(
    ("save", "kind"),
    [
        (save_small_jpeg, "near"),
        pytest.param(save_inverted_dicom, "near", marks=pytest.mark.long),
        pytest.param(save_float_array, "pixels", marks=pytest.mark.long),
        (save_color_tiff, "pixels"),
    ],
)
def test_a_copy_in_another_encoding(
    busi: Path, table: pd.DataFrame, save: Callable[[np.ndarray, Path], Path], kind: str
) -> None:
    one = first(table, "train")
    gray = cv2.imread(str(busi / one["image"]), cv2.IMREAD_GRAYSCALE)
    name = save(gray, busi / "other").name
    other = with_row(table, image=name, label="benign", patient_id="new", split="test", fold=one["fold"])
    audit = run(other, busi)
    assert found(audit) == {(kind, "leakage", frozenset({one["image"], name}))}
    assert "in train and test" in audit.findings[0].text
    # In one part under another label it is a contradiction, and for the same patient nothing but a picture too many.
    other = with_row(table, image=name, label="malignant", patient_id="new", split="train", fold=one["fold"])
    assert found(run(other, busi)) == {(kind, "conflict", frozenset({one["image"], name}))}
    other = with_row(table, **{**one, "image": name, "sha256": "", "mask": ""})
    assert found(run(other, busi)) == set()


def test_look_alikes_in_two_folds_are_leakage(busi: Path, table: pd.DataFrame) -> None:
    one = first(table, "train")
    name = save_small_jpeg(cv2.imread(str(busi / one["image"]), cv2.IMREAD_GRAYSCALE), busi / "other").name
    fold = (one["fold"] + 1) % 5
    audit = run(with_row(table, image=name, label="benign", patient_id="new", split="train", fold=fold), busi)
    assert found(audit) == {("near", "leakage", frozenset({one["image"], name}))}


def test_look_alikes_of_one_patient_matter_where_patients_have_one_picture(busi: Path, table: pd.DataFrame) -> None:
    one = first(table, "train")
    name = save_small_jpeg(cv2.imread(str(busi / one["image"]), cv2.IMREAD_GRAYSCALE), busi / "other").name
    other = with_row(table, **{**one, "image": name, "sha256": "", "label": "malignant"})
    assert ("near", "warning", frozenset({one["image"], name})) in found(run(other, busi))
    # With many images a patient they are slices, and neighbors may well have two labels.
    series = pd.concat([other.assign(image=[f"missing/{k}/{name}" for name in other["image"]]) for k in range(3)])
    audit = run(pd.concat([other, series.assign(sha256="")], ignore_index=True), busi)
    assert "near" not in audit.counts


def test_broken_images_are_warnings(busi: Path, table: pd.DataFrame) -> None:
    gray = np.zeros((100, 120), np.uint8)
    cv2.imwrite(str(busi / "blank.png"), gray)
    cv2.imwrite(str(busi / "blank_too.png"), gray)
    (busi / "truncated.png").write_bytes((busi / table["image"][0]).read_bytes()[:3000])
    (busi / "junk.png").write_bytes(b"no picture")
    (busi / "empty.png").write_bytes(b"")
    row = first(table, "train")
    for name in ("blank.png", "truncated.png", "junk.png", "empty.png", "missing.png"):
        table = with_row(table, image=name, label="benign", patient_id=name, split="train", fold=row["fold"])
    # Blank images are equal, which is no leakage.
    table = with_row(table, image="blank_too.png", label="malignant", patient_id="b", split="test", fold=row["fold"])
    table.loc[3, "mask"] = "no_mask.png;" + table["mask"][3]
    with Image.open(busi / table["image"][5]) as picture:
        picture.save(busi / table["image"][5], compress_level=9)
    audit = run(table, busi)
    assert found(audit) == {
        ("blank", "warning", frozenset({"blank.png"})),
        ("blank", "warning", frozenset({"blank_too.png"})),
        ("unreadable", "warning", frozenset({"truncated.png"})),
        ("unreadable", "warning", frozenset({"junk.png"})),
        ("unreadable", "warning", frozenset({"empty.png"})),
        ("missing", "warning", frozenset({"missing.png"})),
        ("missing", "warning", frozenset({table["image"][3]})),
        ("mask_unusable", "warning", frozenset({table["image"][3]})),
        ("changed", "warning", frozenset({table["image"][5]})),
    }
    assert not audit.failed
    assert audit.compared == 30
    assert "is empty" in " ".join(finding.text for finding in audit.findings)


def test_an_image_listed_twice(clean: Path, table: pd.DataFrame) -> None:
    one = first(table, "train")
    audit = run(with_row(table, **{**one, "patient_id": "new", "split": "test"}), clean)
    assert kinds(audit) == {"listed": {"leakage": 1}}
    audit = run(with_row(table, **{**one, "label": "malignant"}), clean, pixels=False)
    assert kinds(audit) == {"listed": {"conflict": 1}, "several_labels": {"note": 1}}


def test_blank_is_what_packing_calls_blank(tmp_path: Path) -> None:
    """A black image with a bright mark is not: it may be a lesion; its gray levels are questioned."""
    pictures = {
        "black": np.zeros((100, 120)),
        "ripples": np.random.default_rng(0).integers(100, 104, (100, 120)),
        "mark": np.where(np.arange(12000).reshape(100, 120) // 6 == 1000, 255, 0),
        "dim": np.random.default_rng(0).integers(100, 120, (100, 120)),
    }
    for name, levels in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), levels.astype(np.uint8))
        Image.fromarray((levels * 257).astype(np.uint16)).save(tmp_path / f"{name}16.png")
    names = [f"{name}{depth}.png" for name in pictures for depth in ("", "16")]
    frame = pd.DataFrame({"image": names, "label": "a", "patient_id": names})
    audit = run(frame, tmp_path)
    blank = {audit.rows[row].image for finding in audit.findings if finding.kind == "blank" for row in finding.rows}
    packer = Packer(task_preparation(get_task(PRETRAINING))[0], "image", (64, 64), False, refuse_blank=True)
    packed = {name: packer({"image": str(tmp_path / name), "frame": 0}, None) for name in names}
    assert blank == {name for name, row in packed.items() if isinstance(row, Unreadable)}
    assert blank == {"black.png", "black16.png", "ripples.png", "ripples16.png"}
    assert {name for name, row in packed.items() if isinstance(row, Row) and NARROW in row.questions} == {
        *("mark.png", "mark16.png", "dim.png", "dim16.png")
    }
    assert (audit.questions[NARROW], audit.questions[GUESSED_WHITE]) == (4, 2)


def test_what_packing_refuses_is_questioned_for_the_same_reason(tmp_path: Path) -> None:
    path = save_inverted_dicom(np.arange(10_000).reshape(100, 100).astype(np.uint8), tmp_path / "a")
    header = dcmread(path)
    header.Modality, header.PhotometricInterpretation = "CT", "MONOCHROME2"
    header.save_as(path)
    packer = Packer(task_preparation(get_task(PRETRAINING))[0], "image", (64, 64), False)
    refused = packer({"image": str(path), "frame": 0, "region": "abd"}, None)
    assert isinstance(refused, Unreadable)
    audit = run(pd.DataFrame({"image": ["a.dcm"], "label": "a", "patient_id": "1"}), tmp_path)
    assert list(audit.questions) == [f"no intensity policy takes it: {refused.cause.partition(': ')[2]}"]


def test_frames_of_volumes(tmp_path: Path) -> None:
    """Slices of a patient look alike; a volume without a patient must stay on one side; empty slices are blank."""
    rng = np.random.default_rng(0)

    def volume() -> np.ndarray:
        smooth = cv2.GaussianBlur(rng.normal(size=(64, 64)).astype(np.float32), (0, 0), 4)
        drift = cv2.GaussianBlur(rng.normal(size=(64, 64)).astype(np.float32), (0, 0), 4)
        slices = np.stack([(k < 5) * (smooth + 0.02 * k * drift) for k in range(6)])
        return np.rint((slices - slices.min()) / np.ptp(slices) * 255).astype(np.uint8)

    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", volume())
    shutil.copy(tmp_path / "b.npy", tmp_path / "c.npy")
    rows = [(f"{name}.npy", frame) for name in ("a", "b") for frame in range(6)]
    frame = pd.DataFrame(rows, columns=["image", "frame"])
    frame["label"] = np.where(frame["frame"] < 3, "no", "yes")
    frame["patient_id"], frame["split"] = frame["image"], np.where(frame["image"] == "a.npy", "train", "test")
    audit = run(frame, tmp_path)
    assert kinds(audit) == {"blank": {"warning": 2}, "several_labels": {"note": 1}}
    assert {audit.rows[row].frame for finding in audit.findings for row in finding.rows} == {5}
    assert audit.sizes == [(64, 64, 12)]

    frame["patient_id"] = ""
    frame["split"] = np.where(frame["frame"] < 3, "train", "test")
    audit = run(frame, tmp_path)
    assert audit.counts["volume"] == {"leakage": 2}
    assert "in train (3) and test (3)" in audit.findings[0].text
    assert "near" not in audit.counts
    assert next(f.text for f in audit.findings if f.kind == "unknown_patient").startswith("no row has a patient_id")

    copy = pd.DataFrame({"image": "c.npy", "frame": [1], "label": "no", "patient_id": "", "split": "train"})
    part = frame[(frame["image"] == "b.npy") & (frame["split"] == "test")]
    audit = run(pd.concat([part, copy], ignore_index=True), tmp_path)
    assert audit.counts["volume"] == {"leakage": 1}


def test_what_the_table_alone_tells(clean: Path, table: pd.DataFrame) -> None:
    table = table.copy()
    table.loc[table["split"] == "validation", "label"] = "benign"
    table.loc[0, "patient_id"] = ""
    table.loc[1, ["split", "fold"]] = ["", pd.NA]
    table.loc[2, "label"] = ""
    audit = run(table, clean, pixels=False)
    assert kinds(audit) == {
        "unknown_patient": {"warning": 1},
        "absent_class": {"warning": 1},
        "undivided": {"note": 1},
        "unlabeled": {"note": 1},
    }
    assert audit.findings[1].text == "validation has no image of malignant: it can have no AUC"
    assert audit.near_bits is None
    assert audit.compared == 0


def test_without_pixels_the_tables_own_hashes_are_compared(clean: Path, table: pd.DataFrame) -> None:
    one, other = first(table, "train"), first(table, "test")
    table = table.replace({"sha256": {other["sha256"]: one["sha256"].upper()}})
    audit = run(table, clean, pixels=False)
    assert found(audit) == {("file", "leakage", frozenset({one["image"], other["image"]}))}


@pytest.mark.long
def test_all_are_counted_where_many_are_found(clean: Path) -> None:
    rows = 2200
    frame = pd.DataFrame(
        {
            "image": [f"{row // 2}-{row % 2}.png" for row in range(rows)],
            "label": "benign",
            "patient_id": [str(row // 2) for row in range(rows)],
            "split": ["train", "test"] * (rows // 2),
        }
    )
    audit = run(frame, clean, pixels=False)
    assert kinds(audit) == {"patient": {"leakage": rows // 2}, "missing": {"warning": rows}}
    assert audit.count("leakage") == rows // 2
    assert len(audit.findings) == 2000


cells = st.fixed_dictionaries(
    {
        "image": st.sampled_from([f"{letter}.png" for letter in "abcdefgh"]),
        "frame": st.integers(0, 1),
        "label": st.sampled_from(["no", "yes", ""]),
        "patient_id": st.sampled_from(["1", "2", "3", "4", ""]),
        "split": st.sampled_from(["train", "validation", "test", ""]),
        "fold": st.sampled_from([0, 1, None]),
        "sha256": st.sampled_from(["1" * 64, "2" * 64, ""]),
    }
)


@given(st.lists(cells, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_verdict_is_that_of_all_pairs_in_any_order(rows: list[dict[str, Any]], random: Any) -> None:
    """Against the definition, pair by pair."""

    def differ(one: dict[str, Any], other: dict[str, Any], column: str) -> bool:
        return one[column] not in ("", None) and other[column] not in ("", None) and one[column] != other[column]

    def same(one: dict[str, Any], other: dict[str, Any], *columns: str) -> bool:
        return all(one[column] != "" and one[column] == other[column] for column in columns)

    def one_scan(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return same(one, other, "image") or same(one, other, "sha256")

    scan_of = list(range(len(rows)))  # by a chain of rows of one path or one content
    for _ in rows:
        for one in range(len(rows)):
            for other in range(one):
                if one_scan(rows[one], rows[other]):
                    scan_of[one] = scan_of[other] = min(scan_of[one], scan_of[other])
    leakage = conflict = False
    for number, one in enumerate(rows):
        for place, other in enumerate(rows[:number]):
            apart = differ(one, other, "split") or differ(one, other, "fold")
            leakage |= apart and (scan_of[number] == scan_of[place] or same(one, other, "patient_id"))
            conflict |= one_scan(one, other) and one["frame"] == other["frame"] and differ(one, other, "label")

    def audited(rows: list[dict[str, Any]]) -> Audit:
        return audit_records(pd.DataFrame(rows).astype({"fold": "Int64"}), os.devnull, pixels=False, progress=False)

    audit = audited(rows)
    assert audit.verdict == ("leakage" if leakage else "conflict" if conflict else "clean")
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = audited(shuffled)
    assert kinds(again) == kinds(audit)
    assert again.labels_by_split == audit.labels_by_split


def test_pictures_are_compared_the_same_in_any_order(busi: Path, table: pd.DataFrame) -> None:
    for number, split in enumerate(("train", "test", "validation")):
        one = first(table, split)
        gray = cv2.imread(str(busi / one["image"]), cv2.IMREAD_GRAYSCALE)
        name = save_small_jpeg(gray, busi / f"other{number}").name
        to = "train" if split == "test" else "test"
        table = with_row(table, image=name, label="benign", patient_id=name, split=to, fold=one["fold"])
    audit = run(table, busi)
    assert kinds(audit) == {"near": {"leakage": 3}}
    again = run(table.iloc[::-1].reset_index(drop=True), busi)
    assert found(again) == found(audit)
    assert {finding.text for finding in again.findings} == {finding.text for finding in audit.findings}


def test_worker_processes_find_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(100):
        small = rng.integers(0, 256, (8, 8), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(small, (40, 40), interpolation=cv2.INTER_CUBIC))
    (tmp_path / "7.png").write_bytes(b"junk")
    frame = pd.DataFrame({"image": [f"{number}.png" for number in range(100)], "label": "a"})
    frame["split"], frame["patient_id"] = ["train", "test"] * 50, [str(number) for number in range(100)]
    shutil.copy(tmp_path / "3.png", tmp_path / "8.png")
    alone, together = (run(frame, tmp_path, workers=workers) for workers in (1, 2))
    assert alone == together
    assert kinds(alone) == {"file": {"leakage": 1}, "unreadable": {"warning": 1}}


class DeadlyPath(os.PathLike):
    """Ends the worker that opens it, as a crash in a decoder would."""

    def __fspath__(self) -> str:
        assert multiprocessing.parent_process() is not None, "only workers open files"
        os._exit(9)

    def __str__(self) -> str:
        return "deadly.png"


def test_a_dying_worker_names_the_image() -> None:
    jobs: list[Any] = [("none.png", ((0, ""),), "", "")] * 110
    jobs[40] = (DeadlyPath(), ((0, ""),), "", "")
    with pytest.raises(RecordsError, match=r"deadly\.png': the process that was reading it "):
        list(inspect_files(jobs, workers=2, progress=False))


def test_settings_that_make_no_sense(clean: Path, table: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="near_bits 300 was given; expected 0 to 256"):
        run(table, clean, near_bits=300)
    with pytest.raises(ConfigurationError, match="0 workers were given"):
        run(table, clean, workers=0)
    with pytest.raises(RecordsError, match="no column 'image'"):
        run(table.drop(columns="image"), clean)
