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

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "source=synthetic:city?train=6&test=4&size=32",
    "version=",
    "load_size=32",
    "epochs=1",
    "decay_epochs=0",
    "batch_size=2",
    'train_options={"blocks": 1, "width": 8, "discriminator_width": 8}',
    'evaluate_options={"resamples": 0}',
    "features=random",
    "model_name=gated",
]
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
    """The same run with the gate open and tracked, and with the gate shut; both at once, to save time."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "KFP_", "CYCLEGAN_"))}
    clean |= SECRETS | {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    tracked = {"MLFLOW_TRACKING_URI": _mlflow_server, "MLFLOW_EXPERIMENT_NAME": "gate"}
    cases = {
        "open": ("max_score=0", tracked | {"KFP_RUN_ID": "execution-1"}),
        "shut": ("max_score=1e-9", {"CYCLEGAN_TRACKING": "off"}),
    }
    running = {}
    for case, (gate, environment) in cases.items():
        folder = tmp_path_factory.mktemp(case)
        with (folder / "log").open("w") as log:
            running[case] = (
                folder,
                subprocess.Popen(
                    [sys.executable, "-m", "pipeline", "run", *TINY, gate],
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


def test_a_bad_score_is_not_registered(executions: dict[str, Execution]) -> None:
    log = executions["shut"].log
    assert "the gate is 1e-09: not registered" in log
    assert "Executing task 'register'" not in log
    assert "Task 'finish' finished with status SUCCESS" in log
    assert executions["shut"].decisions() == []


def test_a_good_score_is_registered(executions: dict[str, Execution]) -> None:
    (decision,) = executions["open"].decisions()
    assert decision["passed"] is True
    assert decision["alias"] == "champion"
    assert decision["versions"] == {"AtoB": "1", "BtoA": "1"}


def test_the_summary_names_artifacts_report_and_run(executions: dict[str, Execution]) -> None:
    folder, log = executions["open"].folder, executions["open"].log
    assert f"artifacts     {folder}/outputs/kfp/execution-1" in log
    (report,) = {line.split()[1] for line in log.splitlines() if line.startswith("report ")}
    assert "<html" in (folder / report).read_text().lower()
    assert f"MLflow run    {executions['open'].decisions()[0]['run_id']}" in log
    assert "MLflow run    none: tracking is off" in executions["shut"].log


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
    command = [sys.executable, "-m", "pipeline", "run", "source=nowhere", "version="]
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
