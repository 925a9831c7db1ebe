"""The paper's experiment in miniature: the whole way once, and nothing of it twice."""

import json
from pathlib import Path

import pytest

from radimagenet_monai.commands.on_phantoms.miniature import Recipe, run_miniature, table
from radimagenet_monai.store.sealed.sealing import is_sealed

TINY = Recipe(
    image_size=32,
    pretraining_images=165 * 3,
    pretraining={"batch_size": 64, "max_epochs": 1, "num_workers": 0, "measure_rates": False},
    tasks=("pneumonia_cxr_classification",),
    patients=40,
    epochs=1,
)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_whole_way_and_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_miniature(tmp_path, TINY)
    assert report == tmp_path / "comparisons" / "report.html"
    assert is_sealed(tmp_path / "radimagenet" / "store")
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["pretraining"]["images"] == 165
    assert result["pretraining"]["test_images"] == 165
    (row,) = result["comparisons"]
    assert row["patients"] == 40
    assert row["anew"]["difference"] == pytest.approx(row["pretrained"] - row["random"])
    assert row["anew"]["low"] < row["anew"]["difference"] < row["anew"]["high"]
    assert (tmp_path / "miniature.md").read_text(encoding="utf-8") == table(result)
    assert "phantoms" in table(result)

    encoder = tmp_path / "radimagenet_densenet121_pretraining" / "models" / "encoder.safetensors"
    written = encoder.stat().st_mtime_ns
    run_miniature(tmp_path, TINY)
    assert encoder.stat().st_mtime_ns == written
    _, first, second = capsys.readouterr().out.split("[1/3]")
    assert ".fold0." in first  # as each run says when it is done
    assert ".fold0." not in second
    again = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert again["comparisons"] == result["comparisons"]
