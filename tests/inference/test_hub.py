"""A model goes to the Hub and comes back by the real client; the Hub is a small server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cyclegan.errors import UsageError
from cyclegan.inference import hub
from cyclegan.inference.push import push
from cyclegan.inference.translator import load

pytest.importorskip("huggingface_hub")

TOKEN = "hf_only-for-this-test"
PHOTO = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)


class Hub(ThreadingHTTPServer):
    """Repositories in memory: files by name, and large ones by their SHA-256."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo: str) -> str:
        files = sorted(self.repos[repo].items())
        return hashlib.sha1(repr(files).encode(), usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code: str = "RepoNotFound") -> None:
        self.answer(404, {"error": "not found"}, X_Error_Code=code)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_PUT(self) -> None:
        data = self.body()
        assert hashlib.sha256(data).hexdigest() == self.path.removeprefix("/objects/")
        self.server.objects[hashlib.sha256(data).hexdigest()] = data
        self.answer(200)

    def do_POST(self) -> None:
        data, repos = self.body(), self.server.repos
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            asked = json.loads(data)
            repo = f"{asked['organization']}/{asked['name']}"
            self.server.private.setdefault(
                repo, asked.get("visibility") == "private" or asked.get("private", False)
            )
            repos.setdefault(repo, {})
            return self.answer(200, {"url": f"{self.server.address}/{repo}", "id": repo, "name": repo})
        if self.path == "/api/validate-yaml":
            front = json.loads(data)["content"].split("---\n")[1]
            return self.answer(
                200 if isinstance(yaml.safe_load(front), dict) else 400, {"errors": [], "warnings": []}
            )
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/objects/{one['oid']}"}}}
                for one in json.loads(data)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(data)["files"]
            ]
            return self.answer(200, {"files": files})
        assert "/commit/" in self.path
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repos[repo][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repos[repo][value["path"]] = self.server.objects[value["oid"]]
        oid = self.server.commit(repo)
        return self.answer(
            200,
            {"commitUrl": f"{self.server.address}/{repo}/commit/{oid}", "commitOid": oid, "success": True},
        )

    def do_GET(self) -> None:
        path = self.path.split("?")[0].split("/")
        repo = "/".join(path[3:5] if path[1] == "api" else path[1:3])
        files = self.server.repos.get(repo)
        if files is None:
            return self.missing()
        oid = self.server.commit(repo)
        if path[1] == "api":
            if path[6] not in {"main", oid}:
                return self.missing("RevisionNotFound")
            if path[5] == "tree":
                return self.answer(
                    200,
                    [
                        {
                            "type": "file",
                            "path": name,
                            "size": len(data),
                            "oid": hashlib.sha1(data).hexdigest(),
                        }
                        for name, data in files.items()
                    ],
                )
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, {"id": repo, "sha": oid, "siblings": siblings, "private": False})
        if path[4] not in {"main", oid}:
            return self.missing("RevisionNotFound")
        name = "/".join(path[5:])
        if name not in files:
            return self.missing("EntryNotFound")
        tag = f'"{hashlib.sha256(files[name]).hexdigest()}"'
        return self.answer(200, files[name], ETag=tag, X_Repo_Commit=oid)

    do_HEAD = do_GET


@pytest.fixture
def fake_hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def cyclegan(*commands: list[str], folder: Path, hub: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Several commands in one process, which ends with the largest of their codes; retries do not wait."""
    code = "import sys, time; from cyclegan.cli.main import main; time.sleep = lambda s: None\n"
    code += "sys.exit(max([main(list(a)) for a in %r]))"
    variables = os.environ | {
        "HF_ENDPOINT": hub, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "CYCLEGAN_TRACKING": "off",
    }  # fmt: skip
    command = [sys.executable, "-c", code % (commands,)]
    return subprocess.run(
        command, cwd=folder, env=variables | more, capture_output=True, text=True, timeout=120
    )


def test_a_model_goes_to_the_hub_and_comes_back(fake_hub: Hub, model: Path, tmp_path: Path) -> None:
    samples = tmp_path / "scores" / "samples"
    samples.mkdir(parents=True)
    for number in (1, 2, 10):
        for kind in ("input", "translation", "back"):
            Image.fromarray(PHOTO).save(samples / f"AtoB-{number}-{kind}.webp")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    upload = ["push", "hf://org/maps", "--model", str(model), "--license", "cc-by-4.0", "--private"]
    translate = ["translate", "hf://org/maps", "photo.png", "--precision", "fp32", "--engine", "torch"]
    back = [*translate, "--direction", "BtoA", "--out", "back.png"]
    done = cyclegan(upload, [*translate, "--out", "out.png"], back, folder=tmp_path, hub=fake_hub.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{fake_hub.address}/org/maps"
    assert fake_hub.private == {"org/maps": True}
    files = fake_hub.repos["org/maps"]
    assert set(files) == {
        "README.md", "config.json", "AtoB.safetensors", "BtoA.safetensors",
        "pictures/AtoB-1-input.webp", "pictures/AtoB-1-translation.webp",
        "pictures/AtoB-2-input.webp", "pictures/AtoB-2-translation.webp",
    }  # fmt: skip
    card = files["README.md"].decode()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc-by-4.0"
    assert 'load("hf://org/maps", "BtoA")' in card
    assert '| A → B | <img alt="input" src="pictures/AtoB-1-input.webp" width="256"> |' in card
    for name, direction in (("out.png", "AtoB"), ("back.png", "BtoA")):
        expected = load(model, direction, precision="fp32", engine="torch")(PHOTO)  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), expected)


def test_what_the_hub_refuses_is_a_sentence(fake_hub: Hub, model: Path, tmp_path: Path) -> None:
    def said(*commands: list[str], code: int, hub: str = fake_hub.address, token: str = TOKEN) -> str:
        done = cyclegan(*commands, folder=tmp_path, hub=hub, HF_TOKEN=token)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr and token not in done.stderr
        return done.stderr

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    fake_hub.repos["org/empty"] = {"README.md": b"nothing"}
    addresses = ("hf://org/none", "hf://org/empty@v9", "hf://org/empty")
    none, revision, empty = [["translate", address, "photo.png", "--out", "out.png"] for address in addresses]
    said_all = said(none, revision, empty, code=2).splitlines()
    lines = [line for line in said_all if not line.startswith("Loading ")]
    words = ("There is no model hf://org/none on the Hub", "no such revision", "it has no config.json")
    assert len(lines) == 3
    for line, expected in zip(lines, words, strict=True):
        assert expected in line
    assert "refused hf://org/maps" in said(
        ["push", "hf://org/maps", "--model", str(model)], code=1, token="hf_other"
    )
    assert "cannot be reached" in said(none, code=1, hub="http://127.0.0.1:9")


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("hf://name", "hf://a/b/c", "hf://a/b@", "https://x/a/b", "hf://../b@x y"):
        with pytest.raises(UsageError, match="is not a Hub address"):
            push("model", wrong, Path())
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cyclegan-pipeline\[hub\]'"):
        load("hf://org/name")
