"""Several processes on one fresh SQLite database."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.data.sample.city import draw_city
from cyclegan.errors import CycleGANError

PROGRAM = """
import sys, time
from pathlib import Path
from cyclegan.tracking.runs import open_run
import mlflow
Path(f"ready {sys.argv[1]}").touch()
while not Path("go").exists():
    time.sleep(0.01)
with open_run("train", name=sys.argv[1]) as tracker:
    tracker.params("train", {"number": sys.argv[1]})
    tracker.metrics({"loss": 1.0}, 1)
print(tracker.run_id)
"""


def test_processes_that_start_at_once_on_a_fresh_database_all_get_their_run(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "together",
        "CYCLEGAN_TRACKING": "on",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number)],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    while len(list(tmp_path.glob("ready *"))) < 3:
        assert all(process.poll() is None for process in started)
        time.sleep(0.05)
    (tmp_path / "go").touch()
    ended = [process.communicate(timeout=400) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = dict(database.execute("select run_uuid, status from runs"))
        (experiments,) = database.execute(
            "select count(*) from experiments where name = 'together'"
        ).fetchone()
        (metrics,) = database.execute("select count(*) from metrics where key = 'loss'").fetchone()
    assert runs == {out.strip(): "FINISHED" for out, _ in ended}
    assert (experiments, metrics) == (1, 3)


@pytest.mark.slow
def test_two_trainings_and_the_ui_begin_together_on_a_fresh_database(tmp_path: Path) -> None:
    """Every loss and picture of both arrives, the page answers all the while, and nobody complains."""
    draw_city(tmp_path / "raw", train=6, test=3, size=32)
    preprocess(tmp_path / "raw", tmp_path / "prepared", PreprocessConfig(load_size=32, workers=1))
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "together",
        "CYCLEGAN_TRACKING": "on",
        "OMP_NUM_THREADS": "1",
    }
    network = "--generator resnet --blocks 1 --width 4 --discriminator_width 4 --discriminator_layers 1"
    schedule = "--epochs 3 --decay_epochs 3 --crop_size 32 --log_every 1 --sample_every 1 --samples 1"

    def begin(name: str, words: list[str]) -> subprocess.Popen[str]:
        log = (tmp_path / f"{name}.log").open("w")
        command = [sys.executable, "-u", "-m", "cyclegan", *words]
        return subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, text=True)

    train = ["train", "--prepared", "prepared", *network.split(), *schedule.split(), "--threads", "1"]
    trainings = [
        begin(f"train{i}", [*train, "--seed", f"{i}", "--model", f"m{i}", "--checkpoints", f"c{i}"])
        for i in range(2)
    ]
    ui, answers = begin("ui", ["ui"]), []
    try:
        while any(process.poll() is None for process in trainings):
            time.sleep(0.1)
            if found := re.search(r"http://[^/]+", (tmp_path / "ui.log").read_text()):
                query = json.dumps({"experiment_ids": ["0", "1"]}).encode()
                address = f"{found[0]}/api/2.0/mlflow/runs/search"
                request = urllib.request.Request(address, query, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as answer:
                    answers.append(len(json.load(answer).get("runs", [])))
    finally:
        for process in (ui, *trainings):
            process.terminate()
            process.wait(60)
    logs = {log.name: log.read_text() for log in tmp_path.glob("*.log")}
    assert [process.returncode for process in trainings] == [0, 0], logs
    assert answers and answers[-1] == 2
    for complaint in ("locked", "pool is full", "Not recorded", "refused", "Traceback"):
        assert not [name for name, text in logs.items() if complaint in text], logs
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status, artifact_uri from runs").fetchall()
        losses = database.execute(
            "select run_uuid, count(*) from metrics where key = 'train/cycle_A' group by 1"
        ).fetchall()
    assert sorted(losses) == sorted((run, 6 * 6) for run, _, _ in runs)
    assert [status for _, status, _ in runs] == ["FINISHED"] * 2
    for _, _, artifacts in runs:
        names = [file.name for file in (Path(artifacts.removeprefix("file://")) / "images").glob("*.png")]
        steps = {tuple(re.split(r"[+%]", name)[0:3:2]) for name in names}
        assert steps == {(f"samples~{way}", f"{epoch}") for way in ("AtoB", "BtoA") for epoch in range(7)}


def test_a_database_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from cyclegan.tracking.database import prepare_database

    (tmp_path / "mlflow.db").write_text("this is text, and rather long for an SQLite header " * 30)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with pytest.raises(CycleGANError, match=r"Cannot use the MLflow database .*mlflow\.db: .*not a database"):
        prepare_database()
