"""A thousand damaged files: each is read whole or refused; none crashes, hangs or, cut, gives half an image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mutants
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom_files import pydicom_files

import radimagenet_monai

pytestmark = pytest.mark.slow

# One of each kind of DICOM: transfer syntaxes, color spaces, sizes of sample, enhanced, palette, overlays, no meta.
PYDICOM = [
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "image_dfl.dcm",
    "no_meta.dcm",
    "rtdose_rle.dcm",
    "rtdose_expb.dcm",
    "reportsi.dcm",
    "DICOMDIR",
]
PYDICOM_DATA = [
    "JPEG-LL.dcm",
    "OBXXXX1A_rle_2frame.dcm",
    "OT-PAL-8-face.dcm",
    "SC_rgb_32bit.dcm",
    "bad_sequence.dcm",
    "color-pl.dcm",
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "mlut_18.dcm",
]
# Mutants of a file are drawn by their number.
QUICK = range(5)
MORE = pytest.param(range(5, 20), marks=pytest.mark.long)


def dicom_sources():
    files = pydicom_files()
    names = [name for name in files if name.rpartition("/")[2] in (*PYDICOM, *PYDICOM_DATA) and "TINY" not in name]
    return [files[name] for name in names]


@pytest.fixture(scope="module")
def other_sources(tmp_path_factory):
    """The other formats, small."""
    folder = tmp_path_factory.mktemp("formats")
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (20, 24, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 2, 1])), folder / "a.nii")
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 2, 1])), folder / "b.nii.gz")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 20 24 6\nencoding: raw\nendian: little\n\n"
    (folder / "c.nrrd").write_bytes(header.encode() + voxels.tobytes())
    np.save(folder / "d.npy", voxels)
    grey = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    color = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name, pixels, options in (
        ("e.png", grey, {}),
        ("f.png", color, {}),
        ("g.png", grey.astype(np.uint16) * 257, {}),
        ("h.jpg", color, {}),
        ("i.jpg", grey, {"progressive": True}),
        ("j.tif", grey, {"compression": "tiff_lzw"}),
        ("k.tif", grey.astype(np.uint16) * 257, {}),
        ("l.bmp", color, {}),
    ):
        Image.fromarray(pixels).save(folder / name, **options)
    return sorted(folder.iterdir())


def outcomes(sources, numbers):
    """Read every mutant in a process of its own kind, and start another where one dies."""
    jobs = [[str(source), number] for source in sources for number in numbers]
    root = str(Path(radimagenet_monai.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    answers = []
    while len(answers) < len(jobs):
        worker = subprocess.run(
            [sys.executable, mutants.__file__],
            input="".join(json.dumps(job) + "\n" for job in jobs[len(answers) :]),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        lines = [json.loads(line) for line in worker.stdout.splitlines()]
        answers += [line for line in lines if line[0] != "started"]
        if worker.returncode:
            assert lines, worker.stderr
            answers.append([f"died with {worker.returncode}: {worker.stderr[-300:]}", *lines[-1][1:], 0.0])
    return answers


def check(answers):
    bad = [answer for answer in answers if answer[0] not in ("ok", "refused") or answer[3] > mutants.SECONDS]
    assert bad == []
    counts = Counter(answer[0] for answer in answers)
    # Both happen often; otherwise the damage would be too little or too much to test anything.
    assert min(counts["ok"], counts["refused"]) > len(answers) // 10


@pytest.mark.parametrize("numbers", [QUICK, MORE], ids=["quick", "more"])
def test_damaged_dicom_is_read_or_refused(numbers):
    sources = dicom_sources()
    assert len(sources) >= 50
    check(outcomes(sources, numbers))


@pytest.mark.parametrize("numbers", [QUICK, MORE], ids=["quick", "more"])
def test_other_damaged_files_are_read_or_refused(other_sources, numbers):
    check(outcomes(other_sources, numbers))
