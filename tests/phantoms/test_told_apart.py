"""Whoever reports on images can tell that they are phantoms."""

from __future__ import annotations

from pathlib import Path

import pytest

from radimagenet_monai.catalog.phantom_notice import is_phantom
from radimagenet_monai.phantoms import PHANTOMS, write_phantom

pytestmark = pytest.mark.slow


QUICK = ("busi", "rsna_pneumonia")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
        for name in PHANTOMS
        if name not in ("radimagenet", "mrnet", "mr_nifti")
    ],
)
def test_every_phantom_says_so(name: str, tmp_path: Path) -> None:
    root = write_phantom(name, tmp_path, patients=6, seed=0, workers=1)
    assert is_phantom(root)
    assert all(is_phantom(folder) for folder in Path(root).iterdir() if folder.is_dir())


def test_other_folders_do_not(tmp_path: Path) -> None:
    assert not is_phantom(tmp_path / "absent")
    (tmp_path / "README.txt").write_text("These images are of patients.")
    assert not is_phantom(tmp_path)
