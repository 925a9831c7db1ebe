"""A labelling client trains and queries a bundle as MONAI Label's tasks do, without its server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
from bundle_runs import TINY, copy_bundle, run_workflow

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.core.file_hash import file_digest

pytestmark = pytest.mark.slow

IMAGES = 12


def train_as_monai_label(bundle: Path, records: list[dict[str, str]], epochs: int = 1, share: float = 0.25) -> None:
    """`BundleTrainTask` of MONAI Label 0.8.5: raw handlers, a loader before them, and keys with #."""
    config = bundle / "configs" / "train.json"
    handlers = json.loads(config.read_text())["train"]["handlers"]
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(bundle / "models" / "model.pt"),
        "load_dict": {"model": "$@network"},
        "strict": False,
    }
    kept = round(len(records) * (1 - share))
    overrides: dict[str, Any] = {
        "bundle_root": str(bundle),
        "train#trainer#max_epochs": epochs,
        "train#dataset#data": records[:kept],
        "device": "cpu",
        "train#handlers": [loader, *handlers],
        "validate#dataset#data": records[kept:],
    }
    monai.bundle.run(
        run_id="run",
        init_id=None,
        final_id=None,
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(config),
        **overrides,
    )


def facts_of(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "models" / "model.json").read_text())


def pictures(busi: Path, kind: str, number: int) -> list[Path]:
    found = sorted(path for path in busi.rglob(f"{kind} (*).png") if "mask" not in path.name)
    return found[:number]


def label_runs(bundle: Path) -> list[Path]:
    return sorted((bundle / "output").glob("labels_*"))


def test_labels_continue_the_model_each_time_they_are_trained_on(trained: Path, busi: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(trained, tmp_path / "bundle"))
    records = []
    for kind in ("benign", "malignant"):  # in order, so that the client's last quarter has one class
        for image in pictures(busi, kind, IMAGES // 2):
            label = tmp_path / f"{image.stem}.json"
            label.write_text(json.dumps({"label": kind}))
            records.append({"image": str(image), "label": str(label)})
    before = facts_of(bundle)
    for run in (1, 2):
        train_as_monai_label(bundle, records)
        now = facts_of(bundle)
        assert now["sha256"] != before["sha256"]
        assert now["continued_from"] == before["sha256"]
        assert now["sha256"] == file_digest(bundle / "models" / "model.pt")
        assert {key: now[key] for key in ("architecture", "image_size", "classes", "weights")} == {
            key: before[key] for key in ("architecture", "image_size", "classes", "weights")
        }
        assert now["max_epochs"] == 1
        assert now["source"]["reader"] is None
        assert len(label_runs(bundle)) == run
        before = now
    record = json.loads((label_runs(bundle)[-1] / "run.json").read_text())
    assert record["status"] == "completed"
    assert record["weights"]["continued_from"] == now["continued_from"]
    assert record["images"] in (9, 10)  # divided again, as the last quarter held one class

    label.write_text('{"label": "normal"}')
    with pytest.raises(RuntimeError) as caught:
        train_as_monai_label(bundle, records)
    assert any(isinstance(error, RecordsError) and "'normal'" in str(error) for error in causes(caught.value))
    assert facts_of(bundle) == now


def causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.long
def test_masks_are_stored_and_train_a_segmenter(busi: Path, tmp_path: Path) -> None:
    bundle = copy_bundle("breast_mass_us_segmentation", tmp_path)
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=1, **TINY)
    before = facts_of(bundle)
    records = [
        {"image": str(image), "label": str(image.with_name(f"{image.stem}_mask.png"))}
        for image in pictures(busi, "benign", IMAGES)
    ]
    train_as_monai_label(bundle, records)
    now = facts_of(bundle)
    assert now["continued_from"] == before["sha256"] != now["sha256"]
    assert (now["architecture"], now["image_size"]) == (before["architecture"], before["image_size"])
    stored = np.concatenate([np.load(path) for path in label_runs(bundle)[0].rglob("images.npy")])
    assert len(stored) == IMAGES
    assert (stored[..., -1] > 0).any(axis=(1, 2)).all()
