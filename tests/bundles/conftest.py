"""One phantom dataset and one trained bundle for all bundle tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_workflow

from radimagenet_monai.phantoms import write_phantom


@pytest.fixture(scope="session")
def busi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom BUSI folder of 90 small images."""
    return write_phantom("busi", tmp_path_factory.mktemp("busi"), patients=90, seed=3, size=(72, 96), progress=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, busi: Path) -> Path:
    """The breast bundle after two short epochs."""
    bundle = copy_bundle("breast_mass_us_classification", tmp_path_factory.mktemp("trained"))
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=2, **TINY)
    return bundle


@pytest.fixture(autouse=True)
def _leave_torch_as_it_was() -> Any:
    """A bundle's `set_determinism` must not reach other tests."""
    yield
    torch.use_deterministic_algorithms(False)
