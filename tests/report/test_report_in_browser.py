"""The report as a reader meets it: in Chromium, at two widths, light and dark, with axe-core looking for barriers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from comparison_example import example, with_localization
from many_class_example import write_evaluation

from radimagenet_monai.report.comparison.report import write_comparison_report
from radimagenet_monai.report.run_report import write_run_report

PACKAGES = ("puppeteer-core@24", "axe-core@4.10")
DRIVER = Path(__file__).with_name("browser.mjs")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Opens a page; what is found at each width and scheme, and the folder of screenshots."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    npm, node = shutil.which("npm"), shutil.which("node")
    if not (chromium and npm and node):
        pytest.skip("needs chromium, node and npm")
    place = tmp_path_factory.mktemp("browser")
    (place / "package.json").write_text("{}")
    install = [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
    done = subprocess.run(install, cwd=place, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {' and '.join(PACKAGES)}: {done.stderr[-200:]}")

    def opened(page: Path) -> tuple[list[dict[str, Any]], Path]:
        out = page.parent / "screenshots"
        out.mkdir()
        command = [node, str(DRIVER), str(page), chromium, str(out)]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), out

    return opened


def check(found: list[dict[str, Any]]) -> None:
    assert [(seen["width"], seen["scheme"]) for seen in found] == [
        *((1280, scheme) for scheme in ("light", "dark")),
        *((390, scheme) for scheme in ("light", "dark")),
    ]
    for seen in found:
        assert seen["console"] == []
        assert seen["requests"] == []
        assert seen["broken_images"] == 0
        assert seen["scroll_width"] <= seen["width"], "the page itself scrolls sideways"
        assert (seen["first_focus"], seen["after_skip"]) == ("#content", "content")
        assert [item for item in seen["violations"] if item["impact"] in ("serious", "critical")] == []
    light, dark = (np.array(json.loads(f"[{seen['ground'][4:-1]}]")).mean() for seen in found[:2])
    assert light > 200
    assert dark < 60


def ground_of(picture: Path, column: int) -> float:
    """Median gray of a column of a screenshot."""
    return float(np.median(cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)[:, column]))


def test_a_comparison(tmp_path: Path, browse: Any) -> None:
    analysis = with_localization(example())
    names = ["<script>alert(1)</script>", "משקולות של רשת", "a" * 150]
    long = example(names, ["densenet121"], fractions=[1.0])
    for folder, content in (("whole", analysis), ("long", long)):
        (tmp_path / folder / "overlays").mkdir(parents=True)
        for place in range(3):
            cv2.imwrite(str(tmp_path / folder / "overlays" / f"{place:04d}.png"), np.full((300, 400, 3), 90, np.uint8))
        (tmp_path / folder / "analysis.json").write_text(json.dumps(content))
        found, screenshots = browse(write_comparison_report(tmp_path / folder))
        check(found)
        assert (screenshots / "print.pdf").read_bytes().startswith(b"%PDF")
        # Figures follow the scheme too: their ground is the page's.
        assert ground_of(screenshots / "390-light.png", 200) > 200
        assert ground_of(screenshots / "390-dark.png", 200) < 60


def test_several_comparisons(tmp_path: Path, browse: Any) -> None:
    for seed in range(2):
        (tmp_path / f"task_{seed}").mkdir()
        analysis = example(("random", "phantom"), ["densenet121"], 5, [1.0], seed=seed)
        (tmp_path / f"task_{seed}" / "analysis.json").write_text(json.dumps(analysis))
    check(browse(write_comparison_report(tmp_path))[0])


def test_an_evaluation_of_165_classes(tmp_path: Path, browse: Any) -> None:
    write_evaluation(tmp_path, images=3000)
    found, screenshots = browse(write_run_report(tmp_path))
    check(found)
    assert ground_of(screenshots / "390-light.png", 200) > 200
    assert ground_of(screenshots / "390-dark.png", 200) < 60


def test_barriers_are_found_where_there_are_some(tmp_path: Path, browse: Any) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><html><head><title>x</title></head><body><a href="#content">skip</a><main id="content" '
        'tabindex="-1"><img src="http://127.0.0.1:9/x.png"><p style="color:#aaa;width:2000px">text</p></main></body>'
    )
    found, _ = browse(page)
    assert all({"image-alt", "color-contrast"} <= {item["id"] for item in seen["violations"]} for seen in found)
    assert all(seen["requests"] and seen["console"] and seen["scroll_width"] > seen["width"] for seen in found)
