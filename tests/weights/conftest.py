"""A weight store of its own for every test, and pictures and files to import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty weight store."""
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth RGB picture of unlike channels, (299, 299, 3), uint8."""
    row, column, channel = np.meshgrid(np.arange(299), np.arange(299), np.arange(3), indexing="ij")
    waves = np.sin(row / (5 + 3 * channel)) + np.cos(column / (9 - 2 * channel)) + 0.3 * channel - 0.3
    noise = np.random.default_rng(0).normal(0, 0.2, waves.shape)
    return np.clip(127.5 + 50 * (waves + noise), 0, 255).astype(np.uint8)
