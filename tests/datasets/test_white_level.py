"""White of 16-bit pictures and arrays: one level for a data set, from the table to the network."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.datasets.records.table import load_datalist
from radimagenet_monai.datasets.records.white_level import with_white_level
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.intensity import RadiographVOId
from radimagenet_monai.intensity.checks.plausibility import GUESSED_WHITE
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading.native_dataset import list_native_images, white_level_of
from radimagenet_monai.store.packed_row import Packer, Row
from radimagenet_monai.store.packing import PRETRAINING, task_preparation


def picture(path, largest: int, dtype=np.uint16) -> None:
    pixels = np.full((48, 48), 3000 if dtype == np.uint16 else 100, dtype)
    pixels[:4, :4] = largest
    pixels[20:40, 20:40] = np.arange(20)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(("largest", "white"), [((4000, 3500), 4095), ((4000, 60000), 65535)])
def test_one_stored_value_is_one_gray_in_a_data_set_and_in_its_model(tmp_path, largest, white) -> None:
    for number in range(8):
        picture(tmp_path / "data" / "ab"[number % 2] / f"{number}.png", largest[number // 4])
    table, facts = prepare("folder", tmp_path / "data", tmp_path / "out", modality="radiograph", progress=False)
    assert facts["white_level"] == {"uint16": white}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["white_level"] == {"uint16": white}
    items = load_datalist(table, tmp_path / "data", None)
    policy = RadiographVOId("image")

    def canonical(item):
        return policy(LoadNativeImaged("image")(item))["image"]

    for item in items:
        image = canonical(item)
        assert image[0, 10, 10] == pytest.approx(3000 / white, abs=1e-6)
        assert GUESSED_WHITE not in image.meta["questions"]
    packer = Packer(task_preparation(get_task(PRETRAINING))[0], "image", (48, 48), False)
    row = packer({key: items[0][key] for key in ("image", "frame", "white_level")}, None)
    assert isinstance(row, Row)
    assert row.pixels[10, 10, 0] == round(255 * 3000 / white)

    learnt = white_level_of(items)  # kept with the model
    seen = list_native_images(tmp_path / "data" / "a", white=learnt)
    assert all(canonical(item)[0, 10, 10] == pytest.approx(3000 / white, abs=1e-6) for item in seen)
    alone = canonical(list_native_images(tmp_path / "data" / "a")[0])
    assert GUESSED_WHITE in alone.meta["questions"]


def test_a_value_above_the_white_of_the_data_set_is_refused(tmp_path) -> None:
    picture(tmp_path / "a.png", 60000)
    with pytest.raises(IntensityError, match="0 to 4095 were expected, which is the white level"):
        RadiographVOId("image")(LoadNativeImaged("image")({"image": tmp_path / "a.png", "white_level": "4095"}))


def test_data_that_need_none_get_none(tmp_path) -> None:
    picture(tmp_path / "a.png", 200, np.uint8)
    np.save(tmp_path / "ct.npy", np.arange(4000, dtype=np.int16).reshape(1, 40, 100) - 1000)
    np.save(tmp_path / "us.npy", np.arange(4000, dtype=np.float32).reshape(1, 40, 100))
    frame = pd.DataFrame({"image": ["a.png", "ct.npy", "us.npy"], "modality": ["US", "CT", "US"]})
    decided, levels = with_white_level(frame, tmp_path)
    assert levels == {"float32": 4095}
    assert decided["white_level"].tolist() == ["", "", "4095"]
    without, levels = with_white_level(frame.iloc[:2], tmp_path)
    assert levels == {}
    assert "white_level" not in without
