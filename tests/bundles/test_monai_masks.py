"""A segmentation bundle whose images and masks MONAI's own transforms load and scale, by a second config file alone."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brightness import Brightness
from bundle_runs import TINY, copy_bundle
from monai.bundle import ConfigParser, create_workflow
from PIL import Image
from shallow_densenet import shallow_densenet

from radimagenet_monai.core.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.datasets.masks.channel import AppendMaskd
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.loading import packed_dataset
from radimagenet_monai.statistics.overlap.segmentation import measure_overlap

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_segmentation"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend" / "monai_parts.md"
ROWS, COLUMNS, SIZE = 90, 120, 64
OPTIONS = {**TINY, "image_size": SIZE, "max_epochs": 2, "batch_size": 4}
BOTH = ["image", "mask"]
PLAIN: list[Any] = [
    {"_target_": "LoadImaged", "keys": BOTH},  # columns first, as it reads by default
    {"_target_": "EnsureChannelFirstd", "keys": BOTH},
    {"_target_": "ScaleIntensityd", "keys": BOTH},
]
UPRIGHT: list[Any] = [{**PLAIN[0], "reader": "PILReader", "reverse_indexing": False}, *PLAIN[1:]]
RESIZED = {"_target_": "Resized", "keys": BOTH, "spatial_size": [48, 48]}
MIRRORED = {"_target_": "Flipd", "keys": BOTH, "spatial_axis": 0}
APPEND = {"_target_": "radimagenet_monai.loading.AppendMaskd", "keys": "image"}


def replaced(steps: list[Any]) -> dict[str, Any]:
    return {"preprocessing": {"_target_": "Compose", "transforms": [*steps, APPEND]}}


def draw(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Speckle with two bright bars of different form at the upper left; and the mask of each."""
    rng = np.random.default_rng(seed)
    image = rng.normal(70, 12, (ROWS, COLUMNS))
    masks = []
    for top, left, height, width in ((8, 10, 16, 40), (40, 14, 30, 12)):
        mask = np.zeros((ROWS, COLUMNS), bool)
        down, right = rng.integers(0, 8, 2)
        mask[top + down : top + down + height, left + right : left + right + width] = True
        image[mask] += 120
        masks.append(mask)
    return np.clip(image, 0, 255).astype(np.uint8), masks


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, each with two masks of one bar, and their table."""
    folder = tmp_path_factory.mktemp("bars")
    rows = ["image,label,patient_id,split,mask"]
    for number, split in enumerate(["train"] * 8 + ["validation"] * 4 + ["test"] * 3):
        image, masks = draw(number)
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        for place, mask in enumerate(masks):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{number}_{place}.png")
        rows.append(f"images/{number}.png,benign,p{number},{split},{number}_0.png;{number}_1.png")
    (folder / "records.csv").write_text("\n".join(rows) + "\n")
    return folder / "records.csv"


def run(bundle: Path, config: str, override: dict[str, Any] | None = None, **options: Any) -> Any:
    """Run a config with a second config file, as a user does."""
    files = [str(bundle / "configs" / f"{config}.json")]
    if override is not None:
        (bundle.parent / "mine.json").write_text(json.dumps(override))
        files.append(str(bundle.parent / "mine.json"))
    workflow_type = "train" if config == "train" else "inference"
    with shallow_densenet():
        workflow = create_workflow(
            config_file=files, workflow_type=workflow_type, bundle_root=str(bundle), **{"num_workers": 0, **options}
        )
        workflow.run()
        workflow.finalize()
    return workflow


def listed(table: Path) -> dict[str, Any]:
    return {"dataset_dir": str(table.parent), "datalist": str(table)}


def masks_found(folder: Path) -> dict[int, np.ndarray]:
    """Mask of each image of a run, by its number, with PIL."""
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["problem"] for row in rows] == [""] * len(rows)
    return {int(Path(row["file"]).stem): np.asarray(Image.open(folder / row["mask"])) > 0 for row in rows}


def check_masks(folder: Path) -> None:
    found = masks_found(folder)
    assert found
    for number, mask in found.items():
        reference = np.logical_or(*draw(number)[1])
        assert mask.shape == (ROWS, COLUMNS)
        dice = measure_overlap(mask, reference).dice
        assert dice is not None
        assert dice > 0.85
        for wrong in (mask[::-1], mask[:, ::-1], mask[::-1, ::-1]):
            assert (measure_overlap(wrong, reference).dice or 0) < 0.5


def check_overlay(folder: Path) -> None:
    """The picture under the outlines is that of the file."""
    (path, *_) = folder.rglob("12.png")
    shown = Image.open(path).convert("L")
    assert abs(shown.width / shown.height - COLUMNS / ROWS) < 0.02
    pixels = np.asarray(shown.resize((COLUMNS, ROWS)))
    assert np.corrcoef(pixels.ravel(), draw(12)[0].ravel())[0, 1] > 0.8


def check_client(bundle: Path, image: Path) -> None:
    """A client that hands a path to the sections of ``inference.json`` gets a mask in the grid (x, y) of the image."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["bundle_root"] = str(bundle)
    item = parser.get_parsed_content("preprocessing")({"image": str(image)})
    item["pred"] = Brightness()(item["image"][None])[0]
    mask = np.asarray(parser.get_parsed_content("postprocessing")(item)["pred"])[0, :, :, 0].T
    dice = measure_overlap(mask > 0, np.logical_or(*draw(int(image.stem))[1])).dice
    assert dice is not None
    assert dice > 0.85


@pytest.mark.parametrize("steps", [PLAIN, [*UPRIGHT, RESIZED, MIRRORED]], ids=["columns first", "mirrored"])
def test_masks_come_back_to_the_file_whatever_monai_made_of_the_image(
    steps: list[Any], table: Path, tmp_path: Path
) -> None:
    """With a network that outlines what is bright: nothing depends on what was learnt."""
    bundle = copy_bundle(NAME, tmp_path)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    parser.update(replaced(steps))
    facts = {
        "architecture": "densenet121",
        "image_size": SIZE,
        "classes": ["background", "lesion"],
        "preprocessing": parser.get_parsed_content("settings")["preprocessing"],
        "intensity": None,
    }
    save_model(bundle / "models" / "model.pt", Brightness(), facts)
    network = {"network_def": {"_target_": "brightness.Brightness"}}
    run(bundle, "inference", network, dataset_dir=str(table.parent / "images"))
    check_masks(bundle / "output" / "inference")
    run(bundle, "evaluate", network, **listed(table))
    check_masks(bundle / "output" / "evaluation")
    check_overlay(bundle / "output" / "evaluation" / "overlays")
    metrics = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())["metrics"]
    assert metrics["dice"]["mean"] > 0.85
    check_client(bundle, table.parent / "images" / "5.png")
    # The whole preprocessing of training may be given again.
    run(bundle, "inference", {**network, **replaced(steps)}, dataset_dir=str(table.parent / "images"))
    check_masks(bundle / "output" / "inference")


def test_the_store_holds_image_and_mask_as_monai_reads_them(table: Path, tmp_path: Path) -> None:
    """Against PIL and NumPy, at the size of the file."""
    parser = ConfigParser(replaced(PLAIN))
    image, mask = table.parent / "images" / "3.png", [str(table.parent / f"3_{place}.png") for place in (0, 1)]
    dataset = packed_dataset(
        [{"image": str(image), "mask": mask}],
        parser.get_parsed_content("preprocessing"),
        tmp_path,
        (COLUMNS, ROWS),
        transform_keys=["mask"],
        path_keys=["mask"],
        with_mask=True,
        num_workers=1,
    )
    both = dataset[0]["image"].numpy()
    pixels, drawn = np.asarray(Image.open(image)).astype(float).T, np.logical_or(*draw(3)[1]).T
    scaled = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255
    assert np.abs(both[0] - scaled).max() < 0.51
    np.testing.assert_array_equal(both[1], drawn * 255)


@pytest.mark.parametrize(
    ("steps", "match"),
    [
        (
            [*PLAIN, {**MIRRORED, "keys": "image"}],
            r"90 \(Flip\) and a mask of 120 x 90 \(not moved\); give transforms that move",
        ),
        ([*PLAIN, {**RESIZED, "keys": "image"}], r"image of 48 x 48 \(Resize\) and a mask of 120 x 90"),
        ([{**step, "keys": "image"} for step in PLAIN], r"comes before it the keys of both, \['image', 'mask'\]"),
    ],
)
def test_a_mask_treated_unlike_its_image_is_refused(steps: list[Any], match: str, table: Path) -> None:
    transform = ConfigParser(replaced(steps)).get_parsed_content("preprocessing")
    folder = table.parent
    with pytest.raises(RuntimeError) as raised:
        transform({"image": str(folder / "images" / "0.png"), "mask": [str(folder / "0_0.png")]})
    cause = raised.value.__cause__
    assert isinstance(cause, UnreadableImageError)
    assert re.search(match, str(cause))
    assert "\n" not in str(cause)


def test_a_mask_with_an_alpha_channel_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="covers the whole image, as an alpha channel does"):
        AppendMaskd("image")({"image": torch.zeros(1, 4, 5), "mask": torch.ones(4, 4, 5)})


def test_masks_that_monai_cannot_read_are_refused_before_any_image(tmp_path: Path) -> None:
    transform = ConfigParser(replaced(PLAIN)).get_parsed_content("preprocessing")
    for mask in ("12.xml#1", "m.png#values=2"):
        with pytest.raises(ConfigurationError, match=re.escape(f"do not understand '{mask}'; take 'mask' out of")):
            packed_dataset([{"image": "a.png", "mask": [mask]}], transform, tmp_path, 32, with_mask=True)


def test_cropped_images_get_no_mask(table: Path, tmp_path: Path) -> None:
    crop = {"_target_": "CenterSpatialCropd", "keys": BOTH, "roi_size": [80, 80]}
    bundle = copy_bundle(NAME, tmp_path)
    save_model(bundle / "models" / "model.pt", Brightness(), {"image_size": SIZE, "intensity": None})
    override = {"network_def": {"_target_": "brightness.Brightness"}, **replaced([*PLAIN, crop])}
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / "inference.json"])
    parser.update({"bundle_root": str(bundle), "dataset_dir": str(table.parent / "images"), **override})
    item = parser.get_parsed_content("dataset")[0]
    assert item["unreadable"].startswith("geometry: its transforms leave 80 x 80 pixels of a file of 90 x 120")


def test_one_warning_says_what_is_up_to_the_user(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(copy_bundle(NAME, tmp_path) / "configs" / "train.json")
    parser.update(replaced(PLAIN))
    parser.get_parsed_content("settings")
    (line,) = [record.message for record in caplog.records if "LoadNativeImaged" in record.message]
    for word in ("upright", "masks are as large as their images", "scan region", "spacing"):
        assert word in line


@pytest.mark.long
def test_a_whole_life_with_monai_reading_images_and_masks(table: Path, tmp_path: Path) -> None:
    page = PAGE.read_text()
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (override,) = [json.loads(block) for block in blocks if '"mask"]' in block]
    bundle = copy_bundle(NAME, tmp_path)
    run(bundle, "train", override, **listed(table), **OPTIONS)
    facts = json.loads((bundle / "models" / "model.json").read_text())
    assert facts["preprocessing"]["steps"] == ["LoadImaged", "EnsureChannelFirstd", "ScaleIntensityd"]
    assert facts["intensity"] is None
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["trained_model"]["preprocessing"]["steps"] == facts["preprocessing"]["steps"]
    run(bundle, "evaluate", **listed(table))
    assert json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())["metrics"]["images"] == 3
    run(bundle, "inference", dataset_dir=str(table.parent / "images"))
    assert {mask.shape for mask in masks_found(bundle / "output" / "inference").values()} == {(ROWS, COLUMNS)}
