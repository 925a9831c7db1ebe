"""What a folder holds: every file is an image or is counted by the reason for which it was left out."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom_files import pydicom_files

from radimagenet_monai.io import LeftOut, find_images, read_image, survey
from radimagenet_monai.io.discovery.left_out import printable

FILES = pydicom_files()
CT = FILES["pydicom/CT_small.dcm"].read_bytes()
REPORT = FILES["pydicom/reportsi.dcm"].read_bytes()


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path, "PNG")
    return path


def found(root: Path) -> list[str]:
    return [Path(item.path).relative_to(root).as_posix() for item in find_images(root)]


def every_file(root: Path) -> int:
    """Counted by the file system alone."""
    return sum(len(files) for _, _, files in os.walk(root))


def test_each_file_is_an_image_or_has_a_reason(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png", ".c.png"):
        picture(tmp_path / name)
    files = {
        "scan": CT,
        "scan.img": CT,
        "scan.raw": CT,
        "scan.txt": CT,
        "scan.csv": CT,
        "report.dcm": REPORT,
        "DICOMDIR": REPORT,
        "Thumbs.db": b"x",
        "README": b"read me",
        "table.csv": b"a,b\n1,2\n",
        "movie.mp4": b"\0\0\0\x18ftypmp42",
        "voxels.raw": b"\0" * 99,
        "broken.dcm": b"broken",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    images, left_out = survey(tmp_path)
    assert [Path(item.path).relative_to(tmp_path).as_posix() for item in images] == [
        *("a.png", "broken.dcm", "scan", "scan.csv", "scan.img", "scan.raw", "scan.txt", "sub/b.png"),
    ]
    assert dict(left_out) == {
        "hidden": [".c.png"],
        "DICOM without pixels": ["report.dcm"],
        "file of an operating system or DICOM directory": ["DICOMDIR", "Thumbs.db"],
        "text or table": ["README", "table.csv"],
        "no known image format": ["movie.mp4"],
        "pixels without their header file": ["voxels.raw"],
    }
    assert len(images) + sum(left_out.counts.values()) == every_file(tmp_path)
    assert left_out.notes[0] == "left out: 1 x DICOM without pixels, 'report.dcm'"
    assert left_out.notes[-1] == "left out: 2 x text or table, 'README', 'table.csv'"


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root, archive = tmp_path / "root", tmp_path / "archive"
    picture(root / "a" / "own.png")
    for patient in ("p1", "p2"):
        for number in range(2):
            picture(archive / patient / f"{number}.png")
        (root / "a" / patient).symlink_to(archive / patient, target_is_directory=True)
    (root / "a" / "linked.png").symlink_to(archive / "p1" / "0.png")
    (root / "a" / "gone.png").symlink_to(archive / "p9.png")
    (root / "a" / "gone").symlink_to(archive / "p9")
    (root / "a" / "itself").symlink_to(root / "a" / "itself")
    (archive / "p2" / "up").symlink_to(root, target_is_directory=True)
    (root / "a" / "above").symlink_to(root, target_is_directory=True)
    images, left_out = survey(root)
    assert [Path(item.path).relative_to(root).as_posix() for item in images] == [
        *("a/linked.png", "a/own.png", "a/p1/0.png", "a/p1/1.png", "a/p2/0.png", "a/p2/1.png"),
    ]
    assert left_out["link to nothing"] == ["a/gone", "a/gone.png", "a/itself"]
    assert left_out["link to a folder that contains it"] == ["a/above", "a/p2/up"]


def test_linked_folders_that_link_each_other_are_walked_once(tmp_path: Path) -> None:
    """Each of 12 folders links all the others: all ways through them are 12! and end only where each is taken once."""
    for number in range(12):
        picture(tmp_path / "store" / str(number) / "x.png")
        for other in range(12):
            (tmp_path / "store" / str(number) / f"to{other}").symlink_to(tmp_path / "store" / str(other))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "first").symlink_to(tmp_path / "store" / "0")
    assert len(find_images(tmp_path / "root")) == 12


def test_a_series_behind_a_link_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "arch").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "arch" / "0.dcm").write_bytes(CT)
    (tmp_path / "s" / "series").symlink_to(tmp_path / "arch")
    np.testing.assert_array_equal(read_image(tmp_path / "s").pixels, read_image(tmp_path / "arch" / "0.dcm").pixels)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("benign (1).png", "benign (1)_mask.png"),
        ("benign (1).png", "benign (1)_mask_1.png"),
        ("x.dcm", "x-SEG.png"),
        ("x.png", "x_segmentation.tif"),
        ("x.png", "masks/x.png"),
        ("images/x.png", "masks/x_mask.png"),
    ],
)
def test_a_mask_beside_its_image_is_no_image(tmp_path: Path, image: str, mask: str) -> None:
    picture(tmp_path / image)
    picture(tmp_path / mask)
    images, left_out = survey(tmp_path)
    assert [Path(item.path).relative_to(tmp_path).as_posix() for item in images] == [image]
    assert dict(left_out) == {"mask beside its image": [mask]}


@pytest.mark.parametrize("name", ["y_mask.png", "mask.png", "x2_mask.png", "masked/x.png"])
def test_a_mask_without_its_image_stays_an_image(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "x.png")
    picture(tmp_path / name)
    assert sorted(found(tmp_path)) == sorted(["x.png", name])


def test_names_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    odd = os.fsencode(tmp_path) + b"/K\xf6rper.png"
    Path(os.fsdecode(odd)).write_bytes((tmp_path / "a.png").read_bytes())
    left_out = survey(tmp_path).left_out
    assert found(tmp_path) == ["a.png"]
    assert dict(left_out) == {"name that is not UTF-8": ["K\\xf6rper.png"]}
    assert "\n".join(left_out.notes).encode("utf-8")
    assert printable(os.fsdecode(odd)).endswith("K\\xf6rper.png")


def test_what_was_left_out_travels_to_other_processes(tmp_path: Path) -> None:
    left_out = LeftOut(tmp_path)
    left_out.add("reason", tmp_path / "sub" / "a.png")
    left_out.add("reason", "b.png")
    again = pickle.loads(pickle.dumps(left_out))
    assert again == {"reason": ["sub/a.png", "b.png"]}
    assert again.counts == {"reason": 2}
