"""The sweep and the translation, compiled, on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]


def _run(folder: Path, *words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pipeline", "run", *words]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "KFP_", "CYCLEGAN_"))}
    clean |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.slow
def test_a_sweep_registers_the_best_though_a_trial_fails(tmp_path: Path) -> None:
    log = _run(
        tmp_path,
        "--pipeline=sweep",
        'sweep_grid={"seed": [0, 1], "crop_size": [0, 999]}',
        *TINY,
        CYCLEGAN_TRACKING="off",
    )
    (best,) = tmp_path.glob("outputs/kfp/**/pick-best/best_model")
    chosen = json.loads((best / "config.json").read_text())
    assert chosen["seed"] in {0, 1}
    assert chosen["train"]["crop_size"] == 0
    (scores,) = tmp_path.glob("outputs/kfp/**/pick-best/best_scores")
    values = json.loads((scores / "scores.json").read_text())
    distance = (values["kernel_random_AtoB"] + values["kernel_random_BtoA"]) / 2
    (folder,) = tmp_path.glob("outputs/kfp/**/pick-best")
    quality = json.loads((folder / "quality").read_text())
    assert quality["kernel_distance"] == pytest.approx(distance)
    assert quality["failed_trials"] == 2
    table = (folder / "summary").read_text()
    assert table.count("failed: ") == 2
    distances = [float(d) for d in re.findall(r"\| \**(-?[\d.e-]+)\** \| \**[\d.e-]+\** \|  \|", table)]
    assert len(distances) == 2
    assert min(distances) == pytest.approx(distance, rel=1e-3)
    assert "the sweep continues without it" in log


def test_the_runs_of_a_sweep_become_children_of_one(
    mlflow_server: str, tiny_model: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    from cyclegan.registry.sweep import best_trial

    client = MlflowClient(mlflow_server)
    known = client.get_experiment_by_name("tests")
    experiment = known.experiment_id if known else client.create_experiment("tests")
    config = json.loads((tiny_model / "config.json").read_text())
    trials, runs = [], []
    for number, kid in enumerate((0.3, 0.1, 0.2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs.append(client.create_run(experiment).info.run_id)
        (folder / "config.json").write_text(json.dumps(config | {"mlflow_run_id": runs[-1]}))
        (folder / "scores.json").write_text(json.dumps({"score": kid, "kid_AtoB": kid, "kid_BtoA": kid}))
        trials.append((folder, folder))
    assert best_trial(trials) == (1, [0.3, 0.1, 0.2], 0.1)
    (parent,) = {client.get_run(run).data.tags["mlflow.parentRunId"] for run in runs}
    assert client.get_run(parent).data.tags["best_run"] == runs[1]
    assert client.get_run(parent).info.status == "FINISHED"


@pytest.mark.slow
def test_images_under_an_s3_prefix_are_translated_once(
    s3_bucket: str, tiny_model: Path, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    from cyclegan.io.storage import open_store

    photos = open_store(f"s3://{s3_bucket}/photos")
    noise = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(noise.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(tmp_path / "one.png")
        photos.put(tmp_path / "one.png", f"street/{number}.png")
    maps = open_store(f"s3://{s3_bucket}/maps")
    maps.write("street/3.png", b"done before")
    words = ["--pipeline=translate", f"translate_images=s3://{s3_bucket}/photos"]
    words += [f"translate_out=s3://{s3_bucket}/maps", f"translate_model={tiny_model}", "translate_shards=2"]
    environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    _run(tmp_path, *words, **environment)
    keys = [entry.key for entry in maps.list()]
    assert keys == [f"street/{number}.png" for number in range(5)]
    assert maps.read("street/3.png") == b"done before"
    assert maps.read("street/4.png").startswith(b"\x89PNG")
