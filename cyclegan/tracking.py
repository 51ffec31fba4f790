"""MLflow runs: the only module that opens them.

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
import json
import logging
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cyclegan.errors import CycleGANError

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # metrics wait at most this long for company
ATTEMPTS = 3  # for a request that a reachable server refused
GIVE_UP_SECONDS = 20.0  # at the end of a run: how long the server may stay away before we stop waiting
ASK_SECONDS = 5.0  # between two questions whether it is still there
AWAY_SECONDS = 5.0  # between two attempts while it is away
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


NullTracker = Tracker


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
    tracker = _MlflowTracker(step, run_id, name)
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


def redact(uri: str) -> str:
    """The URI without user, password and query, fit for messages and tags."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


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


class _MlflowTracker(Tracker):
    """Speaks to MLflow from a thread of its own, in which the run is the active one of the fluent API."""

    def __init__(self, step: str, run_id: str | None, name: str | None) -> None:
        import mlflow

        quiet()
        database = mlflow.get_tracking_uri().removeprefix("sqlite:///")
        if database != mlflow.get_tracking_uri() and not Path(database).exists():
            logger.info("Creating the MLflow database %s; this takes some 20 seconds, once.", database)
        outer = mlflow.active_run()
        self._borrowed = run_id is None and outer is not None
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._metrics: list[Any] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._status = "FINISHED"
        self._dropped = 0
        self._known: dict[str, str] = {}
        opened: Future[str] = Future()
        wanted = outer.info.run_id if run_id is None and outer is not None else run_id
        self._thread = threading.Thread(
            target=self._work, args=(step, wanted, name, opened), daemon=True, name="mlflow-tracker"
        )
        self._thread.start()
        opened.result()

    # Called by the step -------------------------------------------------------------------------------------

    def params(self, step: str, values: Any) -> None:
        flat = flatten(values, step)
        self._send(lambda: self._log_params(flat))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        rows = [Metric(key, float(value), now, step or 0) for key, value in values.items()]
        with self._lock:
            self._metrics.extend(rows)

    def image(self, key: str, array: Any, step: int) -> None:
        import mlflow

        copy = array.copy()  # the caller may draw the next picture into the same memory
        self._send(lambda: mlflow.log_image(copy, key=key, step=step))

    def artifact(self, path: Path, folder: str = "") -> None:
        import mlflow

        if path.is_dir():
            self._wait(self._send(lambda: mlflow.log_artifacts(str(path), folder or None)))
        else:
            self._wait(self._send(lambda: mlflow.log_artifact(str(path), folder or None)))

    def dataset(self, manifest: Any, context: str = "training") -> None:
        self._send(lambda: self._log_dataset(manifest, context))

    def tags(self, values: Mapping[str, str]) -> None:
        import mlflow

        copy = {key: str(value) for key, value in values.items()}
        self._send(lambda: mlflow.set_tags(copy))

    def close(self, status: str) -> None:
        """Send what is left and end the run, waiting as long as the server lives."""
        self._status = status
        self._closing.set()
        self._jobs.put(None)
        if not self._patiently(lambda: self._thread.join(1.0), lambda: not self._thread.is_alive()):
            logger.warning("The MLflow server went away; the last metrics of run %s are lost.", self.run_id)
        elif self._dropped:
            logger.warning("MLflow refused %d records of run %s.", self._dropped, self.run_id)

    def _send(self, job: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self._jobs.put((job, done))
        return done

    def _wait(self, done: Future[Any]) -> None:
        def wait() -> None:
            with suppress(TimeoutError):
                done.result(timeout=1.0)

        self._patiently(wait, done.done)

    def _patiently(self, wait: Callable[[], None], over: Callable[[], bool]) -> bool:
        """Wait while the server answers; False once it stayed away for GIVE_UP_SECONDS."""
        seen = time.monotonic()
        asked = seen
        while not over():
            wait()
            now = time.monotonic()
            if now - asked < ASK_SECONDS:
                continue
            if _reachable():
                seen = time.monotonic()
            elif now - seen > GIVE_UP_SECONDS:
                return False
            asked = time.monotonic()
        return True

    # In the thread ------------------------------------------------------------------------------------------

    def _work(self, step: str, run_id: str | None, name: str | None, opened: Future[str]) -> None:
        import mlflow

        try:
            run = self._open(step, run_id, name)
            _refuse_lost_artifacts(run)
            _mark_experiment(run.info.experiment_id)
            self._known = dict(run.data.params)
            self.url = run_url(run)
            self.run_id = run.info.run_id
            opened.set_result(run.info.run_id)
        except CycleGANError as error:
            opened.set_exception(error)
            return
        except Exception as error:
            uri = redact(mlflow.get_tracking_uri())
            opened.set_exception(CycleGANError(f"MLflow at {uri} opened no run: {first_line(error)}."))
            return
        while True:
            item: tuple[Callable[[], Any], Future[Any]] | None
            try:
                item = self._jobs.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                self._flush()
                continue
            self._flush()
            if item is None:
                break
            job, done = item
            self._attempt(job, 1)
            done.set_result(None)
        if not self._borrowed:
            self._attempt(lambda: mlflow.end_run(self._status), 1)

    def _open(self, step: str, run_id: str | None, name: str | None) -> Any:
        import mlflow

        system = step == "train"
        kfp_run = os.environ.get("KFP_RUN_ID", "")
        if run_id:
            try:
                if mlflow.get_run(run_id).info.lifecycle_stage == "active":
                    again = {"kfp_run_id": kfp_run} if kfp_run else None
                    return mlflow.start_run(run_id=run_id, tags=again, log_system_metrics=system)
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
        }
        given: dict[str, Any] = {key: value for key, value in tags.items() if value}
        if os.environ.get("MLFLOW_RUN_ID"):
            name = None  # whoever opened that run has named it
        return mlflow.start_run(run_name=name, tags=given, log_system_metrics=system)

    def _flush(self) -> None:
        from mlflow import MlflowClient

        with self._lock:
            rows, self._metrics = self._metrics, []
        for start in range(0, len(rows), 1000):  # what one request may hold
            batch = partial(MlflowClient().log_batch, self.run_id or "", metrics=rows[start : start + 1000])
            self._attempt(batch, len(rows[start : start + 1000]))

    def _attempt(self, job: Callable[[], Any], records: int) -> None:
        """Do a job; while the server is away wait for it, unless the run is closing; refusals are counted."""
        attempt = 0
        while True:
            try:
                job()
                return
            except Exception as error:
                attempt += 1
                away = not _reachable()
                if (away and self._closing.is_set()) or (not away and attempt >= ATTEMPTS):
                    self._dropped += records
                    logger.warning("Not recorded in MLflow: %s.", first_line(error))
                    return
                if away and attempt == 1:
                    logger.warning("The MLflow server does not answer; the step goes on and tries again.")
                time.sleep(AWAY_SECONDS if away else 1.0)

    def _log_params(self, flat: dict[str, str]) -> None:
        import mlflow

        changed = {key: value for key, value in flat.items() if self._known.get(key, value) != value}
        for key, value in changed.items():
            logger.info("Parameter %s is now %s, was %s in the same run.", key, value, self._known[key])
        if changed:
            tags = {f"changed.{key}": f"{self._known[key]} -> {value}" for key, value in changed.items()}
            mlflow.set_tags(tags)
        if new := {key: value for key, value in flat.items() if key not in self._known}:
            mlflow.log_params(new)
            self._known.update(new)

    def _log_dataset(self, manifest: Any, context: str) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Dataset, DatasetInput, InputTag

        assert self.run_id is not None
        client = MlflowClient()
        digest = str(manifest.version)[:36]  # the longest that MLflow keeps; a DVC folder version just fits
        inputs = client.get_run(self.run_id).inputs
        known = inputs.dataset_inputs if inputs else []
        if any(entry.dataset.digest == digest and entry.tags[0].value == context for entry in known):
            return
        kind, source = _source(manifest.uri)
        profile = {f"{domain} images": facts["count"] for domain, facts in manifest.domains.items()}
        profile |= {"height": manifest.height, "width": manifest.width, "test pairs": manifest.paired}
        data = Dataset(
            name=_dataset_name(manifest.uri),
            digest=digest,
            source_type=kind,
            source=json.dumps(source),
            profile=json.dumps(profile),
        )
        entry = DatasetInput(data, [InputTag("mlflow.data.context", context)])
        client.log_inputs(self.run_id, [entry])
        client.set_tag(self.run_id, "data_version", str(manifest.version))


def _reachable() -> bool:
    try:
        check_server()
    except CycleGANError:
        return False
    return True


def run_url(run: Any) -> str | None:
    """The address of a run's page, where the tracking server is one that has pages."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return None
    page = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    return f"{redact(uri).rstrip('/')}/#/{page}"


def _refuse_lost_artifacts(run: Any) -> None:
    """End a run whose pictures and models could not be stored: only a server can write to its own store."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if run.info.artifact_uri.startswith("mlflow-artifacts:") and not uri.startswith(("http://", "https://")):
        mlflow.end_run("FAILED")
        raise CycleGANError(
            f"The experiment in {redact(uri)} was made by an MLflow server, which alone can store its "
            "artifacts: set MLFLOW_TRACKING_URI to its address, or MLFLOW_EXPERIMENT_NAME to a new name."
        )


def _mark_experiment(experiment_id: str) -> None:
    """Tell the UI that this is about training; otherwise it opens on a page about language models' traces."""
    import mlflow

    client = mlflow.MlflowClient()
    with suppress(mlflow.MlflowException):  # whoever may log runs need not be allowed to change experiments
        kind = client.get_experiment(experiment_id).tags.get("mlflow.experimentKind", "")
        if not kind or kind.endswith("_inferred"):
            client.set_experiment_tag(experiment_id, "mlflow.experimentKind", "custom_model_development")


def _source(uri: str) -> tuple[str, dict[str, Any]]:
    """MLflow's kind of dataset source and its description."""
    scheme = urlsplit(uri).scheme
    if scheme in {"http", "https"}:
        return "http", {"url": redact(uri)}
    if scheme == "s3":
        return "s3", {"uri": uri}
    if scheme == "synthetic":
        return "code", {"tags": {"mlflow.source.name": uri}}
    return "local", {"uri": uri}


def _dataset_name(uri: str) -> str:
    """The last speaking part of a URI: `synthetic:city` is city, `https://…/maps.zip` is maps."""
    last = re.split(r"[/:]", redact(uri).rstrip("/"))[-1]
    return re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", last) or "images"
