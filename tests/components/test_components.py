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
from components.look import look
from components.preprocess import preprocess
from components.register import register
from components.sweep import pick_best, plan_trials
from components.train import train
from components.translate import list_shards, translate_shard
from cyclegan.errors import CycleGANError

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = (
    fetch,
    preprocess,
    train,
    evaluate,
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
    report, summary = artifact(dsl.HTML, "report"), artifact(dsl.Markdown, "summary")
    losses, quality = artifact(dsl.Metrics, "losses"), artifact(dsl.Metrics, "quality")
    registration = artifact(dsl.Artifact, "registration.json")

    source = "synthetic:city?train=4&test=3&size=32"
    (version,) = fetch.python_func(source=source, version="", state="", options={}, raw=raw)
    assert version.endswith(".dir")
    counts = {"trainA": 4, "trainB": 4, "testA": 3, "testB": 3}
    size = (tmp_path / "raw" / "images.zip").stat().st_size
    assert raw.metadata == {"uri": source, "data_version": version, "size_bytes": size, **counts}

    (digest,) = preprocess.python_func(
        raw=raw, data_version=version, load_size=32, options={"workers": 1}, prepared=prepared
    )
    about = {"uri": source, "data_version": version, "height": 32, "width": 32, "rejected": 0}
    assert prepared.metadata == about | counts
    manifest = json.loads((tmp_path / "prepared" / "manifest.json").read_text())
    assert manifest["version"] == version
    assert len(digest) == 64

    typed: dict[str, Any] = {"generator": "resnet", "epochs": 1, "decay_epochs": 0, "batch_size": 2}
    typed |= {"crop_size": 0, "lr": 1e-4, "lambda_cycle": 10.0, "lambda_identity": 0.0, "seed": 3}
    model_digest, run_id = train.python_func(
        prepared=prepared,
        prepared_digest=digest,
        **typed,
        # as the backend carries whole numbers
        options={"blocks": 1.0, "width": 4.0, "discriminator_width": 4.0, "sample_every": 0.0},
        checkpoints=str(tmp_path / "checkpoints"),
        accelerators="",
        trial=False,
        model=model,
        summary=summary,
        losses=losses,
    )
    assert run_id == ""
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["train"]["seed"] == 3
    assert config["train"]["width"] == 4
    assert model.metadata["architecture"] == "resnet" and model.metadata["data_version"] == version
    assert json.loads((tmp_path / "losses").read_text()) == losses.metadata
    assert "Trained resnet" in (tmp_path / "summary").read_text()

    (score,) = evaluate.python_func(
        prepared=prepared,
        model=model,
        model_digest=model_digest,
        features="random",
        weights="",
        options={"resamples": 5},
        accelerators="0",
        trial=False,
        scores=scores,
        report=report,
        summary=summary,
        quality=quality,
    )
    assert score == json.loads((tmp_path / "scores" / "scores.json").read_text())["score"]
    assert quality.metadata["score"] == score
    assert quality.metadata["score_low"] <= score <= quality.metadata["score_high"]
    assert json.loads((tmp_path / "quality").read_text()) == quality.metadata
    assert "<html" in (tmp_path / "report").read_text().lower()

    passes, alias, reason = register.python_func(
        model=model,
        scores=scores,
        name="x",
        max_score=0.0,
        options={},
        registration=registration,
        summary=summary,
    )
    assert (passes, alias) == (False, "")
    assert "not registered" in reason
    assert json.loads((tmp_path / "registration.json").read_text())["reason"] == reason


def test_accelerators_that_are_not_there_stop_a_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    prepared = dsl.Dataset(name="prepared", uri=str(tmp_path / "prepared"))
    model = dsl.Model(name="model", uri=str(tmp_path / "model"))
    typed: dict[str, Any] = {"generator": "resnet", "epochs": 1, "decay_epochs": 0, "batch_size": 2}
    typed |= {"crop_size": 0, "lr": 1e-4, "lambda_cycle": 10.0, "lambda_identity": 0.0, "seed": 3}
    with pytest.raises(CycleGANError, match="1 accelerators were asked for and torch sees 0"):
        train.python_func(
            prepared=prepared,
            prepared_digest="",
            **typed,
            options={},
            checkpoints="",
            accelerators="1",
            trial=False,
            model=model,
            summary=None,
            losses=None,
        )


def test_look_finds_what_is_published_and_fetch_wants_exactly_that(tmp_path: Path, s3_bucket: str) -> None:
    from cyclegan.io.storage import open_store

    store = open_store(f"s3://{s3_bucket}/published")
    raw = dsl.Dataset(name="raw", uri=str(tmp_path / "raw"))
    source, address = "synthetic:city?train=4&test=3&size=32", f"s3://{s3_bucket}/published/data.dvc"
    (version,) = fetch.python_func(source=source, version="", state="", options={}, raw=raw)
    assert look.python_func(source=source, version=version, options={}) == (version, "")
    store.write("data.dvc", f"outs:\n- md5: {version}\n  path: data\n".encode())
    assert look.python_func(source=source, version=address, options={}) == (version, "")
    assert fetch.python_func(source=source, version=version, state="", options={}, raw=raw) == (version,)
    with pytest.raises(CycleGANError, match="has the data version"):
        fetch.python_func(source=source, version=f"{'0' * 32}.dir", state="", options={}, raw=raw)
    # without a version the state of the source says whether it is the same, unless its digest is given
    first = look.python_func(source=f"s3://{s3_bucket}/published", version="", options={})
    store.write("trainA/1.png", b"another")
    second = look.python_func(source=f"s3://{s3_bucket}/published", version="", options={})
    assert (first[0], second[0]) == ("", "") and "" != first[1] != second[1] != ""
    pinned = {"sha256": "0" * 64}
    assert look.python_func(source=f"s3://{s3_bucket}/published", version="", options=pinned) == ("", "")


def test_another_image_is_chosen_by_the_environment() -> None:
    code = "from components.train import train; print(train.component_spec.implementation.container.image)"
    environment = os.environ | {"CYCLEGAN_IMAGE": "hub/other:2", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "hub/other:2"
