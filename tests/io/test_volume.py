"""NIfTI against nibabel and NRRD against ITK: scaling, further axes, color, encodings, damage."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from display_convention import shown
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.formats.volume import SINGULAR_SFORM, VOXEL_OFFSET
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
VOXELS = np.random.default_rng(5).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
EXAMPLE = Path(nib.__file__).parent / "tests" / "data" / "example4d.nii.gz"


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8"])
def test_stored_types_come_back_in_native_order(tmp_path, kind, dtype):
    voxels = np.abs(VOXELS % 100).astype(dtype)
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    nib.save(kind(voxels, LPS, header), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.pixels, voxels.transpose(2, 1, 0))
    assert image.pixels.dtype == np.dtype(dtype).newbyteorder("=")
    assert image.source == "volume"


def test_scaling_gives_the_values_nibabel_gives(tmp_path):
    stored = nib.Nifti1Image(VOXELS, LPS)
    stored.header.set_slope_inter(0.5, -1024)
    nib.save(stored, tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    expected = nib.load(tmp_path / "a.nii.gz").get_fdata()
    np.testing.assert_array_equal(image.pixels, shown(expected, LPS))
    assert image.pixels.dtype == np.float32


def test_a_real_series_of_volumes_is_unrolled_volume_by_volume():
    """Nibabel's own functional MR: two volumes of 24 slices."""
    image = read_image(EXAMPLE)
    stored = nib.load(EXAMPLE)
    expected = [shown(stored.get_fdata()[..., volume], stored.affine) for volume in range(2)]
    np.testing.assert_array_equal(image.pixels, np.concatenate(expected))


def test_color_voxels_become_rgb(tmp_path):
    color = np.zeros((5, 6, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for number, name in enumerate("RGB"):
        color[name] = np.abs(VOXELS) % 50 + 60 * number
    nib.save(nib.Nifti1Image(color, LPS), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.is_color
    for number, name in enumerate("RGB"):
        np.testing.assert_array_equal(image.pixels[..., number], color[name].transpose(2, 1, 0))


def test_a_single_slice_is_one_frame(tmp_path):
    nib.save(nib.Nifti1Image(VOXELS[:, :, 0], LPS), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").pixels, VOXELS[:, :, 0].T[None])


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_a_cut_gzip_is_refused_even_where_only_the_checksum_is_gone(tmp_path, cut):
    nib.save(nib.Nifti1Image(VOXELS, LPS), tmp_path / "a.nii.gz")
    data = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(data[:-cut])
    with pytest.raises(UnreadableImageError, match="gzip does not end"):
        read_image(tmp_path / "a.nii.gz")


def test_a_flipped_bit_in_a_gzip_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(VOXELS, LPS), tmp_path / "a.nii.gz")
    data = bytearray((tmp_path / "a.nii.gz").read_bytes())
    data[-7] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(data)
    with pytest.raises(UnreadableImageError):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("field", "value", "stage"),
    [("srow_x", [0, 0, 0, 0], "geometry"), ("dim", [3, 30000, 30000, 30000, 1, 1, 1, 1], "header")],
)
def test_impossible_nifti_headers_are_refused(tmp_path, field, value, stage):
    stored = nib.Nifti1Image(VOXELS, LPS)
    stored.set_sform(LPS, code=1)
    nib.save(stored, tmp_path / "a.nii")
    header = nib.Nifti1Header.from_fileobj((tmp_path / "a.nii").open("rb"))
    header[field] = value
    body = (tmp_path / "a.nii").read_bytes()[348:]
    (tmp_path / "a.nii").write_bytes(header.binaryblock + body)
    with pytest.raises(UnreadableImageError) as caught:
        read_image(tmp_path / "a.nii")
    assert caught.value.stage == stage


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd"])
def test_a_header_that_describes_fewer_slices_than_there_are_is_refused(tmp_path, name):
    if name == "a.nii":
        nib.save(nib.Nifti1Image(VOXELS, LPS), tmp_path / name)
    else:
        nrrd(tmp_path / name, VOXELS)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + VOXELS[:, :, 0].tobytes())
    with pytest.raises(UnreadableImageError, match="header describes"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("flag", [4, 0], ids=["behind the extension flag", "behind the header"])
def test_a_voxel_offset_within_the_header_is_not_taken_at_its_word(tmp_path, kind, endianness, flag):
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(np.int16)
    size = header.sizeof_hdr
    data = bytearray(kind(VOXELS, LPS, header).to_bytes())
    place, code = (108, "f") if size == 348 else (168, "q")
    struct.pack_into(endianness + code, data, place, 0)
    path = tmp_path / "a.nii"
    path.write_bytes(data[:size] + data[size + 4 - flag :])
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, VOXELS.transpose(2, 1, 0))
    assert image.notes == (VOXEL_OFFSET,)
    path.write_bytes(data + b"12345678")
    with pytest.raises(UnreadableImageError, match="voxel offset is 0"):
        read_image(path)


def test_a_singular_sform_gives_way_to_the_qform(tmp_path):
    """As ITK does; nibabel takes the zeros."""
    stored = nib.Nifti1Image(VOXELS, LPS)
    stored.set_qform(LPS, 1)
    stored.header["srow_x"] = stored.header["srow_y"] = stored.header["srow_z"] = 0
    stored.header["sform_code"], stored.header["vox_offset"] = 1, 352
    (tmp_path / "a.nii").write_bytes(stored.header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    image = read_image(tmp_path / "a.nii")
    itk_image = itk.imread(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine[:3, :3], itk.array_from_matrix(itk_image.GetDirection()), atol=1e-6)
    assert image.notes == (SINGULAR_SFORM,)


def test_an_empty_nrrd_field_says_nothing(tmp_path):
    path = tmp_path / "a.nrrd"
    itk.imwrite(itk.image_from_array(VOXELS), path)
    expected = read_image(path).pixels
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\n", b"\ncontent:\nspace units: \n", 1))
    np.testing.assert_array_equal(read_image(path).pixels, expected)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("radimagenet_monai.io.formats.volume.MAX_DECODED_BYTES", 1 << 20)
    head = nib.Nifti1Image(VOXELS, LPS).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(head + bytes(8 << 20)))
    with pytest.raises(UnreadableImageError, match="inflates beyond"):
        read_image(tmp_path / "a.nii.gz")


def by_itk(path):
    """(x, y, z) and RAS affine, by ITK."""
    image = itk.imread(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ itk.array_from_matrix(image.GetDirection()) @ np.diag(image.GetSpacing())
    return itk.array_from_image(image).T, affine


def nrrd(path, voxels, encode=bytes, **fields):
    """A hand-written NRRD file."""
    names = {"i2": "short", "u1": "uchar", "f4": "float", "f8": "double", "i4": "int", "u2": "ushort"}
    header = {
        "type": names[voxels.dtype.str[1:]],
        "dimension": voxels.ndim,
        "sizes": " ".join(map(str, voxels.shape)),
        "encoding": "raw",
        "endian": "little",
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    text = "".join(f"{name}: {value}\n" for name, value in header.items() if value is not None)
    data = b"" if encode is None else encode(voxels.tobytes(order="F"))
    path.write_bytes(b"NRRD0004\n# a comment\nkey:=value\n" + text.encode() + b"\n" + data)
    return path


@pytest.mark.parametrize(
    "space", ["left-posterior-superior", "right-anterior-superior", "LPS", "RAS", "left-anterior-superior"]
)
def test_nrrd_spaces_as_itk_takes_them(tmp_path, space):
    path = nrrd(tmp_path / "a.nrrd", VOXELS, space=space, space_directions="(0,-0.7,0) (0,0,-0.9) (2.5,0,0)")
    voxels, affine = by_itk(path)
    np.testing.assert_array_equal(read_image(path).pixels, shown(voxels, affine))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compression", [False, True])
def test_nrrd_types_as_itk_writes_them(tmp_path, dtype, compression):
    voxels = np.abs(VOXELS % 100).astype(dtype)
    itk.imwrite(itk.image_from_array(voxels.T.copy()), str(tmp_path / "a.nrrd"), compression=compression)
    image = read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.pixels, voxels.T)
    assert image.pixels.dtype == np.dtype(dtype)
    assert image.spacing == (1.0, 1.0)


def ascii_samples(data):
    return " ".join(map(str, np.frombuffer(data, "<i2"))).encode()


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("ascii", ascii_samples)]
)
def test_nrrd_encodings(tmp_path, encoding, encode):
    path = nrrd(tmp_path / "a.nrrd", VOXELS, encode, encoding=encoding)
    np.testing.assert_array_equal(read_image(path).pixels, VOXELS.T)
    (tmp_path / "b.nrrd").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableImageError):
        read_image(tmp_path / "b.nrrd")


def test_big_endian_and_skips(tmp_path):
    path = nrrd(
        tmp_path / "a.nrrd",
        VOXELS,
        lambda data: b"a line\nxyz" + np.frombuffer(data, "<i2").astype(">i2").tobytes(),
        endian="big",
        line_skip=1,
        byte_skip=3,
    )
    np.testing.assert_array_equal(read_image(path).pixels, VOXELS.T)


def test_color_nrrd(tmp_path):
    color = np.random.default_rng(1).integers(0, 256, (3, 5, 6, 4)).astype(np.uint8)
    path = nrrd(tmp_path / "a.nrrd", color, kinds="RGB-color domain domain domain")
    np.testing.assert_array_equal(read_image(path).pixels, color.transpose(3, 2, 1, 0))


def test_detached_data_lie_beside_the_header(tmp_path):
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes(order="F"))
    path = nrrd(tmp_path / "a.nhdr", VOXELS, None, data_file="a.raw")
    np.testing.assert_array_equal(read_image(path).pixels, VOXELS.T)
    voxels, _ = by_itk(path)
    np.testing.assert_array_equal(voxels, VOXELS)


@pytest.mark.parametrize("name", ["../a.raw", "/etc/passwd", "sub/a.raw", "LIST", "a%03d.raw 1 3 1", "link.raw"])
def test_detached_data_elsewhere_are_not_touched(tmp_path, name):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for target in (tmp_path / "a.raw", folder / "sub" / "a.raw", tmp_path / "secret"):
        target.write_bytes(VOXELS.tobytes(order="F"))
    (folder / "link.raw").symlink_to(tmp_path / "secret")
    with pytest.raises(UnreadableImageError, match="data"):
        read_image(nrrd(folder / "a.nhdr", VOXELS, None, data_file=name))


@pytest.mark.parametrize(
    "fields",
    [
        {"kinds": "list domain domain"},
        {"type": "block"},
        {"sizes": "60000 60000 60000"},
        {"sizes": "5 6"},
        {"sizes": "5 6 -4"},
        {"encoding": "hex"},
        {"endian": None},
        {"space": "scanner-xyz", "space_directions": "(1,0,0) (0,1,0) (0,0,1)"},
        {"space": "LPS", "space_directions": "(1,0,0) (1,0,0) (0,0,1)"},
        {"space": "LPS", "space_directions": "(1,0,0) (0,1,0)"},
        {"byte_skip": "-2"},
        {"spacings": "x"},
    ],
    ids=str,
)
def test_nrrd_files_that_cannot_be_meant_are_refused(tmp_path, fields):
    with pytest.raises(UnreadableImageError):
        read_image(nrrd(tmp_path / "a.nrrd", VOXELS, **fields))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_nrrd_header_raises_anything_else(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("nrrd") / "a.nrrd"
    path.write_bytes(b"NRRD0004\n" + text)
    with pytest.raises(UnreadableImageError):
        read_image(path)
