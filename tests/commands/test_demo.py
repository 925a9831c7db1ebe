"""The demo, small: it ends in a report that needs nothing but itself."""

from __future__ import annotations

import html.parser
import json
import re
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from forks import forked_commands, forked_pools
from shallow_densenet import make_shallow, shallow_densenet

from radimagenet_monai import load_encoder
from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.commands.on_phantoms import demo
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow


def run_small_demo(out: Path) -> Path:
    with shallow_densenet(), forked_commands(make_shallow), forked_pools():
        return demo.run_demo(
            out, images=60, epochs=1, image_size=64, pretraining_images=330, folds=1, pretraining_epochs=1
        )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the comparison at the end of a whole demo."""
    return run_small_demo(tmp_path_factory.mktemp("demo") / "whole")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a demo asks of `compare`. Neither that nor the pretraining before it are run here: their own tests do."""
    arguments: dict[str, Any] = {}
    bind = signature(demo.compare).bind

    def compare(*given: Any, **options: Any) -> Path:
        arguments.update(bind(*given, **options).arguments)
        return Path(arguments["out"]) / "report.html"

    def pretrain(out: Path, *_: Any) -> Path:
        save_encoder(out / "encoder.safetensors", build_classifier(demo.ARCHITECTURE), {"epoch": 1})
        return out / "encoder.safetensors"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_pretrain", pretrain)
        patch.setattr(demo, "compare", compare)
        run_small_demo(tmp_path_factory.mktemp("demo") / "out")
    return arguments


@pytest.fixture(scope="module")
def report(asked: dict[str, Any]) -> Path:
    """The report before the comparison."""
    return Path(asked["out"]).parent / "report.html"


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.without_alt = 0
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        if tag == "img":
            self.sources.append(values["src"])
            self.without_alt += not values.get("alt")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_self_contained_and_says_what_phantoms_are(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert len(page.sources) >= 5
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.without_alt == 0
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert PHANTOM_NOTICE in text


def test_report_states_the_evaluations_figures(report: Path) -> None:
    (path,) = report.parent.glob("bundles/*/output/evaluation/evaluation.json")
    metrics = json.loads(path.read_text())["metrics"]
    auc = metrics["auc"]
    text = report.read_text(encoding="utf-8")
    if auc["low"] is not None:
        assert f"{auc['auc']:.3f} (95% CI: {auc['low']:.3f}, {auc['high']:.3f})" in text
    assert f"{metrics['images']} ({metrics['positives']} malignant)" in text


def test_real_ultrasound_files_were_read(report: Path) -> None:
    (path,) = report.parent.glob("bundles/*/output/real_ultrasound/predictions.json")
    rows = json.loads(path.read_text())["predictions"]
    assert len(rows) >= 5
    assert sum(row["problem"] is None for row in rows) >= 5


def test_the_pretrained_encoder_is_compared_with_random_initialization(asked: dict[str, Any]) -> None:
    random, pretrained = asked["weights"]
    name, _, file = pretrained.partition("=")
    assert (random, name) == ("random", "pretrained")
    with shallow_densenet():
        assert load_encoder(demo.ARCHITECTURE, file).num_features == 1024
    assert (asked["task"], asked["choices"]["folds"], asked["choices"]["epochs"]) == (demo.TASK, 1, 1)
    assert Path(asked["records"]).is_file()


@pytest.mark.long
def test_comparison_answers_the_question_and_says_what_phantoms_are(comparison: Path) -> None:
    analysis = json.loads((comparison.parent / "analysis.json").read_text(encoding="utf-8"))
    assert {run["status"] for run in analysis["runs"]} == {"finished"}
    assert [item["name"] for item in analysis["initializations"]] == ["random", "pretrained"]
    assert len(analysis["sentences"]) == 1
    text = html.unescape(comparison.read_text(encoding="utf-8"))
    assert analysis["sentences"][0] in text
    assert PHANTOM_NOTICE in text
    assert analysis["localization"]


def test_demo_can_be_run_again_in_its_own_folder(report: Path) -> None:
    folder = demo._fresh_folder(report.parent)
    assert [path.name for path in folder.iterdir()] == [".radimagenet-demo"]
