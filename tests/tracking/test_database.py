"""Several processes on one fresh SQLite database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_database_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from cyclegan.tracking.database import prepare_database

    (tmp_path / "mlflow.db").write_text("this is text, and rather long for an SQLite header " * 30)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with pytest.raises(CycleGANError, match=r"Cannot use the MLflow database .*mlflow\.db: .*not a database"):
        prepare_database()
