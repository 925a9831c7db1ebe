"""MONAI's own ways to get a bundle, on the files of a release: from a web server, and from a hub on this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import monai.bundle
import pytest
import torch
from released_bundle import ARCHIVE, BUNDLES, NAME

from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

ORGANIZATION = "someone"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VERSION_TAG = "0.1.0"


@pytest.fixture(scope="module")
def released_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with a network's weights."""
    folder = tmp_path_factory.mktemp("model")
    bundle = shutil.copytree(
        BUNDLES / NAME, folder / "bundles" / NAME, ignore=shutil.ignore_patterns("output", "model.*")
    )
    torch.manual_seed(0)
    network = build_classifier("densenet121", num_classes=2)
    save_model(bundle / "models" / "model.pt", network, {"architecture": "densenet121", "weights": "random"})
    release_bundles(bundle.parent, folder / "release")
    return folder / "release"


@pytest.mark.filterwarnings("ignore:No hash value provided")  # what MONAI says of every download of a bundle
def test_monai_downloads_and_loads_from_a_web_server(
    released_model: Path, serve: Callable[..., str], tmp_path: Path
) -> None:
    monai.bundle.download(name=NAME, bundle_dir=tmp_path, url=f"{serve(released_model)}/{ARCHIVE}", progress=False)
    assert verify_bundle(tmp_path / NAME) == []
    network = monai.bundle.load(
        NAME, bundle_dir=tmp_path, workflow_type="inference", net_override={"architecture": "densenet121"}, device="cpu"
    )
    state = torch.load(released_model / "huggingface" / NAME / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def hub_handler(hub: Path, asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    """The routes of the Hugging Face hub that a download of a model repository needs."""

    class Hub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            asked.append(self.path)
            if parts[:2] == ["api", "models"]:
                self.answer_api("/".join(parts[2:4]), parts[4:])
            elif len(parts) > 4 and parts[0] == ORGANIZATION and parts[2] == "resolve":
                self.answer_file(hub / parts[1] / "/".join(parts[4:]))
            else:
                self.answer(404, b"{}")

        def answer_api(self, repository: str, rest: list[str]) -> None:
            folder = hub / repository.split("/")[1]
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            names = [path.relative_to(folder).as_posix() for path in files]
            if rest[:1] == ["refs"]:
                refs = {"name": VERSION_TAG, "ref": f"refs/tags/{VERSION_TAG}", "targetCommit": COMMIT}
                content: object = {"branches": [], "converts": [], "tags": [refs]}
            elif rest[:1] == ["tree"]:
                content = [
                    {
                        "type": "file",
                        "path": name,
                        "size": path.stat().st_size,
                        "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
                    }
                    for name, path in zip(names, files, strict=True)
                ]
            elif not rest or rest == ["revision", VERSION_TAG] or rest == ["revision", COMMIT]:
                content = {
                    "_id": "1", "id": repository, "modelId": repository, "sha": COMMIT, "private": False,
                    "tags": [], "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in names],
                }  # fmt: skip
            else:
                self.answer(404, b"{}")
                return
            self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def answer_file(self, path: Path) -> None:
            if not path.is_file():
                self.answer(404, b"{}")
                return
            data = path.read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            self.answer(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

        def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    return Hub


LOAD = """
import json, sys
import monai.bundle
from radimagenet_monai.collection.verify import verify_bundle
name, repository, folder = sys.argv[1:]
network = monai.bundle.load(
    name, bundle_dir=folder, source="huggingface_hub", repo=repository, workflow_type="inference",
    net_override={"architecture": "densenet121"}, device="cpu", progress=False,
)
print(json.dumps({"sum": sum(float(t.double().sum()) for t in network.state_dict().values()),
                  "problems": verify_bundle(f"{folder}/{name}")}))
"""


@pytest.mark.long  # a process of its own, because huggingface_hub reads HF_ENDPOINT when it is imported
def test_monai_loads_from_a_hub(released_model: Path, serve: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    asked: list[str] = []
    address = serve(handler=hub_handler(released_model / "huggingface", asked))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, NAME, f"{ORGANIZATION}/{NAME}", str(tmp_path / "bundles")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
    )
    assert done.returncode == 0, (done.stderr[-3000:], asked)
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["problems"] == []
    state = torch.load(released_model / "huggingface" / NAME / "models" / "model.pt", weights_only=True)
    assert result["sum"] == pytest.approx(sum(float(tensor.double().sum()) for tensor in state.values()))
    assert any("/resolve/" in path for path in asked)
