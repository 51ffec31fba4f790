"""Tracking against a real MLflow server, a dead one, and one that goes away in between."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import mlflow
import numpy as np
import pytest

from cyclegan.errors import CycleGANError
from cyclegan.io.uri import redact
from cyclegan.tracking import mlflow_tracker, view
from cyclegan.tracking.base import git_commit
from cyclegan.tracking.runs import close_runs, count_attempt, forget_attempts, open_run, run_page
from cyclegan.tracking.server import quiet

VERSION = "0123456789abcdef0123456789abcdef.dir"
DATA = SimpleNamespace(
    title="city",
    uri="synthetic:city",
    version=VERSION,
    paired=True,
    height=64,
    width=48,
    domains={"trainA": {"count": 7, "names": []}, "testA": {"count": 2, "names": []}},
)


@dataclass(frozen=True)
class Config:
    lr: float = 2e-4
    weights: str = ""
    flip: bool = True


@pytest.fixture
def client(mlflow_server: str):
    from mlflow import MlflowClient

    return MlflowClient()


def test_switched_off_nothing_is_kept_and_every_call_works(monkeypatch, tmp_path):
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # would be refused
    with open_run("train", name="x") as tracker:
        tracker.params("train", Config())
        tracker.metrics({"loss": 1.0}, 3)
        tracker.image("samples", np.zeros((2, 2, 3), np.uint8), 1)
        tracker.artifact(tmp_path, "folder")
        tracker.dataset(DATA)
        tracker.tags({"a": "b"})
    assert tracker.run_id is None


def test_an_unreachable_server_is_one_sentence_without_the_password(monkeypatch):
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{port}")
        with pytest.raises(
            CycleGANError, match=f"Cannot reach the MLflow server http://127.0.0.1:{port}"
        ) as caught:
            with open_run("train"):
                pytest.fail("a run was opened")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_machine_is_watched_once_training_has_recorded_something(client, monkeypatch):
    """Else a slow machine's use of its CPU is what MLflow's page of two runs draws first."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")

    def systems(run_id: str) -> list[int]:
        history = client.get_metric_history(run_id, "system/cpu_utilization_percentage")
        return [metric.step for metric in history]

    with open_run("train") as tracker:
        time.sleep(1)
        assert not client.get_run(tracker.run_id).data.metrics
        tracker.metrics({"train/cycle_A": 1.0}, 1)
        wait_for(lambda: len(systems(tracker.run_id)) > 2)
    before = systems(tracker.run_id)
    with open_run("evaluate", run_id=tracker.run_id) as again:
        again.metrics({"score": 1.0})
        time.sleep(1)
    assert systems(tracker.run_id) == before
    with open_run("train", run_id=tracker.run_id) as again:
        again.metrics({"train/cycle_A": 0.5}, 2)
        wait_for(lambda: len(systems(tracker.run_id)) > len(before))
    assert systems(tracker.run_id) == list(range(len(systems(tracker.run_id))))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_one_run_is_shared_by_the_steps(client, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_COMMIT", "abc123-dirty")
    monkeypatch.setenv("KFP_RUN_ID", "kfp-7")
    report = tmp_path / "report.html"
    report.write_text("<p>fine</p>")
    with open_run("train", name="resnet on city") as tracker:
        tracker.params("train", Config(flip=False))
        tracker.dataset(DATA)
        for step in range(1200):  # more than MLflow takes in one request
            tracker.metrics({"loss/G": 1 / (step + 1)}, step)
        picture = np.zeros((8, 8, 3), np.uint8)
        for epoch in (1, 2):
            tracker.image("samples_AtoB", picture, epoch)
            picture[:] = 255  # the tracker must have taken its own copy
    with open_run("evaluate", run_id=tracker.run_id) as again:
        again.params("evaluate", {"features": "random", "nested": {"a": None}})
        again.metrics({"score": 3.5})
        again.artifact(report, "scores")
        again.artifact(tmp_path, "whole")
    assert again.run_id == tracker.run_id

    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "resnet on city")
    assert run.data.params == {  # no defaults, but for what people compare
        "train.lr": "0.0002",
        "train.flip": "False",
        "evaluate.features": "random",
        "evaluate.nested.a": "",
    }
    assert run.data.metrics["score"] == 3.5
    whole = Path(client.download_artifacts(tracker.run_id, "config/train.json", str(tmp_path)))
    assert json.loads(whole.read_text()) == {"lr": "0.0002", "weights": "", "flip": "False"}
    history = client.get_metric_history(tracker.run_id, "loss/G")
    assert [point.step for point in history] == list(range(1200))
    assert [point.value for point in history] == [1 / (step + 1) for step in range(1200)]
    assert run.data.tags["git_commit"] == "abc123-dirty"
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert run.data.tags["kfp_run_id"] == "kfp-7"
    assert run.data.tags["data_version"] == VERSION
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("city", VERSION)
    assert "7" in entry.dataset.profile

    names = [
        file.path for file in client.list_artifacts(tracker.run_id, "images") if file.path.endswith("png")
    ]
    assert sorted(name.split("+timestamp")[0] for name in names) == [
        "images/samples_AtoB+step+1",
        "images/samples_AtoB+step+2",
    ]
    from PIL import Image

    first = client.download_artifacts(tracker.run_id, min(names), str(tmp_path))
    assert np.asarray(Image.open(first)).max() == 0
    assert [file.path for file in client.list_artifacts(tracker.run_id, "scores")] == ["scores/report.html"]
    assert [file.path for file in client.list_artifacts(tracker.run_id, "whole")] == ["whole/report.html"]


def test_description_and_table_are_replaced_by_those_of_a_later_evaluation(client, tmp_path):
    import mlflow

    with open_run("evaluate") as tracker:
        for score in (3.0, 2.0):
            tracker.table("scores_table.json", [{"score": "FID", "value": score}])
            picture = np.full((4, 6, 3), 9, np.uint8)
            tracker.describe(f"**FID {score}**\n\nMore", {"AtoB": picture, "BtoA": picture})
            tracker.conclude(f"Verdict on {score}")
            tracker.conclude("Champion")
    note = client.get_run(tracker.run_id).data.tags["mlflow.note.content"]
    shown = "\n\n".join(
        f"![Test images, {d}](get-artifact?path=overview_{d}.png&run_uuid={tracker.run_id})"
        for d in ("AtoB", "BtoA")
    )
    experiment = client.get_run(tracker.run_id).info.experiment_id
    runs = f"[All runs with scores and pictures]({view.view_page(experiment)})"
    assert note == f"**FID 2.0**\n\n{shown}\n\nMore\n\n{runs}\n\n---\n\nChampion"
    kept = {file.path for file in client.list_artifacts(tracker.run_id)}
    assert {"overview_AtoB.png", "overview_BtoA.png"} < kept
    found = mlflow.load_table("scores_table.json", run_ids=[tracker.run_id])
    assert found.to_dict("list") == {"score": ["FID"], "value": [2.0]}


def test_an_experiment_has_a_view_for_the_ui_which_people_may_change(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"view-{uuid.uuid4().hex[:8]}")
    with open_run("train") as tracker:
        pass
    experiment = client.get_run(tracker.run_id).info.experiment_id
    saved = json.loads(client.get_experiment(experiment).tags[view.TAG])
    assert saved["name"] == "Scores and pictures" and isinstance(saved["createdAt"], int)
    state = json.loads(saved["state"])
    assert {"metrics.`score`", "attributes.`Dataset`"} < set(state["selectedColumns"])
    first = state["compareRunCharts"][0]
    assert (first["type"], first["imageKeys"]) == ("IMAGE", ["result/AtoB"])
    sections = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections.keys()
    client.set_experiment_tag(experiment, view.TAG, "mine")
    with open_run("train"):
        pass
    assert client.get_experiment(experiment).tags[view.TAG] == "mine"


def test_resuming_with_the_same_and_with_changed_parameters(client, caplog):
    with open_run("train") as tracker:
        tracker.params("train", {"epochs": 3, "lr": 0.1})
        tracker.dataset(DATA)
    with caplog.at_level(logging.INFO), open_run("train", run_id=tracker.run_id) as again:
        again.params("train", {"epochs": 5, "lr": 0.1, "new": 1})
        again.dataset(DATA)
    run = client.get_run(tracker.run_id)
    assert run.data.params == {"train.epochs": "3", "train.lr": "0.1", "train.new": "1"}
    assert {key: value for key, value in run.data.tags.items() if key.startswith("changed")} == {
        "changed.train.epochs": "3 -> 5"
    }
    assert "Parameter train.epochs is now 5, was 3" in caplog.text
    assert len(run.inputs.dataset_inputs) == 1


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_how_the_run_ends(client, error, status):
    with pytest.raises(error):
        with open_run("train") as tracker:
            tracker.metrics({"loss": 1.0}, 1)
            raise error
    assert client.get_run(tracker.run_id).info.status == status
    assert client.get_run(tracker.run_id).data.metrics["loss"] == 1.0


def test_the_environment_names_the_run(client, monkeypatch):
    with open_run("train", name="theirs") as theirs, open_run("train") as other:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.run_id)
    with open_run("evaluate", run_id=other.run_id) as explicit:
        pass
    assert explicit.run_id == other.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.run_id)
    with open_run("train", name="ours") as tracker:
        pass
    assert tracker.run_id == theirs.run_id
    assert client.get_run(tracker.run_id).info.run_name == "theirs"


def test_a_run_of_the_caller_is_used_and_left_open(client):
    import mlflow

    with mlflow.start_run() as outer:
        with open_run("train") as tracker:
            tracker.metrics({"loss": 2.0})
        assert client.get_run(outer.info.run_id).info.status == "RUNNING"
        assert mlflow.active_run().info.run_id == outer.info.run_id
    assert tracker.run_id == outer.info.run_id
    assert client.get_run(outer.info.run_id).data.metrics["loss"] == 2.0


def test_a_run_that_the_server_does_not_know_becomes_a_new_one(client, caplog):
    with open_run("evaluate", run_id="f" * 32) as tracker:
        pass
    assert tracker.run_id != "f" * 32
    assert "Run " + "f" * 32 + " is unknown" in caplog.text
    client.delete_run(tracker.run_id)
    with open_run("evaluate", run_id=tracker.run_id) as another:
        pass
    assert another.run_id != tracker.run_id


def test_an_unknown_run_in_the_environment_is_the_users_mistake(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "e" * 32)
    with pytest.raises(CycleGANError, match="e" * 32):
        with open_run("train"):
            pytest.fail("a run was opened")


class Line:
    """A TCP line to the server that can be cut and mended."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.target = (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            if not self.up:
                here.close()
                continue
            there = socket.create_connection(self.target)
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while self.up and (data := source.recv(65536)):
                if not self.up:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


@pytest.fixture
def line(mlflow_server: str, monkeypatch) -> Iterator[Line]:
    line = Line(mlflow_server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield line
    line.listener.close()


def test_a_server_that_goes_away_costs_a_warning_and_not_the_training(line, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(mlflow_tracker, "GIVE_UP_SECONDS", 1.0)
    monkeypatch.setattr(mlflow_tracker, "ASK_SECONDS", 0.2)
    done = False
    with open_run("train") as tracker:
        line.up = False
        tracker.metrics({"loss": 1.0}, 1)
        tracker.image("samples", np.zeros((4, 4, 3), np.uint8), 1)
        (tmp_path / "file").write_text("x")
        tracker.artifact(tmp_path / "file")
        done = True
    assert done
    assert "server" in caplog.text and "lost" in caplog.text


def test_what_was_recorded_while_the_server_was_away_arrives(line, monkeypatch, client, caplog):
    monkeypatch.setattr(mlflow_tracker, "AWAY_SECONDS", 0.2)
    with open_run("train") as tracker:
        line.up = False
        tracker.metrics({"loss": 1.0}, 1)
        noticed = threading.Event()
        caplog.handler.addFilter(lambda record: noticed.set() or True)
        assert noticed.wait(60)
        line.up = True
        tracker.metrics({"loss": 0.5}, 2)
    history = client.get_metric_history(tracker.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    assert "does not answer" in caplog.text


def test_runs_that_a_killed_step_left_open_are_closed_and_no_others(client, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "broken")
    with open_run("train") as finished:
        pass
    experiment = client.get_run(finished.run_id).info.experiment_id
    killed = client.create_run(experiment, tags={"kfp_run.broken": "train"}).info.run_id
    elsewhere = client.create_run(experiment, tags={"kfp_run.sound": "train"}).info.run_id
    assert close_runs("broken") == [killed]
    assert client.get_run(killed).info.status == "FAILED"
    assert "killed" in client.get_run(killed).data.tags["failure"]
    assert client.get_run(finished.run_id).info.status == "FINISHED"
    assert client.get_run(elsewhere).info.status == "RUNNING"
    assert close_runs("") == []
    client.set_terminated(elsewhere)


def test_runs_that_the_backend_opened_for_tasks_are_closed_too_but_the_handlers_own(client, monkeypatch):
    experiment = client.create_experiment("by the backend")
    parent = client.create_run(experiment, tags={"kfp.pipeline_run_id": "terminated"}).info.run_id

    def nested(above):
        return client.create_run(experiment, tags={"mlflow.parentRunId": above}).info.run_id

    train, loop, own = nested(parent), nested(parent), nested(parent)
    trial = nested(loop)
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    assert set(close_runs("terminated")) == {train, loop, trial}
    # the backend itself closes its parent and the run of the handler
    assert {client.get_run(run).info.status for run in (parent, own)} == {"RUNNING"}


def test_all_pipeline_runs_that_share_a_run_are_found(client, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "first")
    with open_run("train") as tracker:
        experiment = client.get_run(tracker.run_id).info.experiment_id
    monkeypatch.setenv("KFP_RUN_ID", "from-cache")
    with open_run("register", run_id=tracker.run_id):
        pass
    assert client.get_run(tracker.run_id).data.tags["kfp_run_id"] == "first"
    for run in ("first", "from-cache"):
        (found,) = client.search_runs([experiment], f"tags.`kfp_run.{run}` != ''")
        assert found.info.run_id == tracker.run_id


def test_a_retry_of_the_same_task_continues_its_run(client, monkeypatch):
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", "s3://artifacts/run-1/train/17/model")
    with open_run("train", name="first attempt") as first:
        pass
    with open_run("train", name="second attempt") as second:
        pass
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", "s3://artifacts/run-2/train/18/model")
    with open_run("train") as other:
        pass
    assert second.run_id == first.run_id != other.run_id


def test_attempts_of_a_task_are_counted_and_another_pipeline_run_begins_anew(client, monkeypatch):
    first, second = "s3://artifacts/run-3/train/19/model", "s3://artifacts/run-4/train/20/model"
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", first)
    # the first two are killed before training has opened a run
    assert [count_attempt("train", first) for _ in range(2)] == [1, 2]
    assert mlflow.active_run() is None
    with open_run("train", name="resnet city") as run:
        pass
    assert client.get_run(run.run_id).info.run_name == "resnet city"
    assert count_attempt("train", first) == 3
    experiment = client.get_run(run.run_id).info.experiment_id
    (left,) = client.search_runs([experiment], f"tags.kfp_task = '{first}'")
    assert (left.info.run_id, left.info.status) == (run.run_id, "RUNNING")
    assert [count_attempt("evaluate", f"{first}/scores", run.run_id) for _ in range(2)] == [1, 2]
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", second)
    assert count_attempt("train", second) == 1
    with open_run("train", run_id=run.run_id):  # from the checkpoint of the first
        pass
    forget_attempts(second, run.run_id)
    (kept,) = client.search_runs([experiment], f"tags.kfp_task = '{second}'")
    assert kept.info.run_id == run.run_id


def test_the_backends_run_of_a_task_is_never_deleted(client, monkeypatch):
    task = "s3://artifacts/run-5/train/21/model"
    experiment = client.create_experiment("injected too")
    opened = client.create_run(experiment, run_name="train").info.run_id
    with open_run("train") as earlier:
        pass
    monkeypatch.setenv("CYCLEGAN_KFP_TASK", task)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    assert count_attempt("train", task) == 1
    forget_attempts(task, earlier.run_id)
    assert client.get_run(opened).info.lifecycle_stage == "active"


def test_the_backends_run_of_a_task_gets_our_name(client, monkeypatch):
    experiment = client.create_experiment("injected")
    opened = client.create_run(experiment, run_name="train").info.run_id
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    monkeypatch.setenv("KFP_RUN_ID", "kfp-9")
    with open_run("train", name="resnet maps 256x256 seed 0") as tracker:
        pass
    assert tracker.run_id == opened
    assert client.get_run(opened).info.run_name == "resnet maps 256x256 seed 0"


def test_links_lead_where_browsers_reach_the_server(client, monkeypatch):
    with open_run("train") as tracker:
        pass
    monkeypatch.setenv("CYCLEGAN_MLFLOW_URL", "https://mlflow.example.com/")
    page = run_page(tracker.run_id)
    assert page.startswith("https://mlflow.example.com/#/experiments/")
    assert tracker.run_id in page
    assert run_page("unknown") == ""


def test_artifacts_are_read_through_the_server_unless_chosen_otherwise(monkeypatch):
    variable = "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"
    monkeypatch.delenv(variable, raising=False)
    quiet()
    assert os.environ[variable] == "false"
    monkeypatch.setenv(variable, "true")
    quiet()
    assert os.environ[variable] == "true"


@pytest.mark.parametrize(
    ("uri", "redacted"),
    [
        ("http://ann:secret@host:5000/x?token=1", "http://host:5000/x"),
        ("postgresql://u:p@db/mlflow", "postgresql://db/mlflow"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("synthetic:city", "synthetic:city"),
        ("/data/maps", "/data/maps"),
    ],
)
def test_redacted_addresses(uri, redacted):
    assert redact(uri) == redacted


def test_the_commit_of_this_checkout(monkeypatch):
    monkeypatch.delenv("GIT_COMMIT", raising=False)
    root = Path(__file__).resolve().parents[2]
    commit = git_commit()
    if (root / ".git").exists():
        assert commit is not None and len(commit.removesuffix("-dirty")) == 40
    else:
        assert commit is None
