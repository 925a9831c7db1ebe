"""Masks from files of every kind, and from outlines in XML files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from radimagenet_monai.core.errors import RecordsError, UnreadableImageError
from radimagenet_monai.datasets.masks import load_masks
from radimagenet_monai.datasets.records.table import load_datalist, mask_file

SHAPE = (42, 50)  # rows, columns


@pytest.fixture
def lesion() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[5:15, 20:45] = True
    return mask


def write_case(path: Path, points: list[tuple[int, int]]) -> None:
    text = json.dumps([{"points": [{"x": x, "y": y} for x, y in points]}])
    path.write_text(f"<case><number>3</number><mark><image>2</image><svg>{text}</svg></mark></case>")


@pytest.mark.parametrize(
    ("mode", "value"), [("1", 1), ("L", 255), ("L", 1), ("I;16", 40_000), ("RGB", 255), ("RGBA", 255), ("P", 1)]
)
def test_pictures_of_every_kind(tmp_path: Path, lesion: np.ndarray, mode: str, value: int) -> None:
    name = str(tmp_path / "m.png")
    if mode == "I;16":
        Image.fromarray((lesion * value).astype(np.uint16)).save(name)
    elif mode == "1":
        Image.fromarray(lesion).save(name)
    elif mode == "P":
        picture = Image.fromarray(lesion.astype(np.uint8))
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.save(name)
    else:
        Image.fromarray((lesion * value).astype(np.uint8)).convert(mode).save(name)
    loaded = load_masks([name], SHAPE, 0)
    assert loaded.dtype == bool
    np.testing.assert_array_equal(loaded, lesion)


def test_a_jpeg_mask_keeps_its_edge(tmp_path: Path, lesion: np.ndarray) -> None:
    Image.fromarray(lesion.astype(np.uint8) * 255).save(tmp_path / "m.jpg", quality=60)
    assert (load_masks([str(tmp_path / "m.jpg")], SHAPE, 0) != lesion).mean() < 0.01


def test_a_volume_mask_is_taken_at_the_frame(tmp_path: Path, lesion: np.ndarray) -> None:
    np.save(tmp_path / "m.npy", np.stack([lesion * 0, lesion]).astype(np.uint8))
    assert not load_masks([str(tmp_path / "m.npy")], SHAPE, frame=0).any()
    np.testing.assert_array_equal(load_masks([str(tmp_path / "m.npy")], SHAPE, frame=1), lesion)
    with pytest.raises(UnreadableImageError, match="frame 2 was asked for"):
        load_masks([str(tmp_path / "m.npy")], SHAPE, frame=2)


def test_several_lesions_are_joined(tmp_path: Path, lesion: np.ndarray) -> None:
    Image.fromarray(lesion).save(tmp_path / "one.png")
    points = [(1, 30), (12, 30), (12, 40), (1, 40)]
    write_case(tmp_path / "3.xml", points)
    outlined = polygon2mask(SHAPE, np.array([(y, x) for x, y in points]))
    joined = load_masks([str(tmp_path / "one.png"), f"{tmp_path / '3.xml'}#2"], SHAPE, 0)
    assert joined[lesion].all()
    assert joined[outlined].all()
    assert joined.sum() == lesion.sum() + 12 * 11
    assert not load_masks([], SHAPE, 0).any()


def test_a_mask_of_another_size_is_refused(tmp_path: Path, lesion: np.ndarray) -> None:
    Image.fromarray(lesion.T.copy()).save(tmp_path / "m.png")
    with pytest.raises(
        UnreadableImageError, match=r"the mask has 50 x 42 pixels \(rows x columns\), its image 42 x 50"
    ):
        load_masks([str(tmp_path / "m.png")], SHAPE, 0)


def test_unreadable_references_name_themselves(tmp_path: Path) -> None:
    write_case(tmp_path / "3.xml", [(1, 30), (12, 30), (12, 40)])
    (tmp_path / "4.xml").write_text("<case")
    (tmp_path / "m.png").write_bytes(b"no picture")
    for name, reason in (("3.xml#1", "has no outline of image 1"), ("4.xml#1", "not XML"), ("5.xml#1", "cannot be")):
        with pytest.raises(UnreadableImageError, match=f"{name}: cannot be read .*{reason}") as raised:
            load_masks([str(tmp_path / name)], SHAPE, 0)
        assert str(raised.value).count(str(tmp_path)) == 1
    with pytest.raises(UnreadableImageError, match=r"m\.png: cannot be read"):
        load_masks([str(tmp_path / "m.png")], SHAPE, 0)


def test_the_file_behind_a_reference() -> None:
    assert mask_file("a/12.xml#1") == "a/12.xml"
    assert mask_file("a/12.XML#10") == "a/12.XML"
    for path in ("a#1.png", "12.xml", "12.xml#x", "scan#2"):
        assert mask_file(path) == path


def test_a_datalist_checks_the_xml_file(tmp_path: Path, lesion: np.ndarray) -> None:
    Image.fromarray(lesion).save(tmp_path / "3_2.png")
    write_case(tmp_path / "3.xml", [(1, 30), (12, 30), (12, 40)])
    (tmp_path / "records.csv").write_text("image,label,mask\n3_2.png,benign,3.xml#2\n")
    (item,) = load_datalist(None, tmp_path, ["benign"])
    assert item["mask"] == [f"{tmp_path / '3.xml'}#2"]
    assert load_masks(item["mask"], SHAPE, 0).any()
    (tmp_path / "3.xml").unlink()
    with pytest.raises(RecordsError, match="1 of 2 files of the records table do not exist"):
        load_datalist(None, tmp_path, ["benign"])
