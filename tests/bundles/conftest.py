"""Phantom datasets and trained bundles for all bundle tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_workflow
from shallow_densenet import shallow_densenet

from radimagenet_monai.catalog.tasks import Kind, get_task
from radimagenet_monai.datasets import read_records, write_records
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms import write_phantom

# Phantoms large enough for every class in every split, small enough for seconds.
PHANTOM_OPTIONS: dict[str, dict[str, Any]] = {
    "busi": {"patients": 90, "seed": 3, "size": (72, 96)},
    "ddti": {"patients": 30, "seed": 3, "size": (72, 96)},
    "mrnet": {"patients": 24, "seed": 3, "size": 64},
    "rsna_pneumonia": {"patients": 30, "seed": 3, "size": 64},
    "rsna_ich": {"patients": 12, "seed": 3, "size": 64},
    "cc_ccii": {"patients": 24, "seed": 3, "size": 64},
    "covid19_ct": {"patients": 24, "seed": 3, "size": 64},
    "radimagenet": {"patients": 165 * 3, "seed": 3, "size": 64},
}


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a dataset's phantom, written when it is first asked for."""
    written: dict[str, Path] = {}

    def get(dataset: str) -> Path:
        if dataset not in written:
            out = tmp_path_factory.mktemp(dataset)
            written[dataset] = write_phantom(dataset, out, **PHANTOM_OPTIONS[dataset], progress=False)
        return written[dataset]

    return get


@pytest.fixture(scope="session")
def few_records(phantom: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A table of few of a bundle's phantom images, prepared as a user does; every split has every class it can have."""
    written: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in written:
            task = get_task(name)
            out = tmp_path_factory.mktemp("prepared")
            table, _ = prepare(task.dataset, phantom(task.dataset), out, **task.reader_options)
            frame = read_records(table, require_label=False)
            if task.kind is Kind.SEGMENTATION:
                frame = frame[frame["mask"] != ""].groupby("split").head(10)
            elif task.kind is Kind.PRETRAINING:
                frame = frame.groupby("split").head(16)
            else:
                frame = pd.concat(
                    [frame[frame["split"] == "train"].groupby("label").head(8)]
                    + [frame[frame["split"] == split].groupby("label").head(5) for split in ("validation", "test")]
                )
            write_records(frame.reset_index(drop=True), out / "few.csv")
            written[name] = out / "few.csv"
        return written[name]

    return get


@pytest.fixture(scope="session")
def busi(phantom: Callable[[str], Path]) -> Path:
    """A phantom BUSI folder of 90 small images."""
    return phantom("busi")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, busi: Path) -> Path:
    """The breast bundle after two short epochs."""
    bundle = copy_bundle("breast_mass_us_classification", tmp_path_factory.mktemp("trained"))
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=2, **TINY)
    return bundle


@pytest.fixture(autouse=True)
def _shallow_densenet() -> Any:
    with shallow_densenet():
        yield


@pytest.fixture(autouse=True)
def _leave_torch_as_it_was() -> Any:
    """A bundle's `set_determinism` must not reach other tests."""
    yield
    torch.use_deterministic_algorithms(False)
