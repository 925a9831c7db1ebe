"""Every file of pydicom's collections: the committed outcome, and equality with pydicom's own LUT functions."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from pydicom_collections import (
    TABLE,
    all_files,
    attempts,
    canonical_row,
    decoded,
    read_or_refuse,
    true_canonical,
    turned_like,
)

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.intensity import AutoIntensityd
from radimagenet_monai.intensity.checks.modality import POLICY_OF_MODALITY

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

FILES = all_files()


with TABLE.open(newline="") as stream:
    COMMITTED = {(row["file"], row["policy"]): row for row in csv.DictReader(stream)}
# Their many frames take seconds.
LARGE = ("pydicom-data/color3d_jpeg_baseline.dcm", "pydicom-data/emri_small_big_endian.dcm")
CANONICAL = [
    pytest.param(name, marks=pytest.mark.long if name in LARGE else ())
    for name in sorted({row["file"] for row in COMMITTED.values() if row["outcome"] == "canonical"})
]


def test_table_lists_exactly_the_files_that_exist() -> None:
    assert set(COMMITTED) == {(name, policy) for name, path in FILES.items() for policy, _ in attempts(path)}
    assert len(CANONICAL) > 130


LARGE = ("pydicom-data/color3d_jpeg_baseline.dcm",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LARGE else ()) for name in FILES]
)
def test_outcome_is_the_committed_one(name: str) -> None:
    for policy, transform in attempts(FILES[name]):
        assert canonical_row(name, policy, transform, FILES[name]) == COMMITTED[name, policy]


@pytest.mark.parametrize("name", CANONICAL)
def test_canonical_image_equals_the_reference(name: str) -> None:
    path = FILES[name]
    image = read_or_refuse(path)
    assert not isinstance(image, RadImageNetError)
    compared = 0
    for _, transform in attempts(path):
        policy = transform.expected or POLICY_OF_MODALITY.get(image.modality or "")
        if policy is None:
            continue
        allowed = transform.allow_modality_mismatch
        whole = AutoIntensityd("image", transform.expected, allowed, ct={"windows": ["abdomen"]}, us={"crop": None})
        for frame in sorted({0, len(image) // 2, len(image) - 1}):
            shown = whole({"image": image, "frame": frame})["image"].numpy()[0]
            oracle = turned_like(decoded(path)[0][frame], image.pixels[frame], true_canonical(path, policy, frame))
            assert shown.shape == oracle.shape
            assert np.abs(shown - oracle).max() <= 1e-6
            compared += 1
    assert compared
