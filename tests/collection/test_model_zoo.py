"""What MONAI's model zoo asks of a bundle: its folder without weights, their list with hashes, requirements."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
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
    release_bundles(trained.parent, tmp_path / "release", url="https://example.org/r")  # over an earlier one


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
