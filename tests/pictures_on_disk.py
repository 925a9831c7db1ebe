"""Small pictures on disk and a transform that says how often it ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from radimagenet_monai.core.errors import UnreadableImageError


class ReadPictured:
    """Grey picture to canonical image; appends the path to ``journal`` at each call."""

    def __init__(self, journal: Path | None = None, gain: float = 1.0, seconds: float = 0.0) -> None:
        self.journal = journal
        self.gain = gain
        self.seconds = seconds

    def __call__(self, data: dict) -> dict:
        if self.journal is not None:
            with self.journal.open("a") as stream:
                stream.write(f"{data['image']}\n")
        time.sleep(self.seconds)
        pixels = cv2.imread(str(data["image"]), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise UnreadableImageError(str(data["image"]), "decode", "not a picture")
        return {**data, "image": pixels[None].astype(np.float32) / 255 * self.gain}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.txt"
    path.touch()
    return path


@pytest.fixture
def read_picture(journal: Path) -> ReadPictured:
    return ReadPictured(journal)


@pytest.fixture
def slow_picture() -> ReadPictured:
    return ReadPictured(seconds=0.003)


@pytest.fixture
def calls(journal: Path) -> Callable[[], int]:
    """Number of transform calls since it was last asked for."""

    def count() -> int:
        number = len(journal.read_text().splitlines())
        journal.write_text("")
        return number

    return count


@pytest.fixture
def records(tmp_path: Path) -> list[dict]:
    """Forty pictures of different sizes, smooth enough to be resized and warped."""
    generator = np.random.default_rng(20)
    folder = tmp_path / "pictures"
    folder.mkdir()
    found = []
    for number in range(40):
        noise = generator.integers(0, 256, (40 + number, 60 - number // 2), dtype=np.uint8)
        path = folder / f"{number:03d}.png"
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2))
        found.append({"image": str(path), "label": number % 2, "site": "ab"[number % 2]})
    return found


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "store"
