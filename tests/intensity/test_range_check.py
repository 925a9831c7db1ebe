"""What is a canonical image and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity import CanonicalRangeCheckd

CHECK = CanonicalRangeCheckd("image")


@given(hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(width=32)))
def test_exactly_finite_values_from_0_to_1_pass(values: np.ndarray) -> None:
    canonical = bool(np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all())
    for image in (values, torch.from_numpy(values), MetaTensor(values)):
        if canonical:
            data = {"image": image}
            assert CHECK(data)["image"] is image
        else:
            with pytest.raises(IntensityError):
                CHECK({"image": image})


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(1, 4, 4, dtype=torch.float64), "float64"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), "uint8"),
        (torch.zeros(4, 4), r"shape \(4, 4\)"),
        (torch.zeros(2, 4, 4), r"shape \(2, 4, 4\)"),
        (torch.zeros(1, 0, 4), r"shape \(1, 0, 4\)"),
        (torch.zeros(1, 1, 4, 4), r"shape \(1, 1, 4, 4\)"),
        (torch.full((1, 4, 4), float("nan")), "16 values that are NaN"),
        (torch.tensor([[[0.5, float("inf")]]]), "1 values that are NaN or infinite"),
        (torch.tensor([[[-0.25, 0.5]]]), "values -0.25 to 0.5"),
        (torch.tensor([[[0.0, 255.0]]]), "values 0 to 255"),
        ("image.png", "a str"),
    ],
)
def test_error_says_what_was_found(image: object, words: str) -> None:
    with pytest.raises(IntensityError, match=words):
        CHECK({"image": image})


def test_error_names_the_file_and_frame() -> None:
    image = MetaTensor(torch.full((1, 2, 2), 2.0), meta={"filename_or_obj": "a/b.dcm", "frame": 7})
    with pytest.raises(IntensityError, match=r"^a/b\.dcm, frame 7: values 2 to 2 was given"):
        CHECK({"image": image})


def test_missing_key() -> None:
    with pytest.raises(KeyError):
        CHECK({})
    assert CanonicalRangeCheckd("image", allow_missing_keys=True)({}) == {}
