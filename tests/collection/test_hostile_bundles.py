"""Hostile bundles: `verify` finds each dangerous, and what it says ok to leaves a marker untouched when it is run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import forks
import numpy as np
import pytest
from hostile_bundles import ARCHIVES, FOLDERS, HARMLESS, SMALL
from released_bundle import ARCHIVE, NAME

from radimagenet_monai.collection.verification.config_code import config_findings
from radimagenet_monai.collection.verification.findings import Grade
from radimagenet_monai.collection.verification.verify import inspect_bundle

pytestmark = pytest.mark.slow

RUN = """
import contextlib, json, os, sys
from pathlib import Path
from monai.bundle import ConfigParser
images, pairs = json.loads(sys.argv[1])
ran = {}
for folder, marker in pairs:
    os.chdir(folder)
    sys.path.insert(0, folder)
    parser = ConfigParser()
    with contextlib.suppress(Exception):
        parser.read_config(["configs/inference.json"])
        parser.read_meta("configs/metadata.json")
        parser["dataset_dir"] = images
        parser["num_workers"] = 0
    for identifier in [*parser.get(), "planted", "run"]:
        with contextlib.suppress(BaseException):
            parser.get_parsed_content(identifier)
    with contextlib.suppress(BaseException):
        parser.get_parsed_content("evaluator").run()
    sys.path.remove(folder)
    ran[Path(folder).parent.name] = [Path(marker).exists(), Path("output/inference/predictions.csv").exists()]
print(json.dumps(ran), file=sys.stderr)
"""
"""What `monai.bundle run` does with a config, for every item and past every error; then the images are inferred."""


def run_all(bundles: list[tuple[Path, Path]], images: Path) -> dict[str, list[bool]]:
    """Whether each bundle left its marker, and whether it predicted, when all was run in a process of its own."""
    images.mkdir()
    cv2.imwrite(str(images / "a.png"), np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
    arguments = json.dumps([str(images), [(str(folder), str(marker)) for folder, marker in bundles]])
    done = forks.run([sys.executable, "-c", RUN, arguments])
    return json.loads(done.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_hostile_folder_is_dangerous(kind: str, bundle: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker.pt"
    FOLDERS[kind](bundle, marker)
    found = inspect_bundle(bundle)
    assert found.grade is Grade.DANGEROUS, found.summary()
    assert not marker.exists(), "looking at the bundle ran it"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_hostile_archive_is_dangerous(kind: str, release: Path, tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(ARCHIVES[kind]((release / ARCHIVE).read_bytes()))
    found = inspect_bundle(tmp_path / ARCHIVE)
    assert found.grade is Grade.DANGEROUS, found.summary()
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def planted(kinds: Iterable[str], bundle: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Copies of a bundle with what each kind plants, and where its marker would be."""
    made = []
    for kind in kinds:
        copy = Path(shutil.copytree(bundle, folder / kind / NAME))
        marker = folder / f"{kind}.pt".replace(" ", "_")
        SMALL(copy, marker)
        {**HARMLESS, **FOLDERS}[kind](copy, marker)
        made.append((copy, marker))
    return made


def test_what_is_ok_leaves_the_marker_untouched(bundle: Path, tmp_path: Path) -> None:
    made = planted(HARMLESS, bundle, tmp_path / "bundles")
    assert {folder.parent.name: inspect_bundle(folder).problems for folder, _ in made} == {
        kind: [] for kind in HARMLESS
    }
    ran = run_all(made, tmp_path / "images")
    assert {kind for kind, (is_marked, _) in ran.items() if is_marked} == set()
    assert {kind for kind, (_, has_predicted) in ran.items() if not has_predicted} <= {"command as a class"}


@pytest.mark.long  # a compiler is started
def test_the_payload_in_compile_kwargs_is_real(bundle: Path, tmp_path: Path) -> None:
    """MONAI runs what `verify` refuses, so the marker would show it elsewhere, too."""
    kinds = ["compile_kwargs of the evaluator", "reader by name", "component", "log folder of TensorBoard"]
    ran = run_all(planted(kinds, bundle, tmp_path / "bundles"), tmp_path / "images")
    assert {kind: is_marked for kind, (is_marked, _) in ran.items()} == dict.fromkeys(kinds, True)


FOREIGN = {
    "imports": ["$import glob", "$import os", "$import torch.distributed as dist", "$import logging"],
    "bundle_root": ".",
    "dataset_dir": "/workspace/data/organ",
    "ckpt_dir": "$@bundle_root + '/models'",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "images": "$list(sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz')))",
    "items": "$[{'image': i, 'label': l} for i, l in zip(@images[:-9], @images[:-9])]",
    "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "norm": "batch"},
    "network": "$@network_def.to(@device)",
    "transforms": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": ["image", "label"]},
            {"_target_": "Lambdad", "keys": "label", "func": "$lambda x: x > 0"},
        ],
    },
    "dataset": {"_target_": "CacheDataset", "data": "@items", "transform": "@transforms", "cache_rate": 1.0},
    "loader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 2, "num_workers": 4},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "sw_batch_size": 4},
    "post": {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$os.path.join(@bundle_root, 'eval')"},
    "loss": {"_target_": "scripts.loss.OrganLoss", "weight": 2},
    "handlers": [
        {"_target_": "StatsHandler", "output_transform": "$monai.handlers.from_engine(['loss'], first=True)"},
        {"_target_": "CheckpointSaver", "save_dir": "@ckpt_dir", "save_dict": {"model": "@network"}},
    ],
    "evaluator": {"_target_": "SupervisedEvaluator", "val_data_loader": "@loader", "network": "@network"},
    "initialize": [
        "$dist.is_initialized() or dist.init_process_group(backend='nccl')",
        "$torch.cuda.set_device(@device)",
        "$monai.utils.set_determinism(seed=123)",
        "$setattr(torch.backends.cudnn, 'benchmark', True)",
        "$@evaluator.logger.setLevel(logging.WARNING if dist.get_rank() > 0 else logging.INFO)",
    ],
    "dataset::cache_rate": 0.5,
    "run": ["$@evaluator.run()"],
}
"""A config of the form that others write."""


def test_what_others_write_is_unknown_and_not_dangerous() -> None:
    found = config_findings({"train.json": json.dumps(FOREIGN).encode()})["train.json"]
    assert {finding.subject for finding in found if finding.grade is Grade.UNKNOWN} == {
        "Lambdad",
        "scripts.loss.OrganLoss",
    }
    assert [finding.sentence for finding in found if finding.grade is Grade.STYLE] == [
        "dataset_dir: '/workspace/data/organ' is a path that leaves the bundle; give your own"
    ]
    assert not any(finding.grade is Grade.DANGEROUS for finding in found)
