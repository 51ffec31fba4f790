"""The image for real: the compiled pipeline in containers, against a real MLflow server and S3 API.

Skips unless CYCLEGAN_TEST_IMAGE names a built image; `make test-containers` builds one and sets it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclegan.errors import CycleGANError

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "data_source": "synthetic:city?train=16&test=4&size=32",
    "data_version": "",
    "preprocess_load_size_px": 32,
    "train_epochs": 2,
    "train_decay_epochs": 0,
    "train_batch_size": 2,
    "train_options": {"blocks": 1, "width": 8, "discriminator_width": 8, "sample_every": 0},
    "evaluate_options": {"resamples": 0},
    "evaluate_features": "random",
    "register_name": "contained",
}


@pytest.fixture(scope="module")
def image() -> str:
    name = os.environ.get("CYCLEGAN_TEST_IMAGE", "")
    if not name:
        pytest.skip("CYCLEGAN_TEST_IMAGE names no image: run `make test-containers`")
    return name


@pytest.fixture(scope="module")
def engine(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A docker client: of the engine that answers, else of a podman service started for these tests."""
    docker = pytest.importorskip("docker")
    service = None
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        if not shutil.which("podman"):
            pytest.skip("neither docker nor podman is at hand")
        socket = tmp_path_factory.mktemp("engine") / "podman.sock"
        service = subprocess.Popen(["podman", "system", "service", "--time=0", f"unix://{socket}"])
        os.environ["DOCKER_HOST"] = f"unix://{socket}"
        while not socket.exists():
            time.sleep(0.1)
    client = docker.from_env()
    assert client.ping()
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")  # two threads on a busy machine wait for each other
    _let_podman_say_not_found(patch)
    yield client
    patch.undo()
    client.close()
    if service:
        del os.environ["DOCKER_HOST"]
        service.terminate()
        service.wait()


def _let_podman_say_not_found(patch: pytest.MonkeyPatch) -> None:
    """KFP expects 404 where a container ended and was removed before it asked; podman 4 answers 500."""
    from docker.api.container import ContainerApiMixin
    from docker.errors import APIError, NotFound

    def translated(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except APIError as error:
                if "no such container" in str(error):
                    raise NotFound(str(error)) from None
                raise

        return call

    for name in ("logs", "wait", "inspect_container"):
        patch.setattr(ContainerApiMixin, name, translated(getattr(ContainerApiMixin, name)))


def _run(image: str, folder: Path, checkpoints: str, **arguments: Any) -> Path:
    from pipeline.local import run

    os.environ["KFP_RUN_ID"] = folder.name
    try:
        values = TINY | {"train_checkpoints": checkpoints} | arguments
        return run(ROOT / "pipeline" / "cyclegan.yaml", values, folder, image=image)
    finally:
        del os.environ["KFP_RUN_ID"]


def _weights(folder: Path) -> list[bytes]:
    (model,) = [m for m in folder.glob("**/train/model") if (m / "config.json").exists()]
    return [(model / f"{direction}.safetensors").read_bytes() for direction in ("AtoB", "BtoA")]


def _inside(engine: Any, image: str, script: str, **options: Any) -> str:
    options = {"remove": True, "network_mode": "host"} | options
    return engine.containers.run(image, ["sh", "-ec", script], **options).decode()


def test_any_user_can_work_in_it_and_no_tools_are_left(engine: Any, image: str) -> None:
    script = "id -u; touch here $HOME/there; cyclegan --help | head -1; ! command -v gcc && ! command -v uv"
    for user, uid in ((None, "1000"), ("123456:0", "123456")):
        lines = _inside(engine, image, script, user=user).splitlines()
        assert lines[0] == uid
        assert lines[1].startswith("usage: cyclegan")
    imports = "import boto3, imagecodecs, pillow_heif, importlib.util as u; assert not u.find_spec('dvc')"
    _inside(engine, image, f'python -c "{imports}"')
    labels = engine.images.get(image).labels
    assert labels["org.opencontainers.image.version"]
    assert "org.opencontainers.image.revision" in labels


def test_the_pipeline_in_containers_through_both_branches_of_the_gate(
    engine: Any, image: str, mlflow_server: str, s3_bucket: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    checkpoints = f"s3://{s3_bucket}/checkpoints"
    shut = _run(image, tmp_path / "shut", checkpoints, gate_max_score=1e-9)
    (refused,) = shut.glob("**/register/registration")
    assert json.loads(refused.read_text())["versions"] == {}
    opened = _run(image, tmp_path / "open", checkpoints, gate_max_score=0.0)
    (registration,) = opened.glob("**/register/registration")
    decision = json.loads(registration.read_text())
    assert decision["versions"] == {"AtoB": "1", "BtoA": "1"}
    version = MlflowClient(mlflow_server).get_model_version_by_alias("contained-AtoB", "champion")
    assert version.run_id == decision["run_id"]
    # the second run found the first one's finished training in S3
    assert _weights(shut) == _weights(opened)


def test_a_killed_training_goes_on_from_s3_to_the_same_weights_as_on_the_host(
    engine: Any, image: str, mlflow_server: str, s3_bucket: str, tmp_path: Path
) -> None:
    from cyclegan.io.storage import open_store

    choice = {"gate_max_score": 1e-9, "train_epochs": 8}
    killed: list[str] = []

    def kill() -> None:
        store = open_store(f"s3://{s3_bucket}/killed")
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and not store.list():
            time.sleep(0.1)
        for container in engine.containers.list():
            if container.attrs["Config"]["Image"] == image or image in container.image.tags:
                container.kill("SIGKILL")
                killed.append(container.id)

    watcher = threading.Thread(target=kill)
    watcher.start()
    with pytest.raises(CycleGANError):
        _run(image, tmp_path / "killed", f"s3://{s3_bucket}/killed", **choice)
    watcher.join()
    assert len(killed) == 1
    # what a retry on a cluster is: the same task in a new container
    interrupted = _run(image, tmp_path / "retried", f"s3://{s3_bucket}/killed", **choice)
    on_host = _run("", tmp_path / "host", str(tmp_path / "checkpoints"), **choice)
    assert _weights(interrupted) == _weights(on_host)
