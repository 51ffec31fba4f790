"""The components' bodies, called as plain functions."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.evaluate import evaluate
from components.fetch import fetch
from components.finish import finish
from components.gate import gate
from components.preprocess import preprocess
from components.register import register
from components.sweep import pick_best, plan_trials
from components.train import train
from components.translate import list_shards, translate_shard

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = (
    fetch,
    preprocess,
    train,
    evaluate,
    gate,
    register,
    finish,
    plan_trials,
    pick_best,
    list_shards,
    translate_shard,
)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_component_is_short_and_explains_every_input(component: Any) -> None:
    (function,) = ast.parse(inspect.getsource(component.python_func)).body
    assert isinstance(function, ast.FunctionDef)
    statements = function.body[1:]
    assert statements[-1].end_lineno - statements[0].lineno + 1 <= 20
    for name, value in (component.component_spec.inputs or {}).items():
        if "Status" not in str(value.type):
            assert value.description, name


def test_from_images_to_a_decision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")

    def artifact(kind: type, name: str) -> Any:
        return kind(name=name, uri=str(tmp_path / name))

    raw, prepared = artifact(dsl.Dataset, "raw"), artifact(dsl.Dataset, "prepared")
    model, scores = artifact(dsl.Model, "model"), artifact(dsl.Artifact, "scores")
    report, metrics = artifact(dsl.HTML, "report"), artifact(dsl.Metrics, "metrics")
    registration = artifact(dsl.Artifact, "registration.json")

    source = "synthetic:city?train=4&test=3&size=32"
    version = fetch.python_func(source=source, version="", options="{}", raw=raw)
    assert version.endswith(".dir")
    assert raw.metadata == {"uri": source, "version": version}

    digest = preprocess.python_func(
        raw=raw, version=version, load_size=32, options='{"workers": 1}', prepared=prepared, metrics=metrics
    )
    assert metrics.metadata == {"trainA": 4, "trainB": 4, "testA": 3, "testB": 3, "rejected": 0}
    manifest = json.loads((tmp_path / "prepared" / "manifest.json").read_text())
    assert manifest["version"] == version
    assert len(digest) == 64

    typed: dict[str, Any] = {"generator": "resnet", "epochs": 1, "decay_epochs": 0, "batch_size": 2}
    typed |= {"crop_size": 0, "lr": 1e-4, "lambda_cycle": 10.0, "lambda_identity": 0.0, "seed": 3}
    model_digest = train.python_func(
        prepared=prepared,
        prepared_digest=digest,
        **typed,
        options='{"blocks": 1, "width": 4, "discriminator_width": 4, "sample_every": 0}',
        checkpoints=str(tmp_path / "checkpoints"),
        model=model,
        metrics=metrics,
    )
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["train"]["seed"] == 3
    assert config["train"]["width"] == 4

    score = evaluate.python_func(
        prepared=prepared,
        model=model,
        model_digest=model_digest,
        features="random",
        weights="",
        options='{"resamples": 0}',
        scores=scores,
        report=report,
        metrics=metrics,
    )
    assert score == json.loads((tmp_path / "scores" / "scores.json").read_text())["score"]
    assert metrics.metadata["score"] == score
    assert "<html" in (tmp_path / "report").read_text().lower()

    alias = register.python_func(
        model=model, scores=scores, name="x", max_score=0.0, options="{}", registration=registration
    )
    assert alias == ""
    assert "not registered" in json.loads((tmp_path / "registration.json").read_text())["reason"]


@pytest.mark.parametrize(
    ("score", "max_score", "passes"),
    [(1.0, 0.0, True), (1.0, 2.0, True), (2.0, 2.0, True), (3.0, 2.0, False)],
)
def test_the_gate_follows_the_same_rule_as_registering(score: float, max_score: float, passes: bool) -> None:
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.decision import Evidence, decide

    evidence = Evidence(score=score, metric="fid", data_version="v")
    assert gate.python_func(score=score, max_score=max_score) is passes
    assert decide(evidence, None, RegisterConfig(max_score=max_score)).passed is passes


def test_a_run_left_behind_by_a_killed_step_is_marked_failed(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server)
    known = client.get_experiment_by_name("tests")
    experiment = known.experiment_id if known else client.create_experiment("tests")
    killed = client.create_run(experiment, tags={"kfp_run_id": "killed"}).info.run_id
    other = client.create_run(experiment, tags={"kfp_run_id": "other"}).info.run_id
    monkeypatch.setenv("KFP_RUN_ID", "killed")

    def status(state: str) -> dsl.PipelineTaskFinalStatus:
        return dsl.PipelineTaskFinalStatus(
            state=state,
            pipeline_job_resource_name="",
            pipeline_task_name="steps",
            error_code=1,
            error_message="train ran out of memory",
        )

    finish.python_func(status("SUCCEEDED"))
    assert client.get_run(killed).info.status == "RUNNING"
    finish.python_func(status("FAILED"))
    assert client.get_run(killed).info.status == "FAILED"
    assert client.get_run(killed).data.tags["failure"] == "train ran out of memory"
    assert client.get_run(other).info.status == "RUNNING"


def test_another_image_is_chosen_by_the_environment() -> None:
    code = "from components.train import train; print(train.component_spec.implementation.container.image)"
    environment = os.environ | {"CYCLEGAN_IMAGE": "hub/other:2", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "hub/other:2"
