"""Files of weights are told apart by their first bytes, whatever the length of a header looks like."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from radimagenet_monai.weights.container import Container, recognize_container
from radimagenet_monai.weights.tensor_file import read_tensors


@pytest.mark.parametrize("length", [0x80, 0x180, 0x150])
def test_safetensors_whose_header_length_starts_like_another_format(tmp_path: Path, length: int) -> None:
    # 0x80 is the first byte of a pickle, 0x50 ("P") that of a zip file; the format pads headers to multiples of 8.
    for padding in range(length + 8):
        path = tmp_path / f"{padding}.safetensors"
        save_file({"a": torch.ones(2)}, path, {"note": "x" * padding})
        if path.read_bytes()[0] == length & 0xFF:
            break
    assert path.read_bytes()[0] == length & 0xFF
    assert recognize_container(path) is Container.SAFETENSORS
    assert torch.equal(read_tensors(path)["a"], torch.ones(2))
    with safe_open(path, "pt") as stored:
        assert list(stored.keys()) == ["a"]
