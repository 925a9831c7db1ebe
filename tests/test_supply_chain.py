"""Tested versions: above the floors, with hashes, and in the bill of materials of a release."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from radimagenet_monai.collection.sbom import bill_of_materials

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TESTED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
}


def test_tested_versions_are_above_the_floors() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    listed = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    for line in [*listed, *(item for extra in extras for item in extra)]:
        requirement = Requirement(line)
        version = TESTED[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{line}, but {version} was tested"


def test_floors_are_above_known_vulnerabilities() -> None:
    """CVE-2025-68146 and 2026-22701 (filelock), 2025-48379 (pillow), 2025-27516 (jinja2), 2024-34062 (tqdm)."""
    floors = {Requirement(line).name: Requirement(line).specifier for line in PROJECT["project"]["dependencies"]}
    for name, vulnerable in {"filelock": "3.20.2", "pillow": "11.2.1", "jinja2": "3.1.5", "tqdm": "4.66.2"}.items():
        assert not floors[name].contains(vulnerable), name


def test_every_tested_version_has_its_hashes() -> None:
    path = ROOT / "constraints-hashes.txt"
    text = path.read_text(encoding="utf-8")
    entry = re.compile(r"^([\w.-]+)==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", re.MULTILINE)
    hashed = {canonicalize_name(name): version for name, version in entry.findall(text)}
    assert hashed == {name: version for name, version in TESTED.items() if name != "torch"}, "run 'make hashes'"
    assert "://" not in text
    assert path.stat().st_size < 1_000_000


def test_the_bill_of_materials_is_what_is_installed() -> None:
    content = bill_of_materials({"a.zip": "0" * 64})
    assert content["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    libraries = {item["name"]: item for item in content["components"] if item["type"] == "library"}
    assert {"monai", "torch", "numpy", "pydicom", "pillow"} <= libraries.keys()
    for name, item in libraries.items():
        assert item["version"] == metadata.version(name)
        assert item["purl"].startswith(f"pkg:pypi/{name}@")
    references = {item["bom-ref"] for item in [content["metadata"]["component"], *content["components"]]}
    assert len(references) == len(content["components"]) + 1
    assert {item["ref"] for item in content["dependencies"]} | {"a.zip"} == references
    assert all(set(item["dependsOn"]) <= references for item in content["dependencies"])
    assert content == bill_of_materials({"a.zip": "0" * 64})
