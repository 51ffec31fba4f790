"""deploy/trainer/trainjob.yaml: what Kubeflow Trainer accepts, and what two nodes do with it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.placement import CONFIG_MAP, SECRETS, SETTINGS
from tests.ports import free_port

Run = Callable[..., str]

TRAINJOB = Path(__file__).resolve().parents[2] / "deploy/trainer/trainjob.yaml"
# five updates of networks as small as they get
PARAMS = """\
fetch: {source: "synthetic:city"}
preprocess: {load_size: 32}
train:
  {generator: resnet, blocks: 1, width: 4, discriminator_width: 4, crop_size: 0, batch_size: 20,
   epochs: 1, decay_epochs: 0, sample_every: 0, threads: 1}
"""


@pytest.fixture
def trainjob() -> dict[str, Any]:
    return yaml.safe_load(TRAINJOB.read_text())


def test_it_is_what_the_api_of_kubeflow_trainer_describes(trainjob: dict[str, Any]) -> None:
    api = pytest.importorskip("kubeflow_trainer_api.models", reason="kubeflow-trainer-api is not installed")
    parsed = api.TrainerV1alpha1TrainJob.from_dict(trainjob)
    assert parsed.to_dict() == trainjob  # a field that the API does not know would be gone


def test_it_reads_the_settings_and_secrets_that_the_steps_read(trainjob: dict[str, Any]) -> None:
    read = {}
    for variable in trainjob["spec"]["trainer"]["env"]:
        for reference in variable.get("valueFrom", {}).values():
            assert reference["optional"]
            assert reference["key"] == variable["name"]
            read[variable["name"]] = reference["name"]
    expected = {key: name for name, keys in SECRETS.items() for key in keys}
    assert read == expected | dict.fromkeys(SETTINGS, CONFIG_MAP)


@pytest.mark.slow
def test_two_nodes_train_and_one_process_finishes(
    trainjob: dict[str, Any], run: Run, s3_bucket: str, tmp_path: Path
) -> None:
    trainer = trainjob["spec"]["trainer"]
    port = free_port()
    checkpoints = f"s3://{s3_bucket}/checkpoints"
    settings = {
        "PARAMS": PARAMS,
        "CHECKPOINTS": checkpoints,
        "PET_NNODES": str(trainer["numNodes"]),
        "PET_NPROC_PER_NODE": "1",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
    }

    def both(folder: Path, *command: str, **more: str) -> str:
        """What a command prints, logs included."""
        return run(folder, "bash", "-c", 'exec "$@" 2>&1', "-", *command, **more)

    def node(rank: int) -> str:
        folder = tmp_path / f"node{rank}"
        folder.mkdir()
        return both(folder, *trainer["command"], *trainer["args"], **settings, PET_NODE_RANK=str(rank))

    with ThreadPoolExecutor(trainer["numNodes"]) as nodes:
        logs = list(nodes.map(node, range(trainer["numNodes"])))
    assert ["Update 5 of 5" in log for log in logs] == [True, False]  # one process talks
    first, second = tmp_path / "node0", tmp_path / "node1"
    assert not (second / "model").exists()  # one process writes
    assert (second / "prepared/trainA.npy").read_bytes() == (first / "prepared/trainA.npy").read_bytes()

    options = ("--params", "params.yaml", "--prepared", "prepared", "--checkpoints", checkpoints)
    said = both(second, "cyclegan", "train", *options, "--model", "model")
    assert "Resuming after update 5 of 5" in said
    for file in ("AtoB.safetensors", "BtoA.safetensors"):
        assert (second / "model" / file).read_bytes() == (first / "model" / file).read_bytes()
