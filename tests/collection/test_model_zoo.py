"""What MONAI's model zoo asks of a bundle: its folder without weights, their list with hashes, requirements."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.apps.utils import download_url
from monai.bundle import ConfigParser
from released_bundle import BUNDLES, NAME

from radimagenet_monai.collection.bundle_files import parse_sums
from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.collection.versions import BUNDLE_VERSION
from radimagenet_monai.core.version import __version__
from radimagenet_monai.engine.trained.model_file import save_model

pytestmark = pytest.mark.slow

ROOT = BUNDLES.parent
LIMIT = 25_000_000
"""Bytes of a file that the zoo's repository takes."""


def test_weights_are_listed_with_address_and_hash(
    trained: Path, tmp_path: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is read, and the files are fetched and compared, by the functions that the zoo uses."""
    out = tmp_path / "release"
    out.mkdir()
    url = serve(out.parent) + "/release/"
    release_bundles(trained.parent, out, url=url)
    folder = out / "model_zoo" / NAME
    assert not list(folder.rglob("*.pt"))
    parser = ConfigParser()
    parser.read_config(folder / "large_files.yml")
    (entry,) = parser.get()["large_files"]
    digest = hashlib.sha256((trained / "models" / "model.pt").read_bytes()).hexdigest()
    assert entry == {
        "path": "models/model.pt",
        "url": f"{url}{NAME}_v{BUNDLE_VERSION}_model.pt",
        "hash_val": digest,
        "hash_type": "sha256",
    }
    download_url(
        url=entry["url"],
        filepath=str(folder / entry["path"]),
        hash_val=entry["hash_val"],
        hash_type=entry["hash_type"],
        progress=False,
    )
    assert verify_bundle(folder) == [], "whole again, with its own list of hashes"
    (folder / "models" / "model.pt").unlink()
    (out / f"{NAME}_v{BUNDLE_VERSION}_model.pt").write_bytes(b"others")
    with pytest.raises(Exception, match="hash check of downloaded file failed"):
        download_url(url=entry["url"], filepath=str(folder / "x"), hash_val=digest, hash_type="sha256", progress=False)


def test_what_a_pull_request_adds(trained: Path, tmp_path: Path) -> None:
    release_bundles(trained.parent, tmp_path / "release", url="https://example.org/r")
    folder = tmp_path / "release" / "model_zoo" / NAME
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert {"LICENSE", "configs/metadata.json", "configs/inference.json", "large_files.yml", "SHA256SUMS"} <= set(found)
    assert all(path.stat().st_size < LIMIT for path in found.values())
    sums = parse_sums(found["SHA256SUMS"].read_text())
    assert set(sums) == set(found) - {"SHA256SUMS"} | {"models/model.pt"}
    test = tmp_path / "release" / "model_zoo" / "unit_tests" / f"test_{NAME}.py"
    compile(test.read_text(), test, "exec")
    release_bundles(trained.parent, tmp_path / "release", url="https://example.org/r")  # over an earlier one


@pytest.mark.long
@pytest.mark.parametrize("name", [NAME, "breast_mass_us_segmentation"])
def test_the_unit_test_of_a_pull_request_passes(name: str, tmp_path: Path) -> None:
    """Laid out as in the zoo, started from its root with the folder of its tests on the path, as its runner does."""
    release_bundles(BUNDLES, tmp_path / "release", [name], url="https://example.org/r", weights="leave")
    zoo = tmp_path / "zoo"
    shutil.copytree(tmp_path / "release" / "model_zoo" / name, zoo / "models" / name)
    shutil.copytree(tmp_path / "release" / "model_zoo" / "unit_tests", zoo / "ci" / "unit_tests")
    before = {path: path.read_bytes() for path in zoo.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "unittest", f"test_{name}"],
        cwd=zoo,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(zoo / "ci" / "unit_tests"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Ran 3 tests" in done.stderr
    assert {path: path.read_bytes() for path in zoo.rglob("*") if path.is_file()} == before


ZOO = os.environ.get("MONAI_MODEL_ZOO", "")


@pytest.mark.long
@pytest.mark.skipif(not ZOO, reason="MONAI_MODEL_ZOO names no checkout of Project-MONAI/model-zoo")
@pytest.mark.parametrize("name", [NAME, "breast_mass_us_segmentation"])
def test_the_zoo_verifies_a_bundle(name: str, tmp_path: Path) -> None:
    """By its own ``ci/verify_bundle.py``, unmodified, with random weights of the default architecture."""
    release_bundles(BUNDLES, tmp_path / "release", [name], url="https://example.org/r", weights="leave")
    models = tmp_path / "zoo" / "models"
    shutil.copytree(tmp_path / "release" / "model_zoo" / name, models / name)
    shutil.copytree(Path(ZOO) / "ci", tmp_path / "zoo" / "ci")
    (models / "model_info.json").write_text("{}")
    (models / name / "eval").mkdir()  # where the zoo keeps the schema once it is downloaded
    shutil.copyfile(ROOT / "radimagenet_monai/collection/meta_schema.json", models / name / "eval" / "schema.json")
    config = ConfigParser.load_config_file(models / name / "configs" / "inference.json")
    network = ConfigParser(config | {"bundle_root": str(models / name)}).get_parsed_content("network_def")
    save_model(models / name / "models" / "model.pt", network, {"architecture": "resnet50", "weights": "random"})
    done = subprocess.run(
        [sys.executable, "ci/verify_bundle.py", "-b", name, "-m", "full"],
        cwd=tmp_path / "zoo",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "export weights into TorchScript module successfully" in done.stdout


def test_without_weights_there_is_no_list(trained: Path, tmp_path: Path) -> None:
    release_bundles(trained.parent, tmp_path / "release", url="https://example.org/r", weights="leave")
    assert not list((tmp_path / "release").rglob("large_files.yml"))
    assert not list((tmp_path / "release").rglob("*.pt"))


def test_a_bundle_from_the_zoo_is_released_again(trained: Path, tmp_path: Path) -> None:
    """Its list of large files belongs to it and is written again."""
    shutil.copyfile(trained / "LICENSE", trained / "large_files.yml")
    release_bundles(trained.parent, tmp_path / "release")
    assert not list((tmp_path / "release").rglob("large_files.yml"))


def test_requirements_are_names_and_versions_of_an_index() -> None:
    """The zoo installs ``name==version`` of each in an almost empty environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    tested |= {project["name"]: __version__}
    for metadata in BUNDLES.glob("*/configs/metadata.json"):
        content = json.loads(metadata.read_text())
        required = dict(content["required_packages_version"])
        required |= {"monai": content["monai_version"], "torch": content["pytorch_version"]}
        required |= {"numpy": content["numpy_version"]}
        assert {name: tested.get(name) for name in required} == required, metadata
        assert all(re.fullmatch(r"[\d.]+", version) for version in required.values()), "no local build such as +cpu"
