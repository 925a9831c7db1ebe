"""Packages that add encoders, datasets and tasks: those of the how-to pages, and broken ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

PAGES = Path(__file__).parents[1] / "docs" / "how-to" / "extend"


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and text of the code blocks of a page."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def install(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """What pip leaves of a package: a dist-info folder with its entry points."""
    metadata = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def follow(page: str, folder: Path) -> list[list[str]]:
    """Write the files that a page shows into ``folder``, install the package; returns its commands."""
    commands = []
    for language, text in blocks_of(page):
        named = re.match(r"# (\S+\.(?:py|toml))\n", text)
        if language == "python" and named:
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif language == "toml":
            project = tomllib.loads(text)["project"]
            install(folder, project["name"], project["entry-points"])
        elif not language:
            commands += [line.split() for line in text.splitlines() if line]
    return commands


def python(words: list[str], plugins: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages in ``plugins`` and a weight store of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugins), str(Path(__file__).parents[1])]),
        "OMP_NUM_THREADS": "1",
        "RADIMAGENET_HOME": str(cwd / "weights"),
    }
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


def radimagenet(words: list[str], plugins: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line with the packages in ``plugins``."""
    return python(["-m", "radimagenet_monai", *words], plugins, cwd)


def run(commands: list[list[str]], plugins: Path, cwd: Path) -> list[str]:
    """Run the commands of a page; returns what each printed."""
    printed = []
    for program, *words in commands:
        if program == "python":
            words = ["-c", (plugins / words[0]).read_text()]
        done = python(words, plugins, cwd) if program == "python" else radimagenet(words, plugins, cwd)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        printed.append(done.stdout)
    return printed


def info(plugins: Path) -> tuple[dict, str]:
    """The catalogue with the packages in ``plugins``, and what was printed on standard error."""
    done = radimagenet(["info", "--json"], plugins, plugins)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_pages_on_datasets_and_tasks(tmp_path: Path) -> None:
    plugins, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    dataset, _, task = (follow(f"{page}.md", plugins) for page in ("dataset", "encoder", "task"))
    listed, *_ = run(dataset, plugins, work)
    assert listed.count("(plug-in ") == 3, "one of each"
    frame = pd.read_csv(work / "prepared" / "records.csv")
    assert len(frame) == 24
    assert set(frame["label"]) == {"healthy", "consolidation"}
    summary = json.loads((work / "prepared" / "summary.json").read_text())
    assert summary["differences"] == {"images": 24 - 120}
    assert sum(summary["left_out"].values()) == 1, "README.txt"
    run([command for command in task if command[2] != "check" and command[1] != "compare"], plugins, work)
    card = (work / "bundles" / "lung_consolidation_us_classification" / "docs" / "README.md").read_text()
    assert "Lung ultrasound (an example)" in card


@pytest.mark.long
def test_the_pages_on_encoders_and_tasks(tmp_path: Path) -> None:
    """Weights are imported, a bundle is checked by MONAI, and the frozen encoder is probed."""
    plugins, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    for page in ("dataset", "encoder", "task"):
        run(follow(f"{page}.md", plugins), plugins, work)
    analysis = json.loads((work / "comparison" / "analysis.json").read_text())
    means = {row["initialization"]: row["mean"] for row in analysis["performance"] if row["architecture"] == "tinynet"}
    assert means.keys() == {"random", "mine"}
    assert min(means.values()) > 0.6, "a bright block in noise, seen even by random convolutions"


def test_options_of_a_plugin_are_checked(tmp_path: Path) -> None:
    follow("dataset.md", tmp_path)
    refused = radimagenet(["prepare", "lung_us", "--root", ".", "--out", "x", "--fold", "3"], tmp_path, tmp_path)
    assert refused.returncode == 2
    assert "--folds" in refused.stderr


def test_listing_plugins_runs_none_of_their_readers(tmp_path: Path) -> None:
    follow("dataset.md", tmp_path)
    with (tmp_path / "lung_plugin" / "lung_us.py").open("a") as file:
        file.write("\nraise SystemError('this file was run')\n")
    catalogue, errors = info(tmp_path)
    assert "lung_us" in catalogue["datasets"]
    assert errors == ""
    done = radimagenet(["prepare", "lung_us", "--root", ".", "--out", "x"], tmp_path, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "this file was run" in done.stderr


DATASET = (
    'from radimagenet_monai.catalog.datasets import Dataset\nDATASET = Dataset(\n    {name!r}, "T", "a", "t", "f",\n)\n'
)


def test_a_broken_plugin_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    group = "radimagenet_monai.datasets"
    for module, text in {
        "good": DATASET.format(name="good"),
        "absent": DATASET.format(name="absent").replace("Dataset(\n", "Dataset(missing.name,\n"),
        "wrong": "DATASET = {'name': 'wrong'}\n",
        "greedy": DATASET.format(name="busi"),
        "second": DATASET.format(name="good"),
        "spelt": DATASET.format(name="Not A Name"),
        "several": "from radimagenet_monai.catalog.datasets import Dataset\n"
        'DATASET = tuple(Dataset(n, "T", "a", "t", "f") for n in ("one", "two"))\n',
    }.items():
        (tmp_path / f"plug_{module}.py").write_text(text)
        install(tmp_path, module, {group: {module: f"plug_{module}"}})
    install(tmp_path, "gone", {group: {"gone": "no_such_module"}})
    catalogue, errors = info(tmp_path)
    assert catalogue["plugins"] == {"datasets": {"good": "good 0.1", "one": "several 0.1", "two": "several 0.1"}}
    assert catalogue["datasets"]["busi"]["title"].startswith("BUSI")
    lines = errors.splitlines()
    assert [line.removeprefix("warning: ") for line in lines] == catalogue["left_out"]
    reasons = {line.split("'")[1]: line for line in catalogue["left_out"]}
    assert reasons.keys() == {"absent", "wrong", "greedy", "second", "spelt", "gone"}
    for name, reason in {
        "absent": "NameError: name 'missing' is not defined",
        "wrong": "is a dict, expected a Dataset",
        "greedy": "dataset 'busi' is built in and cannot be replaced",
        "second": "dataset 'good' is already in good 0.1",
        "spelt": "'Not A Name' is not of lower-case letters",
        "gone": "No module named 'no_such_module'",
    }.items():
        assert reason in reasons[name]
        assert f"of {name} 0.1" in reasons[name]
    done = radimagenet(["prepare", "absent", "--root", ".", "--out", "x"], tmp_path, tmp_path)
    assert "no reader for dataset 'absent'" in done.stderr
    assert "plug-in 'absent' of absent 0.1" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("table", ["datasets", "encoders"])
def test_built_in_descriptions_are_those_of_the_modules(table: str) -> None:
    """The statement read from a file's text is what running the file gives."""
    from importlib import import_module

    from radimagenet_monai.catalog.datasets import DATASETS
    from radimagenet_monai.encoders.architectures import ARCHITECTURES

    registry = {"datasets": DATASETS, "encoders": ARCHITECTURES}[table]
    assert len(registry.builtin()) >= 4
    for item in registry.builtin().values():
        ran = getattr(import_module(item.module), registry._attribute)
        assert {**vars(ran), "module": item.module} == vars(item)
