"""MLflow runs: the only way to open them.

One run owns one execution: `train` opens it, `evaluate` and `register` reopen it by its id. Which server and
which experiment is the environment's choice (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID,
credentials); nothing here sets them. Without MLflow, or with CYCLEGAN_TRACKING=off, a tracker that keeps
nothing takes its place.

Everything is sent by one background thread, so the caller never waits for the network, and a server that goes
away after the run was opened costs a warning, not the training.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError
from cyclegan.uri import redact

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0


class Tracker:
    """What a step reports to. This one keeps nothing; `open_run` gives one that talks to MLflow if it can."""

    run_id: str | None = None
    url: str | None = None  # of the run's page, where the tracking server is one with pages

    def params(self, step: str, values: Any) -> None:
        """Record the fields of a config dataclass, or a mapping, as `<step>.<name>`; nested mappings by dots.

        A parameter that the run already has with the same value is left alone. One with another value keeps
        its first value, since MLflow's parameters are written once; the change becomes tag `changed.<name>`.
        """

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record numbers; returns at once."""

    def image(self, key: str, array: Any, step: int) -> None:
        """Record a picture, uint8 H×W×3; the MLflow UI shows all steps of a key as one slider."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file, or a folder's content, under `folder` of the run's artifacts; returns when stored."""

    def dataset(self, manifest: Any, context: str = "training") -> None:
        """Record the data (a Manifest: uri, version, domains, height, width, paired) as the run's input."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; an earlier value is replaced."""


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
    from cyclegan.mlflow_run import MlflowTracker

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


def check_server(seconds: float = CONNECT_SECONDS) -> None:
    """Ask an http(s) tracking server for a sign of life, since MLflow itself would retry for minutes.

    Raises CycleGANError when there is none. Servers of other kinds (a database, a folder) are not asked.
    """
    import mlflow
    import requests

    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        verify = False
    where = f"the MLflow server {redact(uri)}"
    advice = "start it, correct MLFLOW_TRACKING_URI, or set CYCLEGAN_TRACKING=off"
    try:
        answer = requests.get(uri.rstrip("/") + "/health", timeout=(seconds, 3 * seconds), verify=verify)
    except requests.exceptions.SSLError:
        raise CycleGANError(
            f"The certificate of {where} is not trusted: set MLFLOW_TRACKING_SERVER_CERT_PATH."
        ) from None
    except requests.exceptions.RequestException:
        raise CycleGANError(f"Cannot reach {where}: {advice}.") from None
    if answer.status_code in {502, 503, 504}:
        raise CycleGANError(f"Cannot use {where}, it answers {answer.status_code}: {advice}.")


def quiet() -> None:
    """Silence MLflow's own chatter: a line for each run's end, a bar for each file, the start of monitors."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for chatty in ("mlflow.system_metrics", "mlflow.store.model_registry"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def git_commit() -> str | None:
    """The commit of the code: GIT_COMMIT if set (as in the image), else that of the package's checkout.

    `-dirty` stands after it where files differ from the commit.
    """
    if commit := os.environ.get("GIT_COMMIT"):
        return commit
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return None


def flatten(values: Any, prefix: str) -> dict[str, str]:
    """A dataclass or nested mapping as `{"prefix.name": "value"}`; None becomes an empty string."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    if isinstance(values, Mapping):
        flat = [flatten(value, f"{prefix}.{key}") for key, value in values.items()]
        return {name: text for part in flat for name, text in part.items()}
    return {prefix: "" if values is None else str(values)}


def first_line(error: BaseException) -> str:
    """The part of an MLflow error that a user can read, without addresses that hold a password."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"//[^/@\s]*@", "//", lines[0]).rstrip(".")


def run_url(run: Any) -> str | None:
    """The address of a run's page, where the tracking server is one that has pages."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return None
    page = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    return f"{redact(uri).rstrip('/')}/#/{page}"
