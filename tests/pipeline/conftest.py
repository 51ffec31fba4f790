"""A stand-in for the Kubeflow Pipelines API server: just enough of it to take a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NOW = "2026-01-01T00:00:00Z"


@dataclass
class KfpServer:
    """Where it listens, and the runs that it was sent."""

    url: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    state: KfpServer

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.endswith("/healthz"):
            self._answer({"multi_user": False})
        elif path.endswith("/experiments"):
            self._answer({"experiments": self.state.experiments})
        elif runs := [run for run in self.state.runs if path.endswith(f"/runs/{run['run_id']}")]:
            self._answer(runs[0])
        else:
            self._answer({"error": f"no {path}"}, 404)

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if path.endswith("/experiments"):
            body |= {"experiment_id": f"e{len(self.state.experiments)}", "created_at": NOW}
            self.state.experiments.append(body)
        elif path.endswith("/runs"):
            body |= {"run_id": f"r{len(self.state.runs)}", "created_at": NOW, "state": "PENDING"}
            self.state.runs.append(body)
        self._answer(body)


@pytest.fixture
def kfp_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """A Kubeflow Pipelines API on loopback; KFP_ENDPOINT names it."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state = KfpServer(url=f"http://127.0.0.1:{server.server_port}")
    handler.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("KFP_ENDPOINT", state.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with two small generators of random weights."""
    from cyclegan.model import DIRECTIONS, save_model
    from cyclegan.networks import build_generator

    options = {"blocks": 1, "width": 4}
    folder = tmp_path_factory.mktemp("tiny") / "model"
    generators = {direction: build_generator("resnet", **options) for direction in DIRECTIONS}
    save_model(folder, generators, {"generator": {"name": "resnet", **options}, "image_size": 32})
    return folder
