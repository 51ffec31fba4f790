"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder_or_skip(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no {what} at hand: set {variable} to their folder")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with maps.zip, monet2photo.zip, … of real images; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_DATA", ROOT.parent / "shared" / "data", "real images")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with real Inception and VGG-16 weights; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_WEIGHTS", ROOT.parent / "shared" / "weights", "real weights")


@pytest.fixture(scope="session")
def _s3_endpoint() -> Iterator[str]:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_server(_s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an S3 API server on loopback; AWS_* point to it for this test."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return _s3_endpoint


@pytest.fixture
def s3_bucket(s3_server: str) -> str:
    """The name of a new, empty bucket on `s3_server`."""
    import boto3

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
