"""DDTI folders, tidy and untidy, as records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.audit import audit_records
from radimagenet_monai.datasets.masks import load_masks
from radimagenet_monai.datasets.readers.ddti import (
    CLASSES,
    PUBLISHED_COUNTS,
    looks_like_ddti,
    read_ddti,
    summary,
    tirads_category,
)
from radimagenet_monai.datasets.records.table import load_datalist, read_records, write_records
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms.ddti import DATASET_FOLDER, simulate, write_ddti_phantom

pytestmark = pytest.mark.slow

SIZE = (96, 112)
CASES = 24
SQUARE = json.dumps([{"points": [{"x": x, "y": y} for x, y in ((9, 9), (20, 9), (20, 20))]}])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ddti_phantom(tmp_path_factory.mktemp("ddti"), patients=CASES, seed=3, size=SIZE, progress=False)


@pytest.fixture
def ddti(clean: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(clean / DATASET_FOLDER, tmp_path / "ddti")
    return tmp_path / "ddti"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def category_of(path: Path) -> str:
    return path.read_text().split("<tirads>")[1].split("</tirads>")[0]


def test_a_tidy_folder(clean: Path) -> None:
    frame = read_ddti(clean, progress=False)
    assert frame.attrs["notes"] == []
    assert frame["patient_id"].unique().tolist() == [str(number) for number in range(1, CASES + 1)]
    assert frame["image"][0] == "DDTI/1_1.jpg"
    assert frame["mask"][0] == "DDTI/1.xml#1"
    assert len(frame) > CASES, "some cases have several images"
    benign = frame["tirads"].isin(["2", "3"])
    assert (frame["label"] == np.where(benign, "benign", "malignant")).all()
    assert frame.groupby("patient_id")[["split", "fold"]].nunique().to_numpy().max() == 1
    assert pd.crosstab(frame["fold"], frame["label"]).to_numpy().min() > 0
    pd.testing.assert_frame_equal(frame, read_ddti(clean, progress=False))
    assert {"age", "sex", "composition", "margins"} <= set(frame.columns)


def test_masks_lie_where_the_nodules_were_drawn(clean: Path, tmp_path: Path) -> None:
    frame = read_ddti(clean, progress=False)
    write_records(frame, tmp_path / "records.csv")
    pd.testing.assert_frame_equal(read_records(tmp_path / "records.csv", CLASSES), frame)
    items = load_datalist(tmp_path / "records.csv", clean, CLASSES)
    for item in items:
        number, index = (int(part) for part in Path(item["image"]).stem.split("_"))
        known = simulate(number, seed=3, size=SIZE).images[index - 1]
        drawn = np.logical_or.reduce(known.masks)
        loaded = load_masks(item["mask"], known.pixels.shape, 0)
        overlap = 2 * (loaded & drawn).sum() / (loaded.sum() + drawn.sum())
        assert overlap > 0.93, item["image"]


def test_an_audit_finds_the_outlines(clean: Path, tmp_path: Path) -> None:
    path, _ = prepare("ddti", clean, tmp_path)
    assert audit_records(path, clean, progress=False).counts == {}


def test_images_and_xml_in_folders_of_their_own(ddti: Path) -> None:
    (ddti / "images").mkdir()
    for image in ddti.glob("*.jpg"):
        image.rename(ddti / "images" / image.name)
    assert looks_like_ddti(ddti)
    frame = read_ddti(ddti, progress=False)
    assert frame.attrs["notes"] == []
    assert frame["image"][0] == "images/1_1.jpg"
    assert frame["mask"][0] == "1.xml#1"


def test_cases_without_a_category_are_left_out(ddti: Path) -> None:
    for number, written in ((1, ""), (2, "1"), (4, "unclear")):
        edit(ddti / f"{number}.xml", f"<tirads>{category_of(ddti / f'{number}.xml')}<", f"<tirads>{written}<")
    edit(ddti / "5.xml", "<tirads>", "<tirads>TIRADS ")
    frame = read_ddti(ddti, progress=False)
    assert not set(frame["patient_id"]) & {"1", "2", "4"}
    assert (frame.loc[frame["patient_id"] == "5", "label"] == "malignant").all()
    notes = "\n".join(frame.attrs["notes"])
    assert "of 3 cases without a TI-RADS category left out, first case 1, 2, 4" in notes
    assert "TI-RADS '1' of case 2 is neither benign nor malignant here" in notes
    assert "TI-RADS 'unclear' of case 4 is neither" in notes
    nodules = read_ddti(ddti, progress=False, target="nodule")
    assert set(nodules.loc[nodules["patient_id"].isin(["1", "2", "4"]), "label"]) == {""}
    assert nodules["split"].isin(["train", "validation", "test"]).all()
    assert summary(nodules)["differences"] == {}
    assert load_datalist_of(nodules, ddti)


def load_datalist_of(frame: pd.DataFrame, root: Path) -> list[dict]:
    write_records(frame, root / "records.csv")
    return load_datalist(None, root, None, "test")


def test_odd_cases_are_named(ddti: Path) -> None:
    image = next(ddti.glob("2_1.jpg"))
    (ddti / "1.xml").write_text("<case>")
    edit(ddti / "2.xml", "</case>", f"<mark><image>7</image><svg>{SQUARE}</svg></mark></case>")
    text = (ddti / "3.xml").read_text()
    (ddti / "3.xml").write_text(text.split("<mark>")[0] + "<mark><image>1</image><svg/></mark></case>")
    edit(ddti / "4.xml", "<number>4<", "<number>40<")
    (ddti / "5_1.jpg").write_bytes(b"no picture")
    outside = SQUARE.replace("9", "9000").replace("20", "9100")
    text = (ddti / "6.xml").read_text()
    (ddti / "6.xml").write_text(text.split("<mark>")[0] + f"<mark><image>1</image><svg>{outside}</svg></mark></case>")
    shutil.copy(image, ddti / "900_1.jpg")
    (ddti / "901.xml").write_text("<case><number>901</number><tirads>3</tirads></case>")
    (ddti / "deep").mkdir()
    shutil.copy(image, ddti / "deep" / "2_1.png")
    for name in ("Thumbs.db", "._7.xml", ".DS_Store", "readme.txt"):
        (ddti / name).write_bytes(b"x")
    (ddti / "nodule.jpg").write_bytes(b"x")
    frame = read_ddti(ddti, progress=False)
    assert not set(frame["patient_id"]) & {"1", "900", "901"}
    assert (frame.loc[frame["patient_id"] == "3", "mask"] == "").any()
    assert (frame.loc[frame["image"] == "6_1.jpg", "mask"] == "").all()
    notes = frame.attrs["notes"]
    for part in (
        "case 1 was left out: 1.xml: not XML",
        "'2.xml' outlines image 7, which is not there",
        "'4.xml' says it is case 40; the file name was believed",
        "'5_1.jpg' is not a readable picture",
        "1 image with an outline outside the picture, not used: 6_1.jpg",
        "1 case without an XML file left out: 900",
        "1 case without an image: 901",
        "'deep/2_1.png' was left out: '2_1.jpg' is the same case and image",
        "'nodule.jpg' was left out: its name is of the form neither 12.xml nor 12_1.jpg",
        "without an outline, kept without a mask",
    ):
        assert sum(part in note for note in notes) == 1, part
    assert len(notes) == 10
    nodules = read_ddti(ddti, progress=False, target="nodule")
    assert (nodules["mask"] != "").all()
    assert "6_1.jpg" not in set(nodules["image"])


def test_the_oddities_of_the_phantom(tmp_path: Path) -> None:
    root = write_ddti_phantom(tmp_path, patients=26, size=(64, 64), progress=False, oddities=True)
    frame = read_ddti(root, progress=False)
    assert not set(frame["patient_id"]) & {"7", "14", "21"}
    assert (frame.loc[frame["patient_id"].isin(["11", "22"]), "mask"] == "").all()
    cut = frame.loc[frame["patient_id"].isin(["13", "26"]), "mask"]
    assert (cut != "").all()
    with pytest.raises(json.JSONDecodeError):
        json.loads((root / DATASET_FOLDER / "13.xml").read_text().split("<svg>")[1].split("</svg>")[0])
    assert len(frame.attrs["notes"]) == 2


def test_the_authors_files_choose_images_labels_and_folds(ddti: Path, tmp_path: Path) -> None:
    csv = tmp_path / "csv"
    csv.mkdir()
    groups = ((1, 3), (2, 6), (4, 9))
    for number, cases in enumerate(groups, start=1):
        rows = "".join(f"images/{case}_1.jpg,{'benign' if case % 3 == 0 else 'malignant'}\n" for case in cases)
        (csv / f"thyroid_test_fold{number}.csv").write_text(
            "img_dir,label\n" + rows + "images/800_1.jpg,benign\n" * (number == 1)
        )
        (csv / f"thyroid_train_fold{number}.csv").write_text("img_dir,label\nimages/10_1.jpg,benign\n")
    frame = read_ddti(ddti, progress=False, authors_csv=str(csv))
    folds = dict(zip(frame["patient_id"], frame["fold"].fillna(-1), strict=True))
    assert folds == {"1": 0, "3": 0, "2": 1, "6": 1, "4": 2, "9": 2, "10": -1}
    assert frame["image"].tolist() == [f"{number}_1.jpg" for number in (1, 2, 3, 4, 6, 9, 10)]
    notes = "\n".join(frame.attrs["notes"])
    assert "1 listed images are not there, first 'images/800_1.jpg'" in notes
    assert "1 image with another label in the authors' files than by TI-RADS, theirs used: 10_1.jpg" in notes
    frame = read_ddti(ddti, progress=False, authors_csv=str(csv), authors_fold=2)
    assert dict(zip(frame["patient_id"], frame["split"], strict=True)) == {"2": "test", "6": "test", "10": "train"}
    with pytest.raises(ConfigurationError, match="authors_fold 2 was given without authors_csv"):
        read_ddti(ddti, authors_fold=2)


def test_summary_compares_with_the_published_counts(clean: Path) -> None:
    frame = read_ddti(clean, progress=False)
    counts = summary(frame)
    assert json.loads(json.dumps(counts)) == counts
    assert counts["differences"]["patients"] == CASES - 298
    assert counts["differences"]["images"] == len(frame) - 349
    assert PUBLISHED_COUNTS["malignant"] + PUBLISHED_COUNTS["benign"] == PUBLISHED_COUNTS["images"]
    assert sum(counts["categories"].values()) == len(frame)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("4a", "4a"),
        (" 4A ", "4a"),
        ("5", "5"),
        ("TI-RADS 4c", "4c"),
        ("tirads3", "3"),
        ("", ""),
        ("4d", ""),
        ("44", ""),
    ],
)
def test_categories(text: str, category: str) -> None:
    assert tirads_category(text) == category


def test_other_folders_are_not_ddti(tmp_path: Path) -> None:
    assert not looks_like_ddti(tmp_path)
    assert not looks_like_ddti(tmp_path / "none")
    with pytest.raises(RecordsError, match="does not hold DDTI; expected files such as"):
        read_ddti(tmp_path)
    with pytest.raises(RecordsError, match="is not a folder"):
        read_ddti(tmp_path / "none")
    (tmp_path / "1.xml").write_text("<annotation/>")
    (tmp_path / "2_1.jpg").write_bytes(b"")
    assert not looks_like_ddti(tmp_path)
    (tmp_path / "1_1.jpg").write_bytes(b"")
    with pytest.raises(RecordsError, match="holds no DDTI case that can be used: case 1 was left out"):
        read_ddti(tmp_path, progress=False)
    with pytest.raises(ConfigurationError, match="target 'nodules' is unknown; expected malignancy or nodule"):
        read_ddti(tmp_path, target="nodules")


def test_both_forms_look_like_ddti(clean: Path) -> None:
    assert looks_like_ddti(clean)
    assert looks_like_ddti(str(clean / DATASET_FOLDER))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(
        st.sampled_from(
            [
                "<case>",
                "</case>",
                "<mark>",
                "</mark>",
                "<image>1</image>",
                f"<svg>{SQUARE}</svg>",
                "<svg>",
                "<tirads>4a</tirads>",
                "<tirads/>",
                "[{",
                "&",
                "\u00e9",
            ]
        ),
        max_size=8,
    ).map("".join)
)
def test_any_xml_is_a_table_or_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "1.xml").write_text(content, encoding="latin-1")
    Image.new("L", (30, 30)).save(tmp_path / "1_1.jpg")
    for target in ("malignancy", "nodule"):
        try:
            frame = read_ddti(tmp_path, fractions=(1, 0, 0), folds=0, progress=False, target=target)
        except RecordsError:
            continue
        assert len(frame) == 1
