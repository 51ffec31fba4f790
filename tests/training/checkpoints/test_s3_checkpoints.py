"""Checkpoints in a bucket: another machine goes on where the first one died."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.storage import open_store
from cyclegan.model import load_model
from cyclegan.training.checkpoints import lock
from cyclegan.training.config import TrainConfig
from cyclegan.training.pretrained import read_initial
from cyclegan.training.train import train

pytest.importorskip("moto")
boto3 = pytest.importorskip("boto3")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket on an S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="checkpoints")
    yield "s3://checkpoints/runs"
    server.stop()


def weights(model: Path) -> bytes:
    return (model / "AtoB.safetensors").read_bytes()


def test_a_run_goes_on_from_a_bucket(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    bucket: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = small(epochs=3, decay_epochs=0)
    train(prepared, tmp_path / "straight", whole, checkpoints=str(tmp_path / "c"))
    train(prepared, tmp_path / "m", replace(whole, epochs=2), checkpoints=bucket)
    train(prepared, tmp_path / "m", whole, checkpoints=bucket)
    assert weights(tmp_path / "m") == weights(tmp_path / "straight")

    store = open_store(bucket)
    keys = [entry.key for entry in store.list()]
    assert sum(key.endswith(".safetensors") for key in keys) == 2 + 2 - 1
    assert not any(key.endswith("lock.json") for key in keys)

    newest = max(key for key in keys if "-3-0-" in key)
    store.write(newest, b"damaged")
    train(prepared, tmp_path / "n", whole, checkpoints=bucket)
    assert f"Skipping checkpoint {newest}, which is damaged" in caplog.text
    assert weights(tmp_path / "n") == weights(tmp_path / "straight")


def test_another_run_continues_from_a_checkpoint_in_a_bucket(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], bucket: str
) -> None:
    bucket += "/continued"
    train(prepared, tmp_path / "m", small(), checkpoints=bucket)
    address = f"{bucket}/{max(entry.key for entry in open_store(bucket).list())}"
    _, initial = read_initial(small(init=address))
    assert initial and initial.digest in address
    for name, value in load_model(tmp_path / "m").AtoB.state_dict().items():
        assert torch.equal(initial.checkpoint[f"networks.AtoB.{name}"], value)
    gone = address.replace(initial.digest, "0" * 16)
    with pytest.raises(UsageError, match=f"There is no checkpoint {gone}"):
        read_initial(small(init=gone))


def test_a_bucket_in_use_is_refused_and_that_of_a_dead_process_taken_over(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lock, "STALE_SECONDS", 2.0)
    store = open_store(bucket)
    with lock.locked(store, "run"), pytest.raises(CycleGANError, match="is training with the checkpoints"):
        with lock.locked(store, "run"):
            pass
    assert store.list("run/") == []
    store.write("run/lock.json", b'{"holder": "a machine that died", "beat": "1"}')
    with lock.locked(store, "run"):
        assert len(store.list("run/")) == 1


def test_a_retry_of_the_same_pipeline_task_does_not_wait_for_the_attempt_before(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubeflow Pipelines starts the next attempt once the pod of the last one is gone."""
    store = open_store(bucket)
    held = b'{"holder": "a deleted pod", "task": "s3://artifacts/run-1/train/model", "beat": "1"}'
    store.write("run/lock.json", held)
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", "s3://artifacts/run-1/train/model")
    began = time.monotonic()
    with lock.locked(store, "run"):
        assert time.monotonic() - began < lock.STALE_SECONDS / 2
    monkeypatch.setattr(lock, "STALE_SECONDS", 1.0)
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", "s3://artifacts/run-2/train/model")
    store.write("run/lock.json", held)
    began = time.monotonic()
    with lock.locked(store, "run"):
        assert time.monotonic() - began >= 1.0
