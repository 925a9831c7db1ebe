"""Numbers of patients: in order of appearance, each unknown one by itself."""

from __future__ import annotations

import numpy as np
import pytest

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.patient_numbers import number_patients


def test_patients_are_numbered_as_they_appear() -> None:
    assert number_patients(["b", "a", "b", "c", "a"], 5).tolist() == [0, 1, 0, 2, 1]
    assert number_patients(np.array([7, 3, 7]), 3).tolist() == [0, 1, 0]


def test_unknown_patients_are_alone() -> None:
    assert number_patients(["a", "", None, "a", "", float("nan"), np.nan], 7).tolist() == [0, 1, 2, 0, 3, 4, 5]
    assert number_patients(None, 3).tolist() == [0, 1, 2]


def test_another_number_of_ids_is_refused() -> None:
    with pytest.raises(RadImageNetError, match="1 patient ids were given for 2 images"):
        number_patients(["a"], 2)
