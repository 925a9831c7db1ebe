"""MONAI Label's own server in a process of its own, which writes down every address that it connects to."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from radimagenet_monai.integrations.monai_label import server_process

_WATCHED = """
import runpy, sys
def note(event, arguments):
    if event == "socket.connect":
        with open({log!r}, "a") as file:
            file.write(repr(arguments[1]) + chr(10))
sys.addaudithook(note)
sys.argv = ["monailabel", *sys.argv[1:]]
runpy.run_module("monailabel.main", run_name="__main__", alter_sys=True)
"""


class Server:
    """Requests to a running server."""

    def __init__(self, address: str, log: Path, connections: Path) -> None:
        self.address = address
        self.log = log
        self.connections = connections

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        answer = requests.request(method, f"{self.address}/{path}", timeout=600, **arguments)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}\n{self.log_end()}"
        return answer

    def infer(self, model: str, image: str | Path, output: str, **parameters: Any) -> requests.Response:
        where = {"image": str(image), "output": output}
        return self.send("POST", f"infer/{model}", params=where, data={"params": json.dumps(parameters)})

    def probabilities(self, model: str, image: str | Path) -> dict[str, float]:
        found = self.infer(model, image, "json").json()["prediction"]
        return {entry["label"]: entry["score"] for entry in found}

    def save_label(self, image: str, name: str, content: bytes) -> None:
        self.send("PUT", "datastore/label", params={"image": image}, files={"label": (name, content)})

    def train(self, model: str, **parameters: Any) -> None:
        self.send("POST", f"train/{model}", params={"run_sync": "true"}, json={"device": "cpu", **parameters})

    def wait_for_scoring(self) -> None:
        """The server scores by itself after each training, in a process of its own."""
        running = {"check_if_running": "true"}
        while requests.get(f"{self.address}/scoring/", params=running, timeout=600).status_code == 200:
            time.sleep(0.5)

    def wait_for_log(self, text: str) -> None:
        """The server logs an error after it has answered."""
        until = time.monotonic() + 60
        while text not in self.log.read_text():
            assert time.monotonic() < until, self.log_end()
            time.sleep(0.2)

    def connected_to(self) -> set[str]:
        return set(self.connections.read_text().splitlines()) if self.connections.exists() else set()

    def log_end(self) -> str:
        return self.log.read_text()[-3000:]


@contextmanager
def running(app: Path, studies: Path, models: Sequence[str] = ()) -> Iterator[Server]:
    """A server on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments, environment = server_process(app, str(studies), models, port=port)
    log, connections = app / "server.txt", app / "connections.txt"
    watched = [arguments[0], "-c", _WATCHED.format(log=str(connections)), *arguments[3:]]
    server = Server(f"http://127.0.0.1:{port}", log, connections)
    with log.open("w") as out:
        process = subprocess.Popen(
            watched,
            env={**environment, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=app,
        )
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: subprocess.Popen, server: Server) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, server.log_end()
        try:
            requests.get(f"{server.address}/info/", timeout=60)
        except requests.ConnectionError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(server.log_end())
