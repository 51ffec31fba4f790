"""MLflow runs: the only way to open them.

One run owns one execution: `train` opens it, `evaluate` and `register` reopen it by its id. Which server and
which experiment is the environment's choice (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID,
credentials); `name_experiment` alone sets one of them, where none is set. Without MLflow, or with
CYCLEGAN_TRACKING=off, a tracker that keeps nothing takes its place.

Everything is sent by one background thread, so the caller never waits for the network, and a server that goes
away after the run was opened costs a warning, not the training.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cyclegan.tracking.base import KFP_RUN, Tracker
from cyclegan.tracking.server import check_server, quiet, run_url

logger = logging.getLogger(__name__)


def enabled() -> bool:
    """Whether runs are tracked: MLflow is installed and CYCLEGAN_TRACKING is not `off`."""
    if os.environ.get("CYCLEGAN_TRACKING", "").lower() == "off":
        return False
    if importlib.util.find_spec("mlflow") is not None:
        return True
    if os.environ.get("MLFLOW_TRACKING_URI"):
        logger.warning("MLFLOW_TRACKING_URI is set but MLflow is not installed, so nothing is tracked.")
    return False


@contextmanager
def open_run(step: str, *, run_id: str | None = None, name: str | None = None) -> Iterator[Tracker]:
    """Open the MLflow run of a step, or continue one, until the block ends.

    Which run: `run_id` if given and known to the server, else the run that is active in this thread, else
    MLFLOW_RUN_ID, else a new one called `name`. It ends FINISHED, FAILED on an exception, KILLED on an
    interrupt.
    Raises CycleGANError when the server can't be reached or refuses.
    """
    if not enabled():
        yield Tracker()
        return
    check_server()
    from cyclegan.tracking.mlflow_tracker import MlflowTracker

    tracker = MlflowTracker(step, run_id, name)
    status = "FINISHED"
    try:
        yield tracker
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        status = "KILLED" if interrupted else "FAILED"
        raise
    finally:
        tracker.close(status)


def name_experiment(name: str) -> None:
    """Let this process's new runs go to experiment `name`, unless the environment has chosen one."""
    chosen = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
    if name and not any(os.environ.get(variable) for variable in chosen):
        os.environ["MLFLOW_EXPERIMENT_NAME"] = name


def close_runs(kfp_run: str) -> list[str]:
    """Mark as FAILED what a finished run of a pipeline left RUNNING in MLflow; returns the ids.

    A step that ends closes its run itself, so one that is still RUNNING belongs to a step that was killed.
    Where Kubeflow Pipelines keeps a run for each task, those under this pipeline run are looked at as well.
    For a pipeline's exit handler; its own run is left alone, and so is everything that has ended.
    """
    if not enabled() or not kfp_run:
        return []
    check_server()
    quiet()
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    own = os.environ.get("MLFLOW_RUN_ID", "")

    def search(condition: str) -> list[Any]:
        return list(client.search_runs(experiments, condition)) if experiments else []

    found = search(f"tags.`{KFP_RUN}{kfp_run}` != '' and attributes.status = 'RUNNING'")
    parents = [run.info.run_id for run in search(f"tags.`kfp.pipeline_run_id` = '{kfp_run}'")]
    while parents:
        parent = parents.pop()
        nested = search(f"tags.`mlflow.parentRunId` = '{parent}'")
        parents += [run.info.run_id for run in nested]
        found += [run for run in nested if run.info.status == "RUNNING"]
    left = [run_id for run_id in dict.fromkeys(run.info.run_id for run in found) if run_id != own]
    for run_id in left:
        client.set_tag(run_id, "failure", "its step ended without closing it: killed, or out of memory")
        client.set_terminated(run_id, "FAILED")
    return left


def count_attempt(step: str, task: str, run_id: str = "") -> int:
    """How often a task of a pipeline was started, this time included, by a tag of its MLflow run.

    `task` is an identity that all attempts share. The run is `run_id`, or else the one that the step will
    continue: opened here by the first attempt, which may be killed before the step gets that far. 1 where
    nothing is tracked. Raises CycleGANError when the server can't be reached.
    """
    if not enabled():
        return 1
    check_server()
    quiet()
    from mlflow import MlflowClient

    from cyclegan.tracking.database import prepare_database
    from cyclegan.tracking.opening import leave_run, start_run

    prepare_database()
    client, given = MlflowClient(), os.environ.get("MLFLOW_RUN_ID")
    run_id = run_id or leave_run(start_run(step, None, f"{step}, not begun yet"))
    if given:
        os.environ["MLFLOW_RUN_ID"] = given  # MLflow takes it away from whoever starts a run next
    tag = f"attempts.{step}"
    count, _, counted = client.get_run(run_id).data.tags.get(tag, "").partition(" ")
    attempt = int(count) + 1 if counted == task else 1
    client.set_tag(run_id, tag, f"{attempt} {task}")
    return attempt


def forget_attempts(task: str, run_id: str) -> None:
    """Delete the run that `count_attempt` opened for a task that then continued another, `run_id`.

    One that the backend opened, as MLFLOW_RUN_ID says, is the backend's to close.
    """
    if not enabled():
        return
    import mlflow

    kept = {run_id, os.environ.get("MLFLOW_RUN_ID")}
    for run in mlflow.search_runs(filter_string=f"tags.kfp_task = '{task}'", output_format="list"):
        if run.info.run_id not in kept and not run.data.params:
            mlflow.delete_run(run.info.run_id)


def run_page(run_id: str | None) -> str:
    """The address of a run's page; empty if there is none, or the server does not say."""
    if not run_id or not enabled():
        return ""
    import mlflow

    with suppress(Exception):  # a link is not worth a failed step
        return run_url(mlflow.get_run(run_id)) or ""
    return ""


def nest_runs(parent: str | None, children: Iterable[str]) -> None:
    """Make runs the children of run `parent`, as the MLflow UI shows a sweep; None changes nothing."""
    if parent is None:
        return
    from mlflow import MlflowClient

    for child in children:
        MlflowClient().set_tag(child, "mlflow.parentRunId", parent)
