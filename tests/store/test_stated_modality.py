"""A column ``modality`` that contradicts the task is refused by its row, before any image is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.transforms import Compose
from PIL import Image

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.datasets.records.table import load_datalist
from radimagenet_monai.intensity import AutoIntensityd, CTWindowd
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading import NativeDataset, PackedDataset
from radimagenet_monai.store import PackedStore
from radimagenet_monai.store.packing import pack_records


def table(folder: Path, modalities: list[str]) -> list[dict]:
    """Records of images of which only the first can be read, so that any that is read too early is noticed."""
    for number in range(len(modalities)):
        (folder / f"{number}.png").write_bytes(b"\x89PNG")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(folder / "0.png")
    rows = {"image": [f"{number}.png" for number in range(len(modalities))], "label": "a", "modality": modalities}
    pd.DataFrame(rows).to_csv(folder / "records.csv", index=False)
    return load_datalist(None, folder, ["a"])


WINDOW = [LoadNativeImaged("image"), CTWindowd("image", windows="lung")]
WORDS = r"records table, row 4 \('.*2\.png'\): the column 'modality' says MR, the first of 2 such rows; CT was expected"


@pytest.mark.parametrize("transform", [WINDOW, Compose(WINDOW), [AutoIntensityd("image", expected="CT")]])
def test_a_dataset_is_refused_by_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transform: list) -> None:
    items = table(tmp_path, ["CT", "", "MR", "MR"])
    monkeypatch.setattr(PackedStore, "add", lambda *_, **__: pytest.fail("images are read"))
    with pytest.raises(IntensityError, match=WORDS):
        PackedDataset(items, transform, tmp_path / "store", 16)
    with pytest.raises(IntensityError, match=WORDS):
        NativeDataset(items, transform, (1, 16, 16))
    # Of a part of the table, the row is still that of the table.
    with pytest.raises(IntensityError, match="row 5 "):
        NativeDataset(items[3:], transform, (1, 16, 16))
    assert not (tmp_path / "store").exists()


def test_a_mismatch_that_is_allowed_and_other_policies_pass(tmp_path: Path) -> None:
    items = table(tmp_path, ["CT", "", "MR", "MR"])
    NativeDataset(items, [CTWindowd("image", windows="lung", allow_modality_mismatch=True)], (1, 16, 16))
    NativeDataset(items, [AutoIntensityd("image")], (1, 16, 16))
    NativeDataset(items, lambda item: item, (1, 16, 16))
    with pytest.raises(IntensityError, match=r"row 3 .*says PT; one of CT, MR, US, radiograph was expected"):
        NativeDataset([items[0], {**items[1], "modality": "PT"}], [AutoIntensityd("image")], (1, 16, 16))


def test_pack_refuses_the_row(tmp_path: Path) -> None:
    table(tmp_path, ["CT", "", "MR", "MR"])
    with pytest.raises(IntensityError, match=r"row 4 \('2\.png'\)"):
        pack_records(tmp_path, tmp_path / "store", 16, task="sarscov2_ct_classification")
    assert not (tmp_path / "store").exists()
