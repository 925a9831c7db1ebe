"""The how-to pages say what the code does: their Python runs, their tables are the catalogue's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.pretrained_encoder import build_encoder

pytestmark = pytest.mark.slow

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def test_python_of_the_encoder_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    biased = BACKBONES["resnet50"]().state_dict()
    for name in [name for name in biased if re.search(r"conv\d?\.weight$|downsample\.0\.weight$", name)]:
        biased[name.replace("weight", "bias")] = torch.zeros(biased[name].shape[0])
    torch.save(biased, tmp_path / "biased.pth")
    import_weights(tmp_path / "biased.pth")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (HOW_TO / "encoder_in_your_own_code.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    scope: dict = {}
    for block in blocks:
        exec(block.replace("(8, 1, 224, 224)", "(1, 1, 224, 224)"), scope)  # one image is as good as eight
    assert scope["maps"].shape == (1, 2048, 7, 7)
    assert scope["features"].shape == (1, 2048)
    assert len(scope["pyramid"]) == 5
    kept = scope["network"].encoder.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in scope["again"].state_dict().items())


def test_table_of_inputs_is_the_catalogue() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", (HOW_TO / "import_weights.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name: spec.convention.describe() for name, spec in CATALOGUE.items()}


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=pytest.mark.long if name.startswith("inception") else ()) for name in ARCHITECTURES],
)
def test_table_of_sizes_is_what_the_encoders_give(architecture: str) -> None:
    page = (HOW_TO / "encoder_in_your_own_code.md").read_text()
    row = re.search(rf"^\| `{architecture}` \| (\d+) \| (\d+) x \d+ \| (\d+) x \d+ \|", page, re.MULTILINE)
    assert row is not None
    features, *sides = map(int, row.groups())
    with torch.device("meta"):
        encoder = build_encoder(architecture).eval()
        for size, side in zip((224, 299), sides, strict=True):
            assert encoder(torch.rand(1, 3, size, size)).shape == (1, features, side, side)
