"""A released bundle, with small trained weights and without, and a web server of this process for it."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from released_bundle import BUNDLES, NAME

from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.engine.trained.model_file import save_model


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A working copy of a bundle, as in the repository."""
    return Path(shutil.copytree(BUNDLES / NAME, tmp_path / "bundles" / NAME, ignore=shutil.ignore_patterns("output")))


@pytest.fixture
def trained(bundle: Path) -> Path:
    """The same with weights of a network small enough to be hashed in no time."""
    save_model(bundle / "models" / "model.pt", torch.nn.Linear(2, 1), {"architecture": "resnet50", "weights": "random"})
    return bundle


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of one bundle, not to be changed."""
    out = tmp_path_factory.mktemp("released") / "release"
    release_bundles(BUNDLES, out, [NAME], weights="leave")
    return out


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a folder, or a request handler, on this machine; gives the address."""
    servers = []

    def start(folder: Path | None = None, handler: type[http.server.BaseHTTPRequestHandler] | None = None) -> str:
        chosen = handler or functools.partial(_QuietHandler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), chosen)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nothing: tests check answers, not the log."""
