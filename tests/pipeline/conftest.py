"""A stand-in for the Kubeflow Pipelines API server: just enough of it to take a pipeline and a run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

NOW = "2026-01-01T00:00:00Z"


@dataclass
class KfpServer:
    """Where it listens, what it was sent, and how it behaves."""

    url: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    version: str = "2.17.0"
    multi_user: bool = False
    token: str = ""
    """Where set, every request must carry it."""
    refusal: dict[str, Any] = field(default_factory=dict)
    """Where set, the answer to a run."""
    progress: list[dict[str, Any]] = field(default_factory=list)
    """States that a run goes through, one each time it is asked for."""
    logs: dict[str, str] = field(default_factory=dict)
    broken: int = 0
    """How often it fails with 503 when it is asked for a run."""
    silent: float = 0.0
    """Seconds before it answers when it is asked for a run."""

    def sent_file(self) -> list[dict[str, Any]]:
        """The documents of the newest uploaded version."""
        return list(yaml.load_all(self.versions[-1]["file"], Loader=yaml.CSafeLoader))


class _Handler(BaseHTTPRequestHandler):
    state: KfpServer

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, value: Any, status: int = 200) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refused(self) -> bool:
        if self.state.token and self.headers.get("Authorization") != f"Bearer {self.state.token}":
            self._answer({"error": "who are you?", "code": 16}, 401)
            return True
        return False

    def do_GET(self) -> None:
        if self._refused():
            return
        state, path = self.state, urlsplit(self.path).path
        wanted = json.loads(parse_qs(urlsplit(self.path).query).get("filter", ["{}"])[0])
        names = [predicate["stringValue"] for predicate in wanted.get("predicates", [])]

        def matching(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [item for item in items if not names or item["display_name"] in names]

        if path.endswith("/healthz"):
            self._answer({"multi_user": state.multi_user, "tag_name": state.version})
        elif path.endswith("/experiments"):
            self._answer({"experiments": matching(state.experiments)})
        elif path.endswith("/pipelines"):
            self._answer({"pipelines": matching(state.pipelines)})
        elif path.endswith("/versions"):
            shown = [{k: v for k, v in item.items() if k != "file"} for item in matching(state.versions)]
            self._answer({"pipeline_versions": shown})
        elif path.endswith("/log"):
            self._answer(state.logs.get(path.split("/")[-2], ""))
        elif "/runs/" in path and state.silent:
            time.sleep(state.silent)
        elif "/runs/" in path and state.broken:
            state.broken -= 1
            self._answer({"error": "no healthy upstream"}, 503)
        elif runs := [run for run in state.runs if path.endswith(f"/runs/{run['run_id']}")]:
            now = state.progress.pop(0) if len(state.progress) > 1 else (state.progress or [{}])[0]
            self._answer(runs[0] | now)
        else:
            self._answer({"error": f"no {path}"}, 404)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self._refused():
            return None
        state, path = self.state, urlsplit(self.path).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if path.endswith("/upload_version"):
            made = {
                "pipeline_id": query["pipelineid"],
                "pipeline_version_id": f"v{len(state.versions)}",
                "display_name": query.get("display_name", query["name"]),
                "description": query.get("description", ""),
                "created_at": NOW,
            }
            state.versions.append(
                made | {"file": _uploaded(data), "tags": json.loads(query.get("tags", "{}"))}
            )
            return self._answer(made)
        body = json.loads(data)
        if path.endswith("/experiments"):
            body |= {"experiment_id": f"e{len(state.experiments)}", "created_at": NOW}
            state.experiments.append(body)
        elif path.endswith("/pipelines"):
            body |= {"pipeline_id": f"p{len(state.pipelines)}", "created_at": NOW}
            state.pipelines.append(body)
        elif path.endswith("/recurringruns"):
            body |= {"recurring_run_id": f"s{len(state.recurring)}", "created_at": NOW}
            state.recurring.append(body)
        elif path.endswith("/runs"):
            if state.refusal:
                return self._answer(state.refusal, 400)
            body |= {"run_id": f"r{len(state.runs)}", "created_at": NOW, "state": "PENDING"}
            state.runs.append(body)
        return self._answer(body)


def _uploaded(data: bytes) -> str:
    """The file in a multipart body of one part."""
    _, _, rest = data.partition(b"\r\n\r\n")
    return rest[: rest.rindex(b"\r\n--")].decode()


@pytest.fixture
def kfp_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpServer]:
    """A Kubeflow Pipelines API on loopback; KFP_ENDPOINT names it."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state = KfpServer(url=f"http://127.0.0.1:{server.server_port}")
    handler.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in ("KFP_NAMESPACE", "KFP_EXISTING_TOKEN", "KFP_COOKIES", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
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
