"""Names of release 0.1 that have moved: the same objects under both."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import radimagenet_monai
from radimagenet_monai.core import moved

pytestmark = pytest.mark.slow

TABLE = json.loads(Path(moved.__file__).with_suffix(".json").read_text())


@pytest.mark.parametrize("old", TABLE["modules"])
def test_a_module_is_one_object_under_both_names(old: str) -> None:
    new = importlib.import_module(f"radimagenet_monai.{TABLE['modules'][old]}")
    assert importlib.import_module(f"radimagenet_monai.{old}") is new
    assert new.__name__ == new.__spec__.name == f"radimagenet_monai.{TABLE['modules'][old]}"
    assert moved.module_in_first_release(new.__name__) == f"radimagenet_monai.{old}"


def test_names_of_packages_that_are_gone() -> None:
    for package, names in TABLE["names"].items():
        old = importlib.import_module(f"radimagenet_monai.{package}")
        assert old.__all__ == sorted(names)
        for name, room in names.items():
            assert getattr(old, name) is getattr(importlib.import_module(f"radimagenet_monai.{room}"), name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        radimagenet_monai.data.Nothing  # noqa: B018 - the access is the test


def test_an_old_name_first() -> None:
    """In a fresh process: importing by the old name must not load a module twice."""
    code = (
        "from radimagenet_monai.evaluation.multiplicity import holm as old; "
        "from radimagenet_monai.statistics.multiplicity import holm as new; "
        "import radimagenet_monai.evaluation.multiplicity as module; "
        "assert old is new and module.__name__ == 'radimagenet_monai.statistics.multiplicity'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_can_be_run_by_its_old_name() -> None:
    """As comparisons of 0.1 say to repeat a run: ``python -m`` asks the loader for the code."""
    spec = importlib.util.find_spec("radimagenet_monai.experiments.probe")
    code = spec.loader.get_code(spec.name)
    assert code.co_filename == importlib.import_module(spec.name).__file__


def test_what_is_nowhere_is_an_import_error() -> None:
    for name in ("radimagenet_monai.training.nothing", "radimagenet_monai.nothing", "radimagenet_monai.data.nothing"):
        with pytest.raises(ModuleNotFoundError, match=r"nothing"):
            importlib.import_module(name)


def test_classes_that_left_a_module() -> None:
    for room, classes in TABLE["classes"].items():
        for name, old in classes.items():
            assert getattr(importlib.import_module(f"radimagenet_monai.{room}"), name)
            assert moved.module_in_first_release(f"radimagenet_monai.{room}", name) == f"radimagenet_monai.{old}"
    assert moved.module_in_first_release("monai.transforms", "CTWindowd") == "monai.transforms"
