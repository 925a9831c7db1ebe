"""Reading, intensities and tables of predictions need neither torch nor MONAI."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from radimagenet_monai import intensity
from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io import read_image
from radimagenet_monai.io.native_image import NativeImage

CODE = """
import sys
import numpy as np
import radimagenet_monai.statistics.predictions
import radimagenet_monai.statistics.classification
from radimagenet_monai.intensity import AutoIntensity
from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io import read_image
from radimagenet_monai.io.native_image import NativeImage
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


def test_each_image_of_a_record_needs_its_frame() -> None:
    """A white level, read for the first image, must not pass for the frame of the second."""
    single, several = (NativeImage("a", "array", np.full((n, 4, 4), 1000, np.uint16), ()) for n in (1, 3))
    policy = intensity.AutoIntensityd(["a", "b"], expected="radiograph")
    out = policy({"a": single, "b": single, "white_level": "4000"})
    assert [float(out[key][0, 1, 1]) for key in "ab"] == [0.25, 0.25]
    with pytest.raises(UnreadableImageError, match="3 frames"):
        policy({"a": single, "b": several, "white_level": "4000"})
