"""`radimagenet explain` from a bundle to its page, with a network that looks where it is told to."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from radimagenet_monai.commands.explain import explain as explain_command
from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UsageError, WeightsError
from radimagenet_monai.datasets import write_records
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.explain.bundle_maps import COLUMNS, MapSettings, localize
from radimagenet_monai.explain.explanation import explain
from radimagenet_monai.explain.localization_comparison import compare_localization
from radimagenet_monai.explain.trained_classifier import TrainedClassifier
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

BUNDLES = Path(__file__).parents[2] / "bundles"
SIZE = 128
PATIENT = "PATIENT-0815"


def picture(row: int, column: int) -> np.ndarray:
    """Noise with a square of coarse stripes, 120 x 160 pixels."""
    generator = np.random.default_rng(row * 1000 + column)
    image = generator.integers(90, 110, (120, 160))
    image[row : row + 40, column : column + 40] = np.where(np.arange(40) % 8 < 4, 20, 240)
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with lesions of both classes in two splits, one image without a lesion, one that is no image."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(18):
        row, column = (number * 29) % 80, (number * 47) % 120
        name = f"{PATIENT}-{number}"
        cv2.imwrite(str(folder / f"{name}.png"), picture(row, column))
        mask = np.zeros((120, 160), np.uint8)
        if number != 17:
            mask[row : row + 40, column : column + 40] = 255
        cv2.imwrite(str(folder / f"{name}_mask.png"), mask)
        rows.append(
            {
                "image": f"{name}.png",
                "label": "benign" if number in (4, 5, 17) else "malignant",
                "patient_id": name,
                "split": "validation" if number < 4 else "test",
                "mask": f"{name}_mask.png",
            }
        )
    (folder / f"{PATIENT}-broken.png").write_bytes(b"no picture")
    rows.append({"image": f"{PATIENT}-broken.png", "label": "malignant", "patient_id": "x", "split": "test"})
    write_records(pd.DataFrame(rows).fillna(""), folder / "records.csv")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The breast bundle with a network whose malignancy is the presence of stripes, taught without training."""
    folder = tmp_path_factory.mktemp("bundle")
    path = Path(shutil.copytree(BUNDLES / "breast_mass_us_classification", folder / "breast_mass_us_classification"))
    torch.manual_seed(0)
    network = build_classifier("densenet121")
    striped = (
        torch.from_numpy(
            np.stack([cv2.resize(picture(r, c), (SIZE, SIZE)) for r in (0, 40, 80) for c in (0, 60, 120)])
        ).float()[:, None]
        / 255
    )
    plain = torch.full_like(striped, 100 / 255) + 0.02 * torch.randn_like(striped)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.cat([striped, plain]))
        network.eval()
        difference = network.encoder.pooled(striped).mean(0) - network.encoder.pooled(plain).mean(0)
        network.head.weight.copy_(torch.stack([-difference, difference]))
        network.head.bias.zero_()
    facts = {
        "architecture": "densenet121",
        "image_size": SIZE,
        "classes": ["benign", "malignant"],
        "threshold": 0.5,
    }
    save_model(path / "models" / "model.pt", network, facts)
    return path


@pytest.fixture(scope="module")
def explained(bundle: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained")
    (out / "overlays").mkdir()
    (out / "overlays" / "9999.png").write_bytes(b"of an earlier run")
    (out / "overlays" / "mine.png").write_bytes(b"not ours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "radimagenet_monai.explain.explanation._DRAWS", 1
        )  # of random networks: nothing here depends on it
        page = explain(bundle, data, out, level="1/16", progress=False)
    assert page == out / "explain.html"
    return out


def test_table_has_a_row_an_image(explained: Path) -> None:
    table = pd.read_csv(explained / "localization.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["number"].tolist() == list(range(1, 16))
    assert table["record"].tolist() == list(range(4, 19))
    assert (table["class"].dropna() == "malignant").all()
    broken = table[table["file"].str.contains("broken")].iloc[0]
    assert "open" in broken["problem"] or "decode" in broken["problem"] or "header" in broken["problem"]
    assert pd.isna(broken["dice"])
    counted = table[table["counted"]]
    assert len(counted) == 11
    assert (counted["label"] == "malignant").all()
    assert counted["lesion_share"].tolist() == pytest.approx([40 * 40 / 120 / 160] * 11, abs=1e-6)


def test_network_that_looks_at_the_lesion_is_found_to(explained: Path) -> None:
    summary = json.loads((explained / "localization.json").read_text())
    assert summary["cases"] == 11
    assert (summary["images"], summary["unusable"], summary["without_lesion"]) == (15, 1, 1)
    assert summary["pointing"]["estimate"] > 0.8
    assert summary["energy"]["estimate"] > 2 * summary["uniform_pointing"]
    assert summary["threshold_origin"] == "highest mean Dice on 4 validation cases"
    assert summary["others"]["benign"]["cases"] == 2
    assert [size["cases"] for size in summary["by_size"]] == [11]
    assert [check["randomized"] for check in summary["sanity"]["checks"]][-1] == "all layers"
    assert summary["sanity"]["verdict"] in ("passed", "failed")
    assert [case["rank"] for case in summary["gallery"]].count("worst") == 3
    energies = {rank: [c["energy"] for c in summary["gallery"] if c["rank"] == rank] for rank in ("best", "worst")}
    assert min(energies["best"]) >= max(energies["worst"])


def test_overlays_are_upright_at_the_images_size_and_numbered(explained: Path, data: Path) -> None:
    table = pd.read_csv(explained / "localization.csv")
    names = {path.name for path in (explained / "overlays").iterdir()}
    usable = table[table["problem"].isna()]
    assert names == {f"{number:04d}.png" for number in usable["number"]} | {"mine.png"}
    row = usable.iloc[3]
    overlay = cv2.imread(str(explained / "overlays" / f"{row['number']:04d}.png"))
    image = cv2.imread(str(data / row["file"]), cv2.IMREAD_GRAYSCALE)
    mask = cv2.imread(str(data / row["file"].replace(".png", "_mask.png")), cv2.IMREAD_GRAYSCALE) > 0
    assert overlay.shape == (120, 160, 3)
    light_blue = (overlay == (255, 200, 0)).all(axis=2)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert light_blue.sum() > 100
    assert not (light_blue & (inner | ~mask)).any()
    gray = cv2.cvtColor(overlay, cv2.COLOR_BGR2GRAY)
    agreement = [np.corrcoef(gray.ravel(), turned.ravel())[0, 1] for turned in (image, image[::-1], image[:, ::-1])]
    assert agreement[0] == max(agreement)


def test_nothing_but_the_table_names_files_or_patients(explained: Path) -> None:
    for name in ("explain.html", "localization.json"):
        assert PATIENT not in (explained / name).read_text(encoding="utf-8")
    assert PATIENT in (explained / "localization.csv").read_text(encoding="utf-8")
    assert "patient_id" not in (explained / "localization.csv").read_text(encoding="utf-8")


def test_page_needs_nothing_but_itself(explained: Path) -> None:
    text = (explained / "explain.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 9
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    for title in ("Maps and lesions", "Sanity check", "Best cases", "Median cases", "Worst cases", "By lesion size"):
        assert title in text


def test_one_image_and_a_folder_need_no_records(bundle: Path, data: Path, tmp_path: Path) -> None:
    file = next(data.glob(f"{PATIENT}-4.png"))
    explain(bundle, file, tmp_path / "one", sanity=False, progress=False)
    summary = json.loads((tmp_path / "one" / "localization.json").read_text())
    assert summary["cases"] == 0
    assert summary["sanity"]["verdict"] == "not made"
    assert [case["rank"] for case in summary["gallery"]] == ["example"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (file, data / f"{PATIENT}-broken.png"):
        shutil.copy(path, folder)
    explain(bundle, folder, tmp_path / "two", target="benign", method="gradcam++", progress=False)
    table = pd.read_csv(tmp_path / "two" / "localization.csv")
    assert set(table["class"].dropna()) == {"benign"}
    assert table["problem"].notna().sum() == 1
    assert json.loads((tmp_path / "two" / "localization.json").read_text())["sanity"]["verdict"] == "not estimable"


@pytest.mark.long
def test_localize_gives_tables_that_compare(bundle: Path, data: Path) -> None:
    fine, coarse = (
        localize(bundle, data, maps=MapSettings(level=level), threshold=0.5, progress=False)
        for level in ("1/16", "1/32")
    )
    assert fine.summary.threshold_origin == "given"
    found = compare_localization(fine.table, coarse.table)
    assert found["dice"].cases == 11
    assert found["dice"].difference == pytest.approx(fine.summary.dice.estimate - coarse.summary.dice.estimate)
    limited = localize(bundle, data, limit=3, threshold=0.5, progress=False)
    assert len(limited.table) == 3


def test_maps_lie_on_the_region_that_the_network_saw(bundle: Path, tmp_path: Path) -> None:
    framed = np.zeros((200, 260), np.uint8)
    framed[60:180, 90:250] = picture(10, 20)
    cv2.imwrite(str(tmp_path / "framed.png"), framed)
    image = TrainedClassifier(bundle).prepare({"image": str(tmp_path / "framed.png")})
    top, left, bottom, right = image.region
    assert abs(np.array([top, left, bottom, right]) - [60, 90, 180, 250]).max() <= 4
    assert np.abs(image.picture[top:bottom, left:right].astype(int) - framed[top:bottom, left:right]).max() <= 1
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[:, SIZE // 2 :] = 1
    placed = image.to_picture(heat)
    assert placed.shape == framed.shape
    assert not placed[:top].any()
    assert not placed[:, : (left + right) // 2 - 2].any()
    assert (placed[top:bottom, (left + right) // 2 + 2 : right] == 1).all()
    assert image.from_picture(placed > 0.5).mean() == pytest.approx(0.5, abs=0.02)


def write_ultrasound(path: Path, pixels: np.ndarray, aspect: list[int]) -> str:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = UltrasoundImageStorage, generate_uid(), "US"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, pixels.tobytes()
    dataset.PixelAspectRatio = aspect
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


@pytest.mark.parametrize("aspect", [[1, 2], [2, 1]])
def test_map_mask_and_picture_coincide_where_pixels_are_not_square(
    bundle: Path, tmp_path: Path, aspect: list[int]
) -> None:
    """A lesion off the middle: found in the network's input, it is brought back to where it was planted."""
    planted = np.zeros((160, 160), bool)
    planted[20:44, 100:140] = True
    pixels = np.where(planted, 250, 60).astype(np.uint8)
    file = write_ultrasound(tmp_path / "a.dcm", pixels, aspect)
    image = TrainedClassifier(bundle).prepare({"image": file})
    inside = np.zeros((SIZE, SIZE), bool)
    inside[image.content[0] : image.content[2], image.content[1] : image.content[3]] = True
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    assert not image.canonical[0].numpy()[~inside].any()

    found = image.canonical[0].numpy() > 0.6  # where the network sees it
    back = image.to_picture(found.astype(np.float32)) > 0.5
    assert (back & planted).sum() / (back | planted).sum() > 0.85
    middle = np.argwhere(planted).mean(0)
    np.testing.assert_allclose(np.argwhere(back).mean(0), middle, atol=1)
    forth = image.from_picture(planted)
    np.testing.assert_allclose(np.argwhere(forth).mean(0), np.argwhere(found).mean(0), atol=1)
    np.testing.assert_allclose(np.argwhere(image.picture > 200).mean(0), middle, atol=0.5)


@pytest.mark.long
def test_command_prints_where_the_page_is(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    explain_command(str(bundle), str(data), str(tmp_path / "out"), limit=2, sanity="false", threshold=0.5)
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "explain.html")


def test_what_cannot_be_explained_is_said(bundle: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="is no classifier"):
        explain(BUNDLES / "breast_mass_us_segmentation", data, out)
    with pytest.raises(WeightsError, match="train the bundle first"):
        explain(BUNDLES / "breast_mass_us_classification", data, out)
    with pytest.raises(ConfigurationError, match="give the folder of a bundle"):
        explain(data, data, out)
    with pytest.raises(UsageError, match="unknown key --treshold: did you mean --threshold"):
        explain(bundle, data, out, settings={"treshold": 0.2})
    with pytest.raises(ConfigurationError, match="choose one of benign, malignant"):
        explain(bundle, data, out, target="normal")
    with pytest.raises(ConfigurationError, match="unknown method"):
        explain(bundle, data, out, method="lime")
    with pytest.raises(ConfigurationError, match="split 'tset' is unknown"):
        explain(bundle, data, out, split="tset")
    with pytest.raises(ConfigurationError, match="limit 0"):
        explain(bundle, data, out, limit=0)
    with pytest.raises(RecordsError, match="none of 1 images could be used"):
        explain(bundle, data / f"{PATIENT}-broken.png", out, progress=False)
    write_records(pd.read_csv(data / "records.csv", dtype=str, na_filter=False).assign(mask=""), tmp_path / "r.csv")
    with pytest.raises(RecordsError, match="has a mask"):
        localize(bundle, tmp_path / "r.csv", data)
