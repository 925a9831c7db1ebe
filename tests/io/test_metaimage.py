"""MetaImage against ITK: types, byte orders, compression, orientation, detached data, damage."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import itk
import numpy as np
import pytest
from display_convention import shown
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io import read_image, survey
from radimagenet_monai.io.reader import count_frames

NAMES = {
    "i1": "MET_CHAR",
    "u1": "MET_UCHAR",
    "i2": "MET_SHORT",
    "u2": "MET_USHORT",
    "i4": "MET_INT",
    "u4": "MET_UINT",
    "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}
VOXELS = np.random.default_rng(6).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
# Every order of axes with every sign: what a matrix of a scanner is nearest to.
TURNS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for signs in np.stack(np.meshgrid([1, -1], [1, -1], [1, -1]), -1).reshape(-1, 3).tolist()
]


def metaimage(path: Path, voxels: np.ndarray, data: bytes | None = None, **fields: object) -> Path:
    """A hand-written MetaImage file of voxels (x, y, z)."""
    order = voxels.dtype.byteorder
    header = {
        "ObjectType": "Image",
        "NDims": voxels.ndim,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": order == ">",
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": NAMES[voxels.dtype.str[1:]],
        **fields,
    }
    header["ElementDataFile"] = header.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{name} = {value}\n" for name, value in header.items() if value is not None)
    path.write_bytes(text.encode() + (voxels.tobytes(order="F") if data is None else data))
    return path


def by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (x, y, z) and the affine to RAS mm."""
    image = itk.imread(str(path))
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return itk.array_from_image(image).T, np.diag([-1, -1, 1, 1]) @ affine


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["u1", "<i2", ">i2", "<u2", ">u2", ">f4", "<f8"]),
    turn=st.sampled_from(TURNS),
    spacing=st.tuples(*[st.sampled_from([0.5, 0.703125, 1.0, 2.5])] * 3),
    origin=st.tuples(*[st.integers(-300, 300)] * 3),
    compressed=st.booleans(),
    detached=st.booleans(),
    tilt=st.floats(-0.4, 0.4),
)
def test_voxels_and_places_are_those_of_itk(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    turn: np.ndarray,
    spacing: tuple[float, ...],
    origin: tuple[int, ...],
    compressed: bool,
    detached: bool,
    tilt: float,
) -> None:
    folder = tmp_path_factory.mktemp("meta")
    voxels = (VOXELS % 100).astype(kind)
    turned = turn @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    data = voxels.tobytes(order="F")
    data = zlib.compress(data) if compressed else data
    name = "a.zraw" if compressed else "a.raw"
    if detached:
        (folder / name).write_bytes(data)
    path = metaimage(
        folder / ("a.mhd" if detached else "a.mha"),
        voxels,
        b"" if detached else data,
        CompressedData=compressed,
        CompressedDataSize=len(data) if compressed else None,
        TransformMatrix=" ".join(f"{value:.17g}" for value in turned.ravel()),
        Offset=" ".join(map(str, origin)),
        ElementSpacing=" ".join(map(str, spacing)),
        ElementDataFile=name if detached else "LOCAL",
    )
    expected, affine = by_itk(path)
    np.testing.assert_array_equal(expected, voxels)
    image = read_image(path, "stored")
    np.testing.assert_array_equal(image.pixels, shown(expected, affine))
    assert image.pixels.dtype == voxels.dtype.newbyteorder("=")
    assert image.source == "volume"
    assert count_frames(path, "stored") == len(image)
    assert count_frames(path) == len(read_image(path))
    # The place of one voxel, by ITK's affine and by that of the upright pixels.
    assert image.affine is not None
    marked = np.zeros_like(expected)
    marked[1, 2, 3] = 1
    frame, row, column = np.argwhere(shown(marked, affine) == 1)[0]
    place = np.diag([-1, -1, 1, 1]) @ affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(image.affine @ [column, row, frame, 1], place, atol=1e-9)


@pytest.mark.parametrize(
    "fields",
    [
        {"ElementSpacing": None, "ElementSize": "0.5 0.25 3"},
        {"Offset": None, "Position": "1 2 3"},
        {"TransformMatrix": None, "Rotation": "0 1 0 1 0 0 0 0 1"},
        {"TransformMatrix": None, "Orientation": "0 1 0 1 0 0 0 0 1"},
        {"ElementSpacing": "-0.5 0.25 3"},
        {"BinaryDataByteOrderMSB": None},
        {"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "False"},
        {"HeaderSize": "-1"},
    ],
    ids=str,
)
def test_other_names_of_fields_are_read_as_itk_does(tmp_path: Path, fields: dict) -> None:
    usual = {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 1 1"}
    path = metaimage(tmp_path / "a.mha", VOXELS, **{**usual, **fields})
    expected, affine = by_itk(path)
    image = read_image(path, "stored")
    np.testing.assert_array_equal(image.pixels, shown(expected, affine))
    np.testing.assert_allclose(
        np.linalg.norm(image.affine[:3, :3], axis=0), np.linalg.norm(affine[:3, :3], axis=0)[_order(affine)]
    )


def _order(affine: np.ndarray) -> list[int]:
    """Columns, rows, slices of an upright axial image among the stored axes."""
    size = np.abs(affine[:3, :3])
    return [int(size[0].argmax()), int(size[1].argmax()), int(size[2].argmax())]


@pytest.mark.parametrize(("kind", "name"), [("i1", None), ("<i4", None), (">u4", None), ("<i4", "MET_LONG")])
def test_types_that_itk_is_built_without(tmp_path: Path, kind: str, name: str | None) -> None:
    """MET_LONG has 4 bytes on every machine, whatever a C compiler makes of the word."""
    voxels = (VOXELS % 100).astype(kind)
    path = metaimage(tmp_path / "a.mha", voxels, **({"ElementType": name} if name else {}))
    np.testing.assert_array_equal(read_image(path, "stored").pixels, voxels.T)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_what_itk_writes(tmp_path: Path, name: str, compress: bool) -> None:
    itk.imwrite(itk.image_from_array(VOXELS), str(tmp_path / name), compression=compress)
    np.testing.assert_array_equal(read_image(tmp_path / name, "stored").pixels, VOXELS)
    images, left_out = survey(tmp_path)
    assert [Path(item.path).name for item in images] == [name]
    assert not left_out, "the data file is read with its header"


def test_color_pictures_and_volumes_in_time(tmp_path: Path) -> None:
    color = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    itk.imwrite(itk.image_from_array(color, ttype=itk.Image[itk.RGBPixel[itk.UC], 3]), str(tmp_path / "c.mha"))
    image = read_image(tmp_path / "c.mha", "stored")
    assert image.is_color
    np.testing.assert_array_equal(image.pixels, color)
    picture = metaimage(tmp_path / "p.mha", VOXELS[:, :, 0])
    np.testing.assert_array_equal(read_image(picture, "stored").pixels, VOXELS[:, :, 0].T[None])
    times = np.stack([VOXELS, VOXELS + 1], axis=-1)
    image = read_image(metaimage(tmp_path / "t.mha", times), "stored")
    np.testing.assert_array_equal(image.pixels, np.concatenate([VOXELS.T, VOXELS.T + 1]))
    assert image.volumes == 2
    assert count_frames(tmp_path / "t.mha", "stored") == 8


def test_text_and_gzip(tmp_path: Path) -> None:
    words = " ".join(map(str, VOXELS.ravel(order="F"))).encode()
    path = metaimage(tmp_path / "a.mha", VOXELS, words, BinaryData="False")
    np.testing.assert_array_equal(read_image(path, "stored").pixels, VOXELS.T)
    path = metaimage(tmp_path / "b.mha", VOXELS, gzip.compress(VOXELS.tobytes(order="F")), CompressedData="True")
    np.testing.assert_array_equal(read_image(path, "stored").pixels, VOXELS.T)


@pytest.mark.parametrize("name", ["../a.raw", "/etc/hostname", "sub/a.raw", "LIST", "a%03d.raw 1 3 1", "link.raw"])
def test_data_elsewhere_are_not_touched(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for target in (tmp_path / "a.raw", folder / "sub" / "a.raw", tmp_path / "secret"):
        target.write_bytes(VOXELS.tobytes(order="F"))
    (folder / "link.raw").symlink_to(tmp_path / "secret")
    with pytest.raises(UnreadableImageError, match="data"):
        read_image(metaimage(folder / "a.mhd", VOXELS, b"", ElementDataFile=name))


def test_a_link_to_data_of_its_kind_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "XY12.raw").write_bytes(VOXELS.tobytes(order="F"))
    (tmp_path / "a.raw").symlink_to(tmp_path / "store" / "XY12.raw")
    image = read_image(metaimage(tmp_path / "a.mhd", VOXELS, b"", ElementDataFile="a.raw"), "stored")
    np.testing.assert_array_equal(image.pixels, VOXELS.T)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ObjectType": "Tube"}, "holds a Tube"),
        ({"NDims": "2"}, "3 sizes and 2 dimensions"),
        ({"DimSize": "5 6"}, "2 sizes and 3 dimensions"),
        ({"DimSize": "60000 60000 60000"}, "at most"),
        ({"DimSize": "5 6 -4"}, "empty image"),
        ({"DimSize": "5 6 5"}, "cut short"),
        ({"DimSize": "5 6 3"}, "more values"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "MET_SHORT_ARRAY"),
        ({"ElementNumberOfChannels": "2"}, "2 channels"),
        ({"ElementSpacing": "1 0 1"}, "zero"),
        ({"ElementSpacing": "1 nan 1"}, "ElementSpacing"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "parallel"),
        ({"TransformMatrix": "1 0 0"}, "TransformMatrix does not hold 9"),
        ({"ElementToIntensityFunctionSlope": "2"}, "Slope 2"),
        ({"CompressedData": "True"}, "decode"),
        ({"HeaderSize": "9"}, "HeaderSize"),
    ],
    ids=str,
)
def test_files_that_cannot_be_meant_are_refused(tmp_path: Path, fields: dict, said: str) -> None:
    with pytest.raises(UnreadableImageError, match=said):
        read_image(metaimage(tmp_path / "a.mha", VOXELS, **fields))


def test_a_cut_compressed_stream_is_refused(tmp_path: Path) -> None:
    data = zlib.compress(VOXELS.tobytes(order="F"))
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_image(metaimage(tmp_path / "a.mha", VOXELS, data[:-9], CompressedData="True"))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_header_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.mktemp("meta") / "a.mha"
    path.write_bytes(b"ObjectType = Image\nNDims = 3\n" + text)
    with pytest.raises(UnreadableImageError):
        read_image(path)
    assert count_frames(path) >= 1
