"""Secrets planted in addresses and variables of whole runs, then searched in all that is left.

`tests/pipeline/test_run.py` does the same with the compiled pipeline.
"""

from __future__ import annotations

import base64
import http.server
import io
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cyclegan.cli.main import main
from cyclegan.io import download, s3
from tests.integration.conftest import leave
from tests.io.test_uri import SECRET, addresses_with_a_password, addresses_with_a_token

USER, PASSWORD, TOKEN = "planteduser", "planted/pass?word#1", "plantedtoken"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"
SECRETS = (USER, PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), TOKEN, BASIC)
SMALL = """
fetch: {{source: '{source}'}}
preprocess: {{load_size: 32}}
train: {{generator: resnet, blocks: 1, width: 4, discriminator_width: 4, discriminator_layers: 1,
  crop_size: 32, epochs: 1, decay_epochs: 0, device: cpu, weights: '{weights}'}}
evaluate: {{features: random, resamples: 0, examples: 1}}
register: {{name: secrets}}
"""


@pytest.fixture
def archive_server() -> Iterator[str]:
    """host:port of a server that gives a small dataset to who has the password and the token."""
    buffer, random = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(buffer, "w") as archive:
        for folder in ("trainA", "trainB", "testA", "testB"):
            for i in range(3):
                picture = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(picture, "PNG")
                archive.writestr(f"set/{folder}/{i}.png", picture.getvalue())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Basic {BASIC}" and TOKEN in self.path
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(buffer.getvalue()) if known else 0))
            self.end_headers()
            if known:
                self.wfile.write(buffer.getvalue())

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leaks(texts: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, secret) for name, data in texts.items() for secret in SECRETS if secret.encode() in data]


@pytest.mark.slow
def test_a_whole_run_leaves_no_secret_anywhere(archive_server, tmp_path):
    source = f"http://{LOGIN}@{archive_server}/set.zip?X-Signature={TOKEN}"
    weights = f"https://{LOGIN}@weights.example.org/vgg16.pth?token={TOKEN}"
    (tmp_path / "params.yaml").write_text(SMALL.format(source=source, weights=weights))
    given = (tmp_path / "params.yaml").read_text()
    left = tmp_path / "left"
    left.mkdir()
    variables = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{left}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "secrets",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "CYCLEGAN_TRACKING": "",
    }
    for name in ("MLFLOW_RUN_ID", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID"):
        variables.pop(name, None)
    command = [
        sys.executable,
        "-m",
        "cyclegan",
        "run",
        "--params",
        str(tmp_path / "params.yaml"),
        "--out",
        "out",
    ]
    done = subprocess.run(command, cwd=left, env=variables, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    assert "secrets-AtoB version 1 and secrets-BtoA version 1 are champion" in done.stderr

    texts = {"standard output": done.stdout.encode(), "standard error": done.stderr.encode()} | files(left)
    assert {"mlflow.db", "config.json", "source.json", "report.html", "manifest.json"} <= {
        Path(name).name for name in texts
    }
    assert not leaks(texts)
    # the search finds what is there: both addresses did come to be written, without their secrets
    addresses = (f"http://{archive_server}/set.zip", "https://weights.example.org/vgg16.pth")
    for address in addresses:
        assert sum(address.encode() in data for data in texts.values()) >= 3
    assert LOGIN in given and TOKEN in given


def variables_of(server: str, **more: str) -> dict[str, str]:
    """What a user has in the environment, with secrets."""
    return {
        "CYCLEGAN_TRACKING": "",
        "MLFLOW_TRACKING_URI": server.replace("://", f"://{LOGIN}@"),
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "HF_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    } | more


@pytest.mark.slow
def test_dvc_leaves_no_secret_anywhere(
    clone: Callable[[], Path], run: Callable[..., str], mlflow_server: str, mlflow_folder: Path
) -> None:
    project = clone()
    variables = variables_of(mlflow_server, MLFLOW_EXPERIMENT_NAME="dvc secrets")
    said = run(project, "sh", "-c", "dvc repro --pull 2>&1", **variables)
    texts = {"said": said.encode()} | files(project) | files(mlflow_folder)
    assert '"passed": true' in (project / "outputs" / "registration.json").read_text()
    assert (
        str(mlflow_folder / "mlflow.db") in texts
        and b"dvc secrets" in texts[str(mlflow_folder / "mlflow.db")]
    )
    assert not leaks(texts)


@pytest.mark.slow
def test_a_served_model_shows_no_secret(mlflow_server: str, world: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    leave(world, MlflowClient(), "served", "mlflow-artifacts:/served", tmp_path)
    command = [
        sys.executable,
        "-m",
        "cyclegan",
        "serve",
        "models:/served",
        "--port",
        "0",
        "--engine",
        "torch",
    ]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=file, stderr=file, env=os.environ | variables_of(mlflow_server)
        )
    try:
        while not (found := re.search(r"Serving at (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        answers = {
            path: ask(f"{found[1]}{path}", body)
            for path, body in {
                "/": None,
                "/openapi.json": None,
                "/v2": None,
                "/v2/health/ready": None,
                "/v2/models/served-AtoB": None,
                "/v2/models/none": None,
                "/v2/models/served-AtoB/infer": b"{}",
                "/translate": b"no picture",
                "/metrics": None,
            }.items()
        }
    finally:
        process.kill()
        process.wait()
    assert b"served-AtoB" in answers["/v2/models/served-AtoB"]
    assert not leaks(answers | {"log": log.read_bytes()})


def ask(address: str, body: bytes | None) -> bytes:
    """Headers and body of an answer, whatever its status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=60) as answer:
            return str(answer.headers).encode() + answer.read()
    except urllib.error.HTTPError as error:
        return str(error.headers).encode() + error.read()


COMMANDS = {
    "fetch": ["fetch", "ADDRESS", "--out", "out"],
    "inspect": ["inspect", "ADDRESS", "--report", "out.html"],
    "evaluate": [
        "evaluate",
        "--prepared",
        "prepared",
        "--model",
        "model",
        "--out",
        "out",
        "--weights=ADDRESS",
    ],
    "translate": ["translate", "ADDRESS", "raw/testA", "--out", "out"],
    "translate to": ["translate", "model", "raw/testA", "--out=ADDRESS", "--engine", "torch"],
    "card": ["card", "ADDRESS", "--out", "out.md"],
    "export": ["export", "ADDRESS", "--out", "out"],
    "import-weights": ["import-weights", "--AtoB=ADDRESS", "--BtoA", "net.pth", "--out", "out"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_a_secret_of_an_address_that_does_not_work(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.0)
    said = []

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(addresses_with_a_password(), addresses_with_a_token()))
    def try_one(address: str) -> None:
        code: Any
        try:
            code = main([word.replace("ADDRESS", address) for word in COMMANDS[command]])
        except SystemExit as end:  # the parser's
            code = end.code
        out, err = capfd.readouterr()
        said.append(code)
        assert SECRET not in out + err

    try_one()
    assert len(said) >= 20 and set(said) & {1, 2}
    assert not [name for name, data in files(here).items() if SECRET.encode() in data]
