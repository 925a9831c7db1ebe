"""What holds for the repository as a whole: imports, instant answers, versions, documents."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from radimagenet_monai import __version__
from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.catalog.tasks import DATASETS, TASKS, Kind
from radimagenet_monai.collection.versions import BUNDLE_CHANGELOG, BUNDLE_VERSION, TESTED_VERSIONS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "radimagenet_monai"


def tracked(*patterns: str) -> list[Path]:
    """Files git knows, so that build products do not count."""
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def room_of(module: str) -> str:
    """The folder or module right below the package that a full name lies in; the package itself for its own names."""
    parts = module.split(".")
    inside = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file())
    return parts[1] if inside else parts[0]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere: also in functions, for types, or by a lazy export."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # import_module, lazy exports, "module:function" of a registry
            text = node.value.partition(":")[0]
            found |= {text} if re.fullmatch(r"radimagenet_monai(\.\w+)+", text) else set()
    return {name for name in found if name.partition(".")[0] == PACKAGE.name}


@functools.cache
def rooms() -> dict[str, set[str]]:
    """Rooms that each room imports."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        room = room_of(".".join([PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]))
        imported = {room_of(name) for name in imported_modules(path)}
        graph.setdefault(room, set()).update(imported - {room})
    return graph


def test_rooms_import_one_another_in_one_direction() -> None:
    graph = rooms()
    assert len(graph) > 15
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"rooms import one another in a circle: {' imports '.join(reversed(error.args[1]))}")


def test_phantoms_are_for_commands_and_tests() -> None:
    assert {room for room, imported in rooms().items() if "phantoms" in imported} <= {"cli", "commands"}


def test_integrations_are_for_commands() -> None:
    """Nothing else may come to need what a clinic's tools bring along."""
    allowed = {"cli", "commands", "__init__"}  # the package exports `predict`
    assert {room for room, imported in rooms().items() if "integrations" in imported} <= allowed


def test_itk_is_imported_by_what_needs_it() -> None:
    """Inside the function that calls N4."""
    imports = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in parsed(path).body
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "itk" for alias in node.names)
    ]
    assert imports == []


def test_lazy_names_are_those_that_type_checkers_see() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        body = parsed(path).body
        blocks = [node.body for node in body if isinstance(node, ast.If)]
        module = importlib.import_module(".".join([PACKAGE.name, *path.parent.relative_to(PACKAGE).parts]))
        if blocks and hasattr(module, "_MODULE_OF"):
            seen = {alias.name for node in blocks[0] if isinstance(node, ast.ImportFrom) for alias in node.names}
            assert seen == set(module._MODULE_OF), path


def test_no_room_is_crowded() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    crowded = {
        str(folder.relative_to(ROOT)): count for folder in folders if (count := len(list(folder.glob("*.py")))) > 16
    }
    assert crowded == {}


def test_info_imports_nothing_large() -> None:
    """So that it answers at once: torch alone takes seconds to import. Fire, which reads the command line, is small."""
    code = (
        "import json, sys; before = set(sys.modules); from radimagenet_monai.cli import main; main(['info', '--json']);"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    text, _, imported = done.stdout.strip().rpartition("\n")
    assert set(json.loads(imported)) - sys.stdlib_module_names == {"radimagenet_monai", "fire", "termcolor"}
    info = json.loads(text)
    assert {"tasks", "architectures", "weights", "datasets"} <= info.keys()
    assert len(info["tasks"]) == 14


def test_tasks_are_complete() -> None:
    assert len(TASKS) == 14
    assert sum(task.kind is Kind.PRETRAINING for task in TASKS.values()) == 4
    assert sum(task.kind is Kind.CLASSIFICATION for task in TASKS.values()) == 8
    for name, task in TASKS.items():
        assert name == task.name
        assert "_v" not in name, "MONAI cuts a bundle's name there"
        assert task.dataset in DATASETS
        assert len(set(task.classes)) == len(task.classes) >= 2
        assert task.references
        assert task.limits
    assert len(TASKS["radimagenet_resnet50_pretraining"].classes) == 165


def test_readers_compare_with_the_counts_of_the_catalogue() -> None:
    compared = 0
    for name, dataset in DATASETS.items():
        module = importlib.import_module(dataset.module)
        for count, value in getattr(module, "PUBLISHED_COUNTS", {}).items():
            assert dataset.counts[count].value == value, f"{name}: {count}"
            compared += 1
    assert compared > 20


def test_every_dataset_has_a_phantom_and_a_page() -> None:
    from radimagenet_monai.phantoms import PHANTOMS

    for name in DATASETS:
        assert name in PHANTOMS
        assert (ROOT / "docs" / "reference" / "datasets" / f"{name}.md").is_file()


def test_places_named_for_changes_exist() -> None:
    pages = [ROOT / "CONTRIBUTING.md", *tracked("docs/how-to/extend/*.md")]
    for page in pages:
        for place in re.findall(r"`(radimagenet_monai/[\w/]+(?:\.\w+)?)`", page.read_text(encoding="utf-8")):
            assert "NAME" in place or (ROOT / place).exists(), f"{page.name}: {place}"
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Ten changes")[2]
    assert len(re.findall(r"^\| (?!change)\w", table, re.MULTILINE)) == 10


def test_labels_are_those_of_the_paper() -> None:
    assert len(LABELS) == len({label.key for label in LABELS}) == 165
    counts: dict[tuple[str, str], int] = {}
    for label in LABELS:
        counts[label.modality, label.region_code] = counts.get((label.modality, label.region_code), 0) + 1
    assert len(counts) == 11
    assert counts["CT", "abd"] == 28
    assert counts["CT", "lung"] == 6
    assert sum(count for (modality, _), count in counts.items() if modality == "MR") == 116
    assert counts["US", "usabd"] == 13
    assert counts["US", "usthyroid"] == 2


def test_versions_agree() -> None:
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for name, version in TESTED_VERSIONS.items():
        assert constraints[name] == version
    assert BUNDLE_VERSION in BUNDLE_CHANGELOG
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()


def test_every_requirement_is_constrained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    constrained = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    names = {re.split(r"[<>=\[ ;]", item)[0].lower() for item in wanted}
    assert names <= constrained


def test_every_file_of_the_package_is_installed() -> None:
    """An editable install finds files that a wheel would lack."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    left_out = [
        str(path.relative_to(ROOT))
        for path in tracked("radimagenet_monai/**")
        if path.suffix != ".py" and not any(path.match(pattern) for pattern in patterns)
    ]
    assert left_out == []


def test_documents_link_to_what_exists() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in tracked("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8"))
        if not target.startswith(("http://", "https://")) and not (path.parent / target).exists()
    ]
    assert broken == []


def test_tests_named_in_documents_exist() -> None:
    for page in [*tracked("*.md"), *tracked("radimagenet_monai/**/*.py")]:
        for place in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / place).exists(), f"{page.name}: {place}"


def test_readme_names_commands_that_exist() -> None:
    from radimagenet_monai.cli import COMMANDS

    text = (ROOT / "README.md").read_text() + "".join(path.read_text() for path in tracked("docs/*.md", "docs/**/*.md"))
    for command in re.findall(r"`?radimagenet ((?:[a-z][a-z-]* ?)+)", text):
        node = COMMANDS
        for word in command.split():
            if not isinstance(node, dict):
                break
            assert word in node, f"radimagenet {command}"
            node = node[word]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks + re.findall(r"`(make [^`]*)`", text))
    named = set(re.findall(r"\bmake ([a-z-]+)", code))
    assert {"demo", "test"} <= named <= targets
    for config in re.findall(r"B/configs/(\w+)\.json", text):
        assert (ROOT / "bundles" / "breast_mass_us_classification" / "configs" / f"{config}.json").is_file()


def test_nothing_that_must_not_be_committed() -> None:
    forbidden = {".pt", ".pth", ".h5", ".safetensors", ".onnx", ".dcm", ".nii", ".gz", ".nrrd", ".npy", ".zip"}
    for path in tracked():
        assert path.suffix not in forbidden, path
        assert path.stat().st_size < 1_000_000, path
