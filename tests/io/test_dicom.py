"""DICOM: what leaves the reader, what is refused and why, and that no header value leaves with it."""

from __future__ import annotations

import logging
import pickle
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless
from pydicom_files import pydicom_files
from written_series import dicom_slice, save

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom import codestream
from radimagenet_monai.io.dicom.files import DECIMAL_COMMA
from radimagenet_monai.io.failures import anonymous
from radimagenet_monai.io.reader import read_image

FILES = pydicom_files()
PIXELS = np.arange(-10, 10, dtype=np.int16).reshape(4, 5)
SECRETS = ("Doe", "Jane", "4711", "hospital", "secret")


def refused(path, match=None, stage=None):
    with pytest.raises(UnreadableImageError, match=match) as caught:
        read_image(path)
    assert stage in (None, caught.value.stage)
    message = str(caught.value).replace(str(path), "")
    assert not [secret for secret in SECRETS if secret in message]
    assert "\n" not in message
    return caught.value


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 60000, "Columns": 60000, "NumberOfFrames": 1000}, "at most 4 GiB"),
        ({"NumberOfFrames": 2}, "cut short: 40 of 80 bytes"),
        ({"NumberOfFrames": -1}, "NumberOfFrames is -1"),
        ({"Rows": 0}, "Rows is 0"),
        ({"Rows": 1}, "header describes 10"),
        ({"BitsStored": 17}, "BitsStored is 17"),
        ({"BitsAllocated": 8, "BitsStored": 8}, "HighBit is 15"),
        ({"HighBit": 11}, "HighBit is 11"),
        ({"BitsStored": 12, "HighBit": 15}, "only 11 is allowed"),
        ({"SamplesPerPixel": 2}, "cut short|Samples|planar|Planar"),
        ({"SamplesPerPixel": 3}, "cut short"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
        ({"PhotometricInterpretation": "secret"}, "decode"),
        ({"PhotometricInterpretation": ""}, "no PhotometricInterpretation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "a mask and not an image"),
        ({"FloatPixelData": b"\0" * 80}, "2 kinds of pixel data"),
    ],
    ids=str,
)
def test_headers_that_cannot_be_meant_are_refused(tmp_path, elements, said):
    refused(save(dicom_slice(PIXELS, **elements), tmp_path / "a.dcm"), said)


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsStored", "PixelRepresentation", "PixelData"])
def test_a_missing_element_is_named(tmp_path, keyword):
    dataset = dicom_slice(PIXELS)
    delattr(dataset, keyword)
    refused(save(dataset, tmp_path / "a.dcm"), "no pixel data" if keyword == "PixelData" else f"no {keyword}", "header")


@pytest.mark.parametrize("name", ["reportsi.dcm", "rtstruct.dcm", "waveform_ecg.dcm", "rtplan.dcm"])
def test_objects_without_an_image_say_what_they_are(name):
    assert "Storage" in refused(FILES[f"pydicom/{name}"], "it holds no pixel data", "header").cause


def test_a_transfer_syntax_without_a_decoder_is_named(tmp_path):
    dataset = dicom_slice(PIXELS.astype(np.uint8), BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = encapsulate([b"\0" * 20])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    refused(save(dataset, tmp_path / "a.dcm"), "MPEG2", "decode")


def test_the_header_of_a_patient_stays_in_the_file(tmp_path):
    dataset = dicom_slice(PIXELS, BodyPartExamined="CHEST", StudyDate="20200101", AccessionNumber="secret")
    item = Dataset()
    item.LUTDescriptor = [2, 0, 16]
    item.LUTData = b"\0\0\1\0"
    item.ModalityLUTType = "US"
    item.PatientName = "Doe^Jane"
    dataset.ModalityLUTSequence = Sequence([item])
    block = dataset.private_block(0x0011, "secret maker", create=True)
    block.add_new(1, "LO", "secret")
    image = read_image(save(dataset, tmp_path / "a.dcm"))
    text = f"{image!r} {image.headers[0]} {image.headers[0].to_json()}".replace(str(tmp_path), "")
    assert "CHEST" in text
    assert not [secret for secret in (*SECRETS, "20200101") if secret in text]
    assert not [secret for secret in SECRETS if secret.encode() in pickle.dumps(image.headers[0])]


@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleSlope", "PixelSpacing"])
def test_a_damaged_element_is_named_and_not_quoted(tmp_path, keyword):
    """A name where a number belongs: pydicom hands such text out as it stands."""
    path = save(
        dicom_slice(PIXELS, **{keyword: [11, 22] if keyword == "PixelSpacing" else 12345678}), tmp_path / "a.dcm"
    )
    tag = pydicom.datadict.tag_for_keyword(keyword)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + b"DS"
    data = bytearray(path.read_bytes())
    start = data.index(head) + 8
    length = int.from_bytes(data[start - 2 : start], "little")
    data[start : start + length] = b"Doe^Jane"[:length].ljust(length)
    path.write_bytes(data)
    refused(path, f"{keyword} is damaged", "header")


@pytest.mark.parametrize(
    ("keyword", "written", "read"),
    [("PixelSpacing", [11, 22], b"0,5\\1,25"), ("WindowCenter", 123456, b"2048,5"), ("RescaleSlope", 1234, b"1,5")],
)
def test_a_decimal_comma_is_a_decimal_point(tmp_path, keyword, written, read):
    path = save(dicom_slice(PIXELS, **{keyword: written}), tmp_path / "a.dcm")
    tag = pydicom.datadict.tag_for_keyword(keyword)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + b"DS"
    data = bytearray(path.read_bytes())
    start = data.index(head) + 6
    length = int.from_bytes(data[start : start + 2], "little")
    padded = read + b" " * (len(read) % 2)
    data[start : start + 2 + length] = len(padded).to_bytes(2, "little") + padded
    path.write_bytes(data)
    image = read_image(path)
    assert np.ravel(image.headers[0][keyword].value).tolist() == [
        float(word.replace(b",", b".")) for word in read.split(b"\\")
    ]
    assert image.notes == (DECIMAL_COMMA,)
    if keyword == "PixelSpacing":
        assert image.spacing == (0.5, 1.25)


def test_the_libraries_are_kept_from_quoting_the_header(tmp_path, caplog, capfd):
    path = save(dicom_slice(PIXELS), tmp_path / "a.dcm")
    # pydicom quotes what is no UID in a warning and in its log.
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"Jane secret hospital 4711 "))
    with pytest.warns(UserWarning, match="secret"):
        _ = pydicom.dcmread(path).SOPClassUID
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    level = logging.getLogger("pydicom").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(path)
    assert "SOPClassUID" not in image.headers[0]
    out, err = capfd.readouterr()
    told = out + err + caplog.text + " ".join(str(warning.message) for warning in caught)
    assert not [secret for secret in SECRETS if secret in told]
    assert logging.getLogger("pydicom").level == level


@given(st.text(min_size=1), st.sampled_from(["'{}'", '"{}"', "value '{}", "x: \"{}\" and '{}'"]))
def test_no_quoted_value_outlives_an_exception(value, form):
    secret = f"SECRET{value}SECRET".replace("'", "").replace('"', "")
    assert "SECRET" not in anonymous(ValueError(form.format(secret, secret)))


def functional_groups(*groups):
    items = []
    for group in groups:
        item = Dataset()
        for sequence, elements in group.items():
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(item, sequence, Sequence([inner]))
        items.append(item)
    return Sequence(items)


def enhanced(frames=3, groups=3):
    dataset = dicom_slice(PIXELS, NumberOfFrames=frames, RescaleSlope=7)
    dataset.PixelData = b"".join((PIXELS + n).astype("<i2").tobytes() for n in range(frames))
    dataset.SharedFunctionalGroupsSequence = functional_groups(
        {
            "PixelMeasuresSequence": {"PixelSpacing": [2, 3], "SliceThickness": 4},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]},
        }
    )
    dataset.PerFrameFunctionalGroupsSequence = functional_groups(
        *(
            {
                "PlanePositionSequence": {"ImagePositionPatient": [0, 0, -n]},
                "PixelValueTransformationSequence": {"RescaleSlope": n + 1, "RescaleIntercept": -n},
                "FrameVOILUTSequence": {"WindowCenter": 10 * n, "WindowWidth": 5},
                "FrameContentSequence": {"FrameComments": "secret"},
            }
            for n in range(groups)
        )
    )
    return dataset


def test_functional_groups_become_one_flat_header_a_frame(tmp_path):
    image = read_image(save(enhanced(), tmp_path / "a.dcm"))
    # The object's own order is kept, though the positions run the other way; each slice is turned.
    np.testing.assert_array_equal(image.pixels, [(PIXELS + n)[::-1] for n in range(3)])
    assert [header.RescaleSlope for header in image.headers] == [1, 2, 3]
    assert [header.WindowCenter for header in image.headers] == [0, 10, 20]
    assert image.spacing == (2.0, 3.0)
    assert not [header for header in image.headers if "secret" in str(header)]


def test_a_frame_without_its_description_is_refused(tmp_path):
    refused(save(enhanced(groups=2), tmp_path / "a.dcm"), "describes 2 of its 3 frames", "header")


def test_bits_above_the_stored_ones_are_dropped(tmp_path):
    """An overlay in the high bits, as old scanners wrote it."""
    values = np.array([[0x0123, 0xF123], [0x8FFF, 0x7000]], np.uint16)
    dataset = dicom_slice(values, BitsStored=12, HighBit=11, PixelRepresentation=0)
    dataset.PixelData = values.tobytes()
    expected = [[[0x123, 0x123], [0xFFF, 0]]]
    np.testing.assert_array_equal(read_image(save(dataset, tmp_path / "a.dcm")).pixels, expected)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_float_pixels(tmp_path, keyword, dtype):
    values = np.array([[0.5, -1.5, 2.25]], dtype)
    dataset = dicom_slice(np.zeros((1, 3), np.int16), BitsAllocated=values.itemsize * 8)
    for element in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, element)
    setattr(dataset, keyword, values.tobytes())
    np.testing.assert_array_equal(read_image(save(dataset, tmp_path / "a.dcm")).pixels, values[None])
    setattr(dataset, keyword, np.array([[np.nan, 0, 0]], dtype).tobytes())
    refused(save(dataset, tmp_path / "b.dcm"), "not finite", "decode")


def test_one_bit_pixels(tmp_path):
    bits = np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]], np.uint8)
    dataset = dicom_slice(bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0)
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes()
    np.testing.assert_array_equal(read_image(save(dataset, tmp_path / "a.dcm")).pixels, bits[None])


def test_a_deflated_file_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("radimagenet_monai.io.dicom.files.MAX_DECODED_BYTES", 1 << 20)
    data = FILES["pydicom/image_dfl.dcm"].read_bytes()
    meta = pydicom.filereader.read_file_meta_info(FILES["pydicom/image_dfl.dcm"])
    start = 144 + meta.FileMetaInformationGroupLength
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    (tmp_path / "a.dcm").write_bytes(data[:start] + deflater.compress(bytes(8 << 20)) + deflater.flush())
    refused(tmp_path / "a.dcm", "inflate beyond", "open")


def test_sequences_nested_without_end_are_refused(tmp_path):
    path = save(dicom_slice(PIXELS), tmp_path / "a.dcm")
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes()[:132] + item * 20_000)
    refused(path)


def encoded(name):
    dataset = pydicom.dcmread(FILES[name])
    data = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=dataset.get("NumberOfFrames", 1)))
    bits = dataset.BitsAllocated
    return data, codestream.Frame(dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, bits)


STREAMS = {
    "pydicom/SC_rgb_small_odd_jpeg.dcm": codestream.require_whole_jpeg,
    "pydicom/MR_small_jpeg_ls_lossless.dcm": codestream.require_whole_jpeg,
    "pydicom/MR_small_jp2klossless.dcm": codestream.require_whole_jpeg2000,
    "pydicom/693_J2KI.dcm": codestream.require_whole_jpeg2000,
    "pydicom/MR_small_RLE.dcm": codestream.require_whole_rle,
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_whole_stream_passes_and_one_of_another_size_does_not(name):
    data, frame = encoded(name)
    STREAMS[name](data, frame)
    if "RLE" not in name:
        other = codestream.Frame(frame.rows + 1, frame.columns, frame.samples, frame.bits_allocated)
        with pytest.raises(ValueError, match="the header says"):
            STREAMS[name](data, other)


@pytest.mark.parametrize("name", [name for name in STREAMS if "RLE" not in name])
@settings(deadline=None)
@given(part=st.floats(0, 0.98))
def test_a_stream_cut_anywhere_is_noticed(name, part):
    data, frame = encoded(name)
    with pytest.raises(ValueError, match=r"stream|frame"):
        STREAMS[name](data[: int(len(data) * part)], frame)


@settings(deadline=None)
@given(data=st.binary(max_size=200), check=st.sampled_from(sorted(set(STREAMS.values()), key=lambda f: f.__name__)))
def test_no_bytes_make_the_checks_fail_otherwise(data, check):
    for head in (b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51\x00\x29"):
        with pytest.raises((ValueError, IndexError)):
            check(head + data, codestream.Frame(3, 3, 1, 8))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, RLELossless])
def test_bytes_that_are_no_stream_never_reach_a_decoder(tmp_path, syntax):
    dataset = dicom_slice(PIXELS.astype(np.uint8), BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([b"no stream " * 20])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    refused(save(dataset, tmp_path / "a.dcm"), r"stream|segments", "decode")
