"""A run on an MLflow server, spoken to from a thread of its own; `cyclegan.tracking.runs` opens it."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError
from cyclegan.io.uri import redact
from cyclegan.tracking import view
from cyclegan.tracking.base import Tracker, artifact_link, flatten, overview, worth_showing
from cyclegan.tracking.database import prepare_database
from cyclegan.tracking.dataset import log_dataset
from cyclegan.tracking.opening import mark_experiment, refuse_lost_artifacts, start_run
from cyclegan.tracking.server import check_server, first_line, quiet, run_url

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # metrics wait at most this long for company
ATTEMPTS = 3  # for a request that a reachable server refused
GIVE_UP_SECONDS = 20.0  # at the end of a run: how long the server may stay away before we stop waiting
ASK_SECONDS = 5.0  # between two questions whether it is still there
RULE = "\n\n---\n\n"  # between the evaluation's description and the registry's
AWAY_SECONDS = 5.0  # between two attempts while it is away


class MlflowTracker(Tracker):
    """Speaks to MLflow from a thread of its own, in which the run is the active one of the fluent API."""

    def __init__(self, step: str, run_id: str | None, name: str | None) -> None:
        import mlflow

        quiet()
        prepare_database()
        outer = mlflow.active_run()
        self._borrowed = run_id is None and outer is not None
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._metrics: list[Any] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._status = "FINISHED"
        self._dropped = 0
        self._known: dict[str, str] = {}
        self._experiment = ""
        self._system: Any = None
        self._watches = step == "train"
        opened: Future[str] = Future()
        wanted = outer.info.run_id if run_id is None and outer is not None else run_id
        self._thread = threading.Thread(
            target=self._work, args=(step, wanted, name, opened), daemon=True, name="mlflow-tracker"
        )
        self._thread.start()
        opened.result()

    # Called by the step -------------------------------------------------------------------------------------

    def params(self, step: str, values: Any) -> None:
        import mlflow

        flat = flatten(values, step)
        shown = worth_showing(step, values)
        self._send(lambda: self._log_params(shown, flat))
        if shown.keys() != flat.keys():
            whole = {key.removeprefix(f"{step}."): text for key, text in flat.items()}
            self._send(lambda: mlflow.log_dict(whole, f"config/{step}.json"))

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

    def dataset(self, data: Any, context: str = "training") -> None:
        self._send(lambda: log_dataset(self.run_id or "", data, context))

    def table(self, file: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import mlflow

        columns = list(rows[0]) if rows else []
        values = {"columns": columns, "data": [[row[column] for column in columns] for row in rows]}
        # mlflow.log_table would append to the table of a former evaluation; this is the form that it writes.
        self._send(lambda: mlflow.log_dict(values, file))
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": file, "type": "table"}])})

    def describe(self, text: str, pictures: Mapping[str, Any] | None = None) -> None:
        import mlflow

        if pictures:
            for key, image in pictures.items():
                self._send(partial(mlflow.log_image, image.copy(), overview(key)))
            links = {key: artifact_link(self.run_id or "", overview(key)) for key in pictures}
            shown = "\n\n".join(f"![Test images, {key}]({link})" for key, link in links.items())
            first, _, rest = text.partition("\n\n")  # of a long description the UI shows 100 pixels at first
            text = f"{first}\n\n{shown}\n\n{rest}".rstrip()
        text += f"\n\n[All runs with scores and pictures]({view.view_page(self._experiment)})"
        self.tags({"mlflow.note.content": text})

    def conclude(self, text: str) -> None:
        self._send(lambda: self._conclude(text))

    def _conclude(self, text: str) -> None:
        from mlflow import MlflowClient

        assert self.run_id is not None
        client = MlflowClient()
        note = client.get_run(self.run_id).data.tags.get("mlflow.note.content", "")
        above = note.partition(RULE)[0]
        client.set_tag(self.run_id, "mlflow.note.content", f"{above}{RULE}{text}" if above else text)

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
            run = start_run(step, run_id, name)
            refuse_lost_artifacts(run)
            mark_experiment(run.info.experiment_id)
            self._known = dict(run.data.params)
            self.url = run_url(run)
            self._experiment = run.info.experiment_id
            self.page = f"#/experiments/{self._experiment}/runs/{run.info.run_id}"
            self.run_id = run.info.run_id
            opened.set_result(run.info.run_id)
        except CycleGANError as error:
            opened.set_exception(error)
            return
        except Exception as error:
            uri = redact(mlflow.get_tracking_uri())
            opened.set_exception(
                CycleGANError(f"Could not start an MLflow run at {uri}: {first_line(error)}.")
            )
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
        if self._system:
            self._system.finish()

    def _flush(self) -> None:
        from mlflow import MlflowClient

        with self._lock:
            rows, self._metrics = self._metrics, []
        for start in range(0, len(rows), 1000):  # what one request may hold
            batch = partial(MlflowClient().log_batch, self.run_id or "", metrics=rows[start : start + 1000])
            self._attempt(batch, len(rows[start : start + 1000]))
        if rows and self._watches and not self._system:
            self._watch_the_machine()

    def _watch_the_machine(self) -> None:
        """Record CPU, memory and GPU from now on: MLflow's comparison draws what a run has recorded first."""
        from mlflow.system_metrics import system_metrics_monitor

        monitor: Any = system_metrics_monitor.SystemMetricsMonitor  # which has no types
        self._system = monitor(self.run_id, resume_logging=True)
        self._system.start()

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
                    logger.warning("The MLflow server does not answer; the step continues and tries again.")
                time.sleep(AWAY_SECONDS if away else 1.0)

    def _log_params(self, shown: dict[str, str], flat: dict[str, str]) -> None:
        import mlflow

        changed = {key: value for key, value in flat.items() if self._known.get(key, value) != value}
        for key, value in changed.items():
            logger.info("Parameter %s is now %s, was %s in the same run.", key, value, self._known[key])
        if changed:
            tags = {f"changed.{key}": f"{self._known[key]} -> {value}" for key, value in changed.items()}
            mlflow.set_tags(tags)
        if new := {key: value for key, value in shown.items() if key not in self._known}:
            mlflow.log_params(new)
            self._known.update(new)


def _reachable() -> bool:
    try:
        check_server()
    except CycleGANError:
        return False
    return True
