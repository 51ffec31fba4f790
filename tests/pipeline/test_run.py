"""The compiled pipeline on this machine, in processes of its own, through both branches of the gate."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """
preprocess: {channels: 3}
train: {generator: resnet, crop_size: 0}
"""
SECRETS = {
    "AWS_ACCESS_KEY_ID": "PLANTEDACCESSKEY",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+key",
    "MLFLOW_TRACKING_USERNAME": "somebody",
    "MLFLOW_TRACKING_PASSWORD": "planted-password",
}


@dataclass
class Execution:
    """One finished run of the command."""

    folder: Path
    log: str

    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(f.read_text()) for f in self.folder.glob("outputs/kfp/*/**/register/registration")]


@pytest.fixture(scope="module")
def executions(_mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Execution]:
    """The same run with the gate open, and by a parameter file with the gate shut; both at once."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "KFP_", "CYCLEGAN_"))}
    clean |= SECRETS | {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    tracked = {"MLFLOW_TRACKING_URI": _mlflow_server, "MLFLOW_EXPERIMENT_NAME": "gate"}
    cases = {
        "open": (["gate_max_score=0"], tracked | {"KFP_RUN_ID": "execution-1"}),
        "shut": (
            ["gate_max_score=1e-9", "--params", "params.yaml"],
            tracked | {"KFP_RUN_ID": "execution-2", "MLFLOW_EXPERIMENT_NAME": "shut gate"},
        ),
    }
    running = {}
    for case, (gate, environment) in cases.items():
        folder = tmp_path_factory.mktemp(case)
        (folder / "params.yaml").write_text(PARAMS)
        with (folder / "log").open("w") as log:
            running[case] = (
                folder,
                subprocess.Popen(
                    [sys.executable, "-m", "pipeline", "run", *TINY, "register_name=gated", *gate],
                    cwd=folder,
                    env=clean | environment,
                    stdout=log,
                    stderr=log,
                ),
            )
    for case, (folder, process) in running.items():
        assert process.wait(timeout=500) == 0, case + (folder / "log").read_text()
    return {
        case: Execution(folder, _plain((folder / "log").read_text())) for case, (folder, _) in running.items()
    }


@pytest.mark.slow
def test_a_bad_score_is_not_registered(executions: dict[str, Execution], mlflow_server: str) -> None:
    from mlflow import MlflowClient

    log = executions["shut"].log
    assert "> 1e-09: not registered" in log
    assert "Task 'finish' finished with status SUCCESS" in log
    (decision,) = executions["shut"].decisions()
    assert decision["passed"] is False and decision["versions"] == {}
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("shut gate")
    # the gate is not a failure, and the pipeline run can be found from its MLflow run
    (run,) = client.search_runs([experiment.experiment_id], "tags.`kfp_run.execution-2` != ''")
    assert run.info.status == "FINISHED"
    assert "is above the gate" in run.data.tags["verdict"]


@pytest.mark.slow
def test_every_step_tells_what_it_did(executions: dict[str, Execution]) -> None:
    folder = executions["open"].folder
    cards = {
        step: next(folder.glob(f"outputs/kfp/*/**/{step}/summary")).read_text()
        for step in ("train", "evaluate", "register")
    }
    run_id = executions["open"].decisions()[0]["run_id"]
    assert cards["train"].startswith("# Trained resnet")
    assert cards["evaluate"].startswith("# Score: frechet\\_random")
    assert cards["register"].startswith("# Registered as champion")
    assert "gated-AtoB version 1, gated-BtoA version 1" in cards["register"]
    version = re.findall(r"`[0-9a-f]{32}\.dir`", cards["train"])
    assert len(version) == 1
    for card in cards.values():
        assert version[0] in card
        assert re.search(rf"\[{run_id}\]\(http://127\.0\.0\.1:\d+/#/experiments/\d+/runs/{run_id}", card)
    losses = json.loads(next(folder.glob("outputs/kfp/*/**/train/losses")).read_text())
    quality = json.loads(next(folder.glob("outputs/kfp/*/**/evaluate/quality")).read_text())
    assert losses and "images_per_second" not in losses
    assert set(quality) >= {"score", "score_AtoB", "score_BtoA", "reconstruction_A", "reconstruction_B"}
    assert len(quality) <= 7


@pytest.mark.slow
def test_artifacts_carry_facts(executions: dict[str, Execution]) -> None:
    folder = executions["open"].folder
    facts = {}
    for step in ("fetch", "preprocess", "train", "register"):
        output = json.loads(next(folder.glob(f"outputs/kfp/*/**/{step}/executor_output.json")).read_text())
        facts |= {name: a["artifacts"][0]["metadata"] for name, a in output["artifacts"].items()}
    assert facts["raw"]["trainA"] == 6 and facts["raw"]["size_bytes"] > 1000
    assert facts["prepared"]["testB"] == 4 and facts["prepared"]["height"] == 32
    assert facts["raw"]["data_version"] == facts["prepared"]["data_version"] == facts["model"]["data_version"]
    assert facts["model"]["architecture"] == "resnet" and facts["model"]["width"] == 8
    assert facts["model"]["mlflow_run"] == facts["registration"]["mlflow_run"]
    assert facts["registration"]["version_AtoB"] == "1"


@pytest.mark.slow
def test_a_good_score_is_registered(executions: dict[str, Execution]) -> None:
    (decision,) = executions["open"].decisions()
    assert decision["passed"] is True
    assert decision["alias"] == "champion"
    assert decision["versions"] == {"AtoB": "1", "BtoA": "1"}


@pytest.mark.slow
def test_the_summary_names_artifacts_report_and_run(executions: dict[str, Execution]) -> None:
    folder, log = executions["open"].folder, executions["open"].log
    assert f"artifacts     {folder}/outputs/kfp/execution-1" in log
    (report,) = {line.split()[1] for line in log.splitlines() if line.startswith("report ")}
    assert "<html" in (folder / report).read_text().lower()
    assert f"MLflow run    {executions['open'].decisions()[0]['run_id']}" in log


@pytest.mark.slow
def test_one_mlflow_run_holds_the_execution(executions: dict[str, Execution], mlflow_server: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("gate")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["kfp_run_id"] == "execution-1"
    assert run.data.params["train.epochs"] == "1"
    assert "score" in run.data.metrics
    assert executions["open"].decisions()[0]["run_id"] == run.info.run_id


@pytest.mark.slow
def test_planted_secrets_are_nowhere(executions: dict[str, Execution], mlflow_server: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("gate")
    (run,) = client.search_runs([experiment.experiment_id])
    texts = {"run": str(run.to_dictionary()), "version": str(client.get_model_version("gated-AtoB", "1"))}
    texts["compiled"] = (ROOT / "pipeline" / "cyclegan.yaml").read_text()
    folders = [execution.folder for execution in executions.values()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts |= {str(path): path.read_bytes().decode("latin-1") for path in files}
    planted = [SECRETS[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")]
    assert len(files) > 30
    for where, text in texts.items():
        assert not [secret for secret in planted if secret in text], where


def test_a_failing_step_ends_the_run_in_one_sentence(tmp_path: Path) -> None:
    environment = os.environ | {"CYCLEGAN_TRACKING": "off", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", "run", "data_source=nowhere", "data_version="]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pipeline run: Pipeline 'cyclegan' finished with status FAILURE")
    assert "fetch" in last
    assert "Task 'finish' finished with status SUCCESS" in _plain(done.stdout + done.stderr)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
