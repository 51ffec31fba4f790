"""Secrets planted in every address of a whole run, then searched in everything that the run left behind."""

from __future__ import annotations

import base64
import http.server
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

USER, PASSWORD, TOKEN = "planteduser", "plantedpassword", "plantedtoken"
SECRETS = (USER, PASSWORD, TOKEN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
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
            known = self.headers.get("Authorization") == f"Basic {SECRETS[3]}" and TOKEN in self.path
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


@pytest.mark.slow
def test_a_whole_run_leaves_no_secret_anywhere(archive_server, tmp_path):
    source = f"http://{USER}:{PASSWORD}@{archive_server}/set.zip?X-Signature={TOKEN}"
    weights = f"https://{USER}:{PASSWORD}@weights.example.org/vgg16.pth?token={TOKEN}"
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
    assert "secrets version 1 is champion" in done.stderr

    texts = {"standard output": done.stdout.encode(), "standard error": done.stderr.encode()}
    texts |= {str(path): path.read_bytes() for path in left.rglob("*") if path.is_file()}
    assert {"mlflow.db", "config.json", "source.json", "report.html", "manifest.json"} <= {
        Path(name).name for name in texts
    }
    found = [(name, secret) for name, data in texts.items() for secret in SECRETS if secret.encode() in data]
    assert not found
    # the search finds what is there: both addresses did come to be written, without their secrets
    addresses = (f"http://{archive_server}/set.zip", "https://weights.example.org/vgg16.pth")
    for address in addresses:
        assert sum(address.encode() in data for data in texts.values()) >= 3
    assert all(secret in given for secret in SECRETS[:3])
