"""Releases: the same bytes wherever and whenever they are made, with what belongs in them and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from released_bundle import ARCHIVE, BUNDLES, NAME

from radimagenet_monai.catalog.tasks import DATASETS, NOT_A_DEVICE, TASKS
from radimagenet_monai.collection.bundle_files import BundleError, parse_sums
from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.collection.versions import BUNDLE_VERSION
from radimagenet_monai.commands import bundles as commands
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.trained.model_file import save_model

pytestmark = pytest.mark.slow

OTHER = "radimagenet_resnet50_pretraining"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("source", [None, {"table": "t.csv", "reader": "csv"}, {"table": "t.csv", "reader": "busi"}])
def test_a_card_describes_the_data_that_the_weights_were_trained_on(
    bundle: Path, tmp_path: Path, source: dict[str, Any] | None
) -> None:
    """A template's dataset and limits go out only with weights that were trained on that dataset."""
    task = TASKS[NAME]
    facts = {"architecture": "resnet50", "weights": "random", "classes": ["benign", "malignant"]}
    facts |= {"source": source} if source else {}
    save_model(bundle / "models" / "model.pt", torch.nn.Linear(2, 1), facts)
    release_bundles(bundle.parent, tmp_path / "release")
    folder = tmp_path / "release" / "huggingface" / NAME
    published = source is not None and source["reader"] == "busi"
    described = [folder / "README.md", folder / "docs" / "README.md", folder / "docs" / "data_license.txt"]
    for path in (*described, folder / "configs" / "metadata.json"):
        text = path.read_text()
        assert (DATASETS["busi"].title in text) == published, path
        if not published:
            assert "BUSI" not in text, path
            assert not any(limit in text for limit in set(task.limits) - {NOT_A_DEVICE}), path
            assert task.title not in text, path
    if source and not published:
        assert "Data of whoever trained this model (t.csv, prepared by csv)" in described[1].read_text()
    assert "SHA-256" in described[1].read_text()
    assert verify_bundle(tmp_path / "release" / f"{NAME}_v{BUNDLE_VERSION}.zip") == []


def test_two_releases_of_one_state_are_the_same_bytes(tmp_path: Path) -> None:
    """From checkouts at other paths, of other times, under other umasks, with a time zone and a build time set."""
    found = []
    for number, (umask, clock, zone) in enumerate([(0o022, 1e9, "UTC"), (0o077, 1.7e9, "Asia/Kolkata")]):
        checkout = tmp_path / f"checkout {number}" / ("deeper" * number)
        before = os.umask(umask)
        try:
            for name in (NAME, OTHER):
                shutil.copytree(BUNDLES / name, checkout / name, ignore=shutil.ignore_patterns("output", "model.*"))
            torch.manual_seed(0)
            save_model(checkout / NAME / "models" / "model.pt", torch.nn.Linear(2, 1), {"weights": "random"})
            for path in checkout.rglob("*"):
                os.utime(path, (clock, clock))
                if path.is_file():
                    path.chmod(0o600 if number else 0o755)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SOURCE_DATE_EPOCH", str(int(clock)))
                patch.setenv("TZ", zone)
                release_bundles(checkout, tmp_path / f"release {number}", url="https://example.org/r")
        finally:
            os.umask(before)
        found.append(contents(tmp_path / f"release {number}"))
    assert len(found[0]) > 25
    assert found[0] == found[1]


def test_what_a_release_holds(release: Path) -> None:
    assert sorted(path.name for path in release.iterdir()) == sorted(
        [ARCHIVE, "SHA256SUMS", "huggingface", "model_info.json", "sbom.cdx.json"]
    )
    data = (release / ARCHIVE).read_bytes()
    assert parse_sums((release / "SHA256SUMS").read_text()) == {ARCHIVE: hashlib.sha256(data).hexdigest()}
    info = json.loads((release / "model_info.json").read_text())
    assert info == {
        f"{NAME}_v{BUNDLE_VERSION}": {"checksum": hashlib.sha1(data).hexdigest(), "source": ARCHIVE},
    }
    with zipfile.ZipFile(release / ARCHIVE) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.create_system, info.external_attr >> 16, info.compress_type) == (
                3,
                0o100644,
                zipfile.ZIP_STORED,
            )
        for name in names:
            original = BUNDLES / name
            if original.is_file():
                assert archive.read(name) == original.read_bytes()
        assert {name.split("/")[0] for name in names} == {NAME}
        assert f"{NAME}/SHA256SUMS" in names


def test_addresses_in_monais_list(bundle: Path, tmp_path: Path) -> None:
    release_bundles(bundle.parent, tmp_path / "release", url="https://example.org/download/0.1.0/")
    info = json.loads((tmp_path / "release" / "model_info.json").read_text())
    (entry,) = info.values()
    assert entry["source"] == f"https://example.org/download/0.1.0/{ARCHIVE}"


def test_repository_for_the_hub(release: Path) -> None:
    hub = release / "huggingface" / NAME
    card = (hub / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert (
        front
        == f"""license: apache-2.0
library_name: monai
pipeline_tag: image-classification
tags:
- "monai"
- "radimagenet"
- "radiology"
- "medical"
- "classification"
- "us"
- "untrained"
model_name: "{NAME}"
inference: false
"""
    )
    assert body.strip() == (BUNDLES / NAME / "docs" / "README.md").read_text(encoding="utf-8").strip()
    assert "*.pt filter=lfs" in (hub / ".gitattributes").read_text()
    assert ConfigParser.load_config_file(hub / "configs" / "train.json")["classes"]


def test_what_runs_leave_behind_is_not_released(trained: Path, tmp_path: Path) -> None:
    for path in (
        "output/checkpoint.pt",
        "output/run.json",
        "eval/a.csv",
        "models/.model.pt.abc.part",
        "__pycache__/a.pyc",
    ):
        (trained / path).parent.mkdir(exist_ok=True, parents=True)
        (trained / path).write_bytes(b"x")
    (archive,) = release_bundles(trained.parent, tmp_path / "release")
    with zipfile.ZipFile(archive) as opened:
        names = {name.removeprefix(f"{NAME}/") for name in opened.namelist()}
    allowed = re.compile(
        r"LICENSE|SHA256SUMS|configs/\w+\.(json|conf)|docs/\w+\.(md|txt)|models/(\.gitkeep|model\.(pt|json))"
    )
    assert all(allowed.fullmatch(name) for name in names)
    assert {"models/model.pt", "models/model.json"} <= names


@pytest.mark.parametrize(
    "path", ["notes.txt", "scripts/__init__.py", "models/model.ts", "docs/patient.dcm", "models/best.pt"]
)
def test_a_file_that_is_no_part_of_a_bundle_is_refused_by_name(path: str, bundle: Path, tmp_path: Path) -> None:
    (bundle / path).parent.mkdir(exist_ok=True)
    (bundle / path).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"{path.split('/')[0] if 'scripts' in path else path} is "):
        release_bundles(bundle.parent, tmp_path / "release")
    assert not (tmp_path / "release").exists()


def test_weights_are_stated_where_there_are_any(trained: Path, tmp_path: Path) -> None:
    (archive,) = release_bundles(trained.parent, tmp_path / "release")
    assert verify_bundle(archive) == []
    card = (tmp_path / "release" / "huggingface" / NAME / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((trained / "models" / "model.pt").read_bytes()).hexdigest()
    assert (
        "| Weights in this bundle | `models/model.pt` (architecture resnet50; started from random), "
        f"SHA-256 `{digest}` |" in card
    )
    assert "untrained" not in card
    terms = (tmp_path / "release" / "huggingface" / NAME / "docs" / "data_license.txt").read_text()
    assert "no weights" not in terms
    assert "It holds weights in models/" in terms


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("resnet50.radimagenet_torch", "derive from RadImageNet"),
        ("/home/jane/RadImageNet/model.pt", "derive from RadImageNet"),
        ("/home/jane/own.pt", r"unknown origin \(own.pt\)"),
    ],
)
def test_contested_weights_need_a_decision(origin: str, reason: str, trained: Path, tmp_path: Path) -> None:
    save_model(trained / "models" / "model.pt", torch.nn.Linear(2, 1), {"weights": origin})
    with pytest.raises(BundleError, match=f"its weights .*{reason}.*--weights leave"):
        release_bundles(trained.parent, tmp_path / "release")
    release_bundles(trained.parent, tmp_path / "release", weights="leave")
    assert not list((tmp_path / "release").rglob("model.pt"))
    release_bundles(trained.parent, tmp_path / "release", weights="include")
    released = tmp_path / "release" / "huggingface" / NAME / "models" / "model.json"
    assert json.loads(released.read_text())["weights"] == origin.split("/")[-1], (
        "paths of this machine are not published"
    )


def test_weights_of_pretraining_are_contested_whatever_they_started_from(tmp_path: Path) -> None:
    copy = shutil.copytree(BUNDLES / OTHER, tmp_path / "bundles" / OTHER, ignore=shutil.ignore_patterns("model.*"))
    save_model(copy / "models" / "model.pt", torch.nn.Linear(2, 1), {"weights": "random"})
    with pytest.raises(BundleError, match="derive from RadImageNet"):
        release_bundles(copy.parent, tmp_path / "release")


def test_a_bundle_that_does_not_verify_is_not_released(bundle: Path, tmp_path: Path) -> None:
    config = bundle / "configs" / "train.json"
    config.write_text(config.read_text().replace('"val_interval": 1', '"val_interval": "$exit()"'))
    with pytest.raises(BundleError, match=r"is not released, because .*val_interval"):
        release_bundles(bundle.parent, tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir()] == ["bundles"]


def test_only_an_earlier_release_is_overwritten(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    release_bundles(bundle.parent, out)
    before = contents(out)
    (out / "old_v0.0.1.zip").write_bytes(b"x")
    release_bundles(bundle.parent, out)
    assert contents(out) == before
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="is not an earlier release"):
        release_bundles(bundle.parent, out)
    assert (out / "thesis.tex").exists()


def test_unknown_names(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"holds no bundle 'other'; there are {NAME}"):
        release_bundles(bundle.parent, tmp_path / "release", ["other"])
    with pytest.raises(ConfigurationError, match="holds no bundle; write them"):
        release_bundles(tmp_path / "nothing", tmp_path / "release")
    with pytest.raises(ConfigurationError, match="expected one of auto, include, leave"):
        commands.release(out=str(tmp_path / "release"), bundles=str(bundle.parent), weights="perhaps")


def test_command(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.release(NAME, out=str(tmp_path / "release"), bundles=str(bundle.parent))
    assert capsys.readouterr().out == f"{tmp_path / 'release' / ARCHIVE}\n"
