"""MLflow runs: the only way to open them.

One run owns one execution: `train` opens it, `evaluate` and `register` reopen it by its id. Which server and
which experiment is the environment's choice (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID,
credentials); nothing here sets them. Without MLflow, or with CYCLEGAN_TRACKING=off, a tracker that keeps
nothing takes its place.

Everything is sent by one background thread, so the caller never waits for the network, and a server that goes
away after the run was opened costs a warning, not the training.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cyclegan.tracking.base import Tracker
from cyclegan.tracking.server import check_server

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


def fail_runs(tag: str, value: str, reason: str = "") -> list[str]:
    """Mark every run that carries tag `tag` = `value` as FAILED, with `reason` as tag `failure`.

    For a process that outlives the steps, such as a pipeline's exit handler: a step that was killed without a
    word has left its run RUNNING. Searches the experiment that the environment names. Returns the run ids.
    """
    if not enabled() or not value:
        return []
    check_server()
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
    known = client.get_experiment_by_name(name)
    experiment = os.environ.get("MLFLOW_EXPERIMENT_ID") or (known.experiment_id if known else "0")
    found = mlflow.search_runs([experiment], f"tags.`{tag}` = '{value}'", output_format="list")
    for run in found:
        client.set_tag(run.info.run_id, "failure", reason[:5000] or "a step failed")
        client.set_terminated(run.info.run_id, "FAILED")
    return [run.info.run_id for run in found]


def nest_runs(parent: str | None, children: Iterable[str]) -> None:
    """Make runs the children of run `parent`, as the MLflow UI shows a sweep; None changes nothing."""
    if parent is None:
        return
    from mlflow import MlflowClient

    for child in children:
        MlflowClient().set_tag(child, "mlflow.parentRunId", parent)
