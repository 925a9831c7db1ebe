"""Reading, intensities and tables of predictions need neither torch nor MONAI."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from radimagenet_monai import intensity
from radimagenet_monai.io import read_image

CODE = """
import sys
import numpy as np
import radimagenet_monai.statistics.predictions
import radimagenet_monai.statistics.classification
from radimagenet_monai.intensity import AutoIntensity
from radimagenet_monai.io import read_image
shown = AutoIntensity(ct_region="lung").convert(read_image(sys.argv[1]))
assert shown.pixels.shape == (1, 128, 128) and 0 <= shown.pixels.min() < shown.pixels.max() <= 1
assert not {"torch", "monai", "itk"} & set(sys.modules), sorted({"torch", "monai", "itk"} & set(sys.modules))
"""


def test_a_process_imports_neither() -> None:
    subprocess.run([sys.executable, "-c", CODE, str(get_testdata_file("CT_small.dcm"))], check=True)


@pytest.mark.parametrize(
    ("name", "transform", "options", "file"),
    [
        ("CTWindow", "CTWindowd", {"windows": ["lung"]}, "CT_small.dcm"),
        ("MRPercentile", "MRPercentiled", {"lower": 2.0}, "MR_small.dcm"),
        ("UltrasoundLuminance", "UltrasoundLuminanced", {"crop": None}, "examples_palette.dcm"),
        ("RadiographVOI", "RadiographVOId", {"allow_modality_mismatch": True}, "MR_small.dcm"),
        ("AutoIntensity", "AutoIntensityd", {"ct_region": "abdomen"}, "CT_small.dcm"),
    ],
)
def test_a_transform_gives_its_policy_s_image(name: str, transform: str, options: dict, file: str) -> None:
    image = read_image(str(get_testdata_file(file)))
    shown = getattr(intensity, name)(**options).convert(image)
    item = getattr(intensity, transform)("image", **options)({"image": image})["image"]
    np.testing.assert_array_equal(item.numpy(), shown.pixels)
    assert item.meta["intensity"] == shown.description
    assert item.meta["questions"] == "\n".join(shown.questions)


def test_several_keys_of_one_record_get_its_white_level() -> None:
    """The frame of the record is not mistaken for its white level after the first key."""
    dark, bright = (np.full((1, 4, 4), value, np.uint16) for value in (1000, 2000))
    dark[0, 0, 0] = bright[0, 0, 0] = 3000
    policy = intensity.AutoIntensityd(["a", "b"], expected="radiograph")
    out = policy({"a": dark, "b": bright, "white_level": "4000"})
    assert [float(out[key][0, 1, 1]) for key in "ab"] == [0.25, 0.5]
