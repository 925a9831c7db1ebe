"""Holm's adjustment: against R's p.adjust, and by its definition."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.multiplicity import holm


def test_equals_p_adjust_of_r() -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core)")
    rng = np.random.default_rng(5)
    families = [np.round(rng.beta(0.5, 3, size), 3).tolist() for size in range(1, 40)]
    listed = ",".join(f"c({','.join(map(repr, family))})" for family in families)
    code = (
        f"for (p in list({listed})) "
        "cat('[', paste(format(p.adjust(p, 'holm'), digits=17), collapse=','), ']\\n', sep='')"
    )
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(families)
    for family, line in zip(families, lines, strict=True):
        np.testing.assert_allclose(holm(family), json.loads(line), rtol=1e-14)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20))
@settings(deadline=None)
def test_tests_not_made_stay_out_and_order_is_kept(p_values: list[float | None]) -> None:
    adjusted = holm(p_values)
    assert [value is None for value in adjusted] == [value is None for value in p_values]
    made = [value for value in p_values if value is not None]
    assert [value for value in adjusted if value is not None] == holm(made)
    pairs = sorted((p, q) for p, q in zip(p_values, adjusted, strict=True) if p is not None and q is not None)
    assert all(p <= q <= min(1, p * len(made)) for p, q in pairs)
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(RadImageNetError, match=r"p-value 1\.2 was given at position 1"):
        holm([0.1, 1.2])
    with pytest.raises(RadImageNetError, match="p-value nan"):
        holm([float("nan")])
