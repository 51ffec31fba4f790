"""Which MLflow run a step uses, and what its experiment needs to show it."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from cyclegan.errors import CycleGANError
from cyclegan.io.uri import redact
from cyclegan.tracking import view
from cyclegan.tracking.base import KFP_RUN, git_commit

logger = logging.getLogger(__name__)


def start_run(step: str, run_id: str | None, name: str | None) -> Any:
    """Start the run of a step as the active one of this thread and return it.

    It is the one named by `run_id` where that still exists, else the one in MLFLOW_RUN_ID, else the one that
    an earlier attempt of the same pipeline task opened, else a new one called `name`.
    """
    import mlflow

    kfp_run = os.environ.get("KFP_RUN_ID", "")
    if run_id:
        try:
            if mlflow.get_run(run_id).info.lifecycle_stage == "active":
                again = {f"{KFP_RUN}{kfp_run}": step} if kfp_run else {}
                if task := os.environ.get("CYCLEGAN_KFP_TASK"):
                    again["kfp_task"] = task
                return mlflow.start_run(run_id=run_id, tags=again, log_system_metrics=False)
            reason = "was deleted"
        except mlflow.MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            reason = "is unknown"
        uri = redact(mlflow.get_tracking_uri())
        logger.warning("Run %s %s at %s; a new run is opened.", run_id, reason, uri)
    commit = git_commit() or ""
    tags = {
        "git_commit": commit,
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "mlflow.source.name": f"cyclegan {step}",
        "kfp_run_id": kfp_run,
        f"{KFP_RUN}{kfp_run}": step if kfp_run else "",
        "kfp_task": os.environ.get("CYCLEGAN_KFP_TASK", ""),
    }
    given: dict[str, Any] = {key: value for key, value in tags.items() if value}
    if os.environ.get("MLFLOW_RUN_ID"):
        # whoever opened that run has named it; Kubeflow Pipelines after the task, which says little
        if kfp_run and name:
            given["mlflow.runName"] = name
        name = None
    elif earlier := run_of_task(given.get("kfp_task", "")):
        if name:
            given["mlflow.runName"] = name  # it may have been opened only to count attempts
        return mlflow.start_run(run_id=earlier, tags=given, log_system_metrics=False)
    return mlflow.start_run(run_name=name, tags=given, log_system_metrics=False)


def run_of_task(task: str) -> str | None:
    """The run that an earlier attempt of the same pipeline task has opened, as when its pod was deleted."""
    import mlflow

    if not task:
        return None
    found: Any = mlflow.search_runs(
        filter_string=f"tags.kfp_task = '{task}'", max_results=1, output_format="list"
    )
    return found[0].info.run_id if found else None


def leave_run(run: Any) -> str:
    """Let go of the active run without ending it; returns its id."""
    import mlflow

    mlflow.end_run("RUNNING")
    return str(run.info.run_id)


def refuse_lost_artifacts(run: Any) -> None:
    """End a run whose pictures and models could not be stored: only a server can write to its own store.

    Raises CycleGANError for such a run, after marking it as failed.
    """
    import mlflow

    uri = mlflow.get_tracking_uri()
    if run.info.artifact_uri.startswith("mlflow-artifacts:") and not uri.startswith(("http://", "https://")):
        mlflow.end_run("FAILED")
        raise CycleGANError(
            f"The experiment in {redact(uri)} belongs to an MLflow server, and artifacts can be stored only "
            "through it: set MLFLOW_TRACKING_URI to its address, or MLFLOW_EXPERIMENT_NAME to a new name."
        )


def mark_experiment(experiment_id: str) -> None:
    """Tell the UI that this is about training, else it opens on a page about language models' traces.

    It also gets a view of the runs; one that people have changed stays as it is.
    """
    import mlflow

    client = mlflow.MlflowClient()
    with suppress(mlflow.MlflowException):  # whoever may log runs need not be allowed to change experiments
        tags = client.get_experiment(experiment_id).tags
        kind = tags.get("mlflow.experimentKind", "")
        if not kind or kind.endswith("_inferred"):
            client.set_experiment_tag(experiment_id, "mlflow.experimentKind", "custom_model_development")
        if view.TAG not in tags:
            client.set_experiment_tag(experiment_id, view.TAG, view.saved_view())
