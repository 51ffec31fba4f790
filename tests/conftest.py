"""Fixtures that every room's tests share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
# folders whose tests share fixtures that cost half a minute: all of one go to one worker
TOGETHER = {"integration"}
# what takes longest goes first, else one worker ends with it while the others have nothing left to do
LONGEST = (
    "integration",
    "training/checkpoints",
    "training/test_every_field.py",
    "training/test_loop.py",
    "registry/test_register.py",
    "registry/test_pairs.py",
    "evaluation/test_evaluate.py",
    "tracking/test_runs.py",
    "serving",
    "pipeline",
)

if "PYTEST_XDIST_WORKER" in os.environ:
    # the workers fill the cores; their threads would only fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file go to one worker, for they share fixtures; files are taken in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            folder = file.split("/")[1]
            return folder if folder in TOGETHER else file

    config.option.loadscopereorder = False  # by number of tests, which says nothing about their time
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests named by LONGEST first, in its order."""

    def place(item: pytest.Item) -> int:
        found = (i for i, name in enumerate(LONGEST) if item.nodeid.startswith(f"tests/{name}"))
        return next(found, len(LONGEST))

    items.sort(key=place)


def _folder_or_skip(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no {what} at hand: set {variable} to their folder")
    return folder


@pytest.fixture(autouse=True)
def _no_pipeline_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a component sets for its own process ends with the test that called it."""
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", "")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with maps.zip, monet2photo.zip, … of real images; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_DATA", ROOT.parent / "shared" / "data", "real images")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with real Inception and VGG-16 weights; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_WEIGHTS", ROOT.parent / "shared" / "weights", "real weights")


@pytest.fixture(scope="session", params=["moto", pytest.param("versitygw", marks=pytest.mark.slow)])
def _s3_endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "versitygw":
        from tests.s3_server import running

        with running(tmp_path_factory.mktemp("buckets"), "test", "test") as address:
            yield address
        return
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_is_moto(s3_server: str, request: pytest.FixtureRequest) -> None:
    """Skips where the server is another, whose store a test cannot reach past its API."""
    if request.node.callspec.params.get("_s3_endpoint") != "moto":
        pytest.skip("fills moto's store directly")


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


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the ONNX extra: seconds less a version, for tests of something else."""
    from cyclegan.registry import versions

    absent = {"onnxscript", "onnxruntime"}
    monkeypatch.setattr(versions, "find_spec", lambda name: None if name in absent else find_spec(name))


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `mlflow_server` keeps its database and, in `artifacts`, its artifacts."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def _mlflow_server(mlflow_folder: Path) -> Iterator[str]:
    folder = mlflow_folder
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        # its seven job runners would cost more than all the tests
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=variables, start_new_session=True
        )
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.2)
        else:
            pytest.fail("mlflow server ended:\n" + (folder / "log").read_text()[-2000:])
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def mlflow_server(_mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a real `mlflow server`, one for the whole session, which this test's runs go to."""
    for name in ("CYCLEGAN_TRACKING", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _mlflow_server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return _mlflow_server
