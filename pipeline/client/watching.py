"""Follow a run on the cluster by its tasks, to the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cyclegan.errors import CycleGANError
from pipeline.client.server import Server, Unreachable

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
"""How long a server may be out of reach, as behind a port-forward that is opened again."""
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
LAST_LINES = 25
NOISE = re.compile(r"[IWEF]\d{4} \d\d:|\[KFP Executor|time=")
"""How lines begin that the backend's own programs print into a step's log."""
FATAL = re.compile(r"F\d{4} \d\d:")
"""How the last line of such a program begins that gave up."""


class LostSight(CycleGANError):
    """The server stayed out of reach while the run was not over."""

    exit_code = 3


@dataclass(frozen=True)
class Titles:
    """What a pipeline's tasks are called on the page, by the names that the backend gives them.

    A run also lists, under the same parents, Argo's nodes for drivers, attempts and executors: those aren't
    tasks of the pipeline, and their names are not among these.
    """

    of: dict[str, str]
    blocks: frozenset[str]
    """Names of tasks that hold others, and so fail with them."""

    @classmethod
    def read(cls, spec: dict[str, Any]) -> Titles:
        """The titles in a compiled pipeline."""
        parts = spec.get("components", {})
        dags = [spec["root"], *parts.values()]
        tasks = {name: task for dag in dags for name, task in dag.get("dag", {}).get("tasks", {}).items()}
        return cls(
            {name: task.get("taskInfo", {}).get("name") or name for name, task in tasks.items()},
            frozenset(name for name, task in tasks.items() if "dag" in parts[task["componentRef"]["name"]]),
        )


def wait(server: Server, run_id: str, titles: Titles, say: Callable[[str], None] = print) -> None:
    """Report each task as it starts and ends; return after a success, with what registration said.

    Raises CycleGANError when the run failed, naming the step, after showing the end of its log; LostSight
    when the server stays out of reach for PATIENCE_SECONDS.
    """
    shown: dict[str, str] = {}
    while True:
        run = _run(server, run_id, say)
        tasks = [task for task in _tasks(run) if task.display_name in titles.of]
        cached = _cached(run)
        for task in sorted(tasks, key=lambda task: str(task.start_time or "~")):
            state = task.state or "PENDING"
            if shown.get(task.task_id) != state and state not in {"PENDING", "RUNTIME_STATE_UNSPECIFIED"}:
                shown[task.task_id] = state
                word = (
                    "cached"
                    if task.start_time == task.end_time and task.start_time in cached
                    else state.lower()
                )
                say(f"{_duration(task):>9}  {word:10}  {titles.of[task.display_name]}")
        if run.state in ENDED:
            break
        time.sleep(POLL_SECONDS)
    say(f"{_duration(run):>9}  {run.state.lower():10}  the run")
    if run.state == "SUCCEEDED":
        last = [t for t in tasks if t.display_name in {"register", "pick-best"} and t.state == "SUCCEEDED"]
        for summary in filter(None, (_summary(_log(server, run_id, task)) for task in last)):
            say(summary)
        if any(task.state == "RUNNING" for task in tasks):
            # Argo compresses the nodes of a large workflow, and the server cannot read those
            say("The server stopped listing the tasks of this large run; its page has the summaries.")
        return
    failed = [task for task in tasks if task.state == "FAILED" and task.display_name not in titles.blocks]
    cause = min(failed, key=lambda task: str(task.end_time or "~"), default=None)
    if cause is None:
        raise CycleGANError(f"The run ended {run.state}{_by_driver(run, titles)}.")
    lines = _log(server, run_id, cause)
    if lines:
        say("\n".join(lines[-LAST_LINES:]))
    killed = " It was killed, likely for its memory: raise node_memory." if lines[-1:] == ["Killed"] else ""
    raise CycleGANError(f"The run ended {run.state}: step '{titles.of[cause.display_name]}' failed.{killed}")


def _run(server: Server, run_id: str, say: Callable[[str], None]) -> Any:
    end = 0.0
    while True:
        try:
            return server.get_run(run_id)
        except Unreachable as error:
            if not end:
                end = time.monotonic() + PATIENCE_SECONDS
                say(f"{error} Trying again for {PATIENCE_SECONDS / 60:.0f} minutes.")
            if time.monotonic() >= end:
                raise LostSight(f"The server is still out of reach; run {run_id} continues.") from None
        time.sleep(POLL_SECONDS)


def _tasks(run: Any) -> list[Any]:
    details = run.run_details
    return list(details.task_details or []) if details else []


def _by_driver(run: Any, titles: Titles) -> str:
    """How a sentence ends about a run that failed before a step began, in the backend's own program."""
    for task in _tasks(run):
        step = str(task.display_name).removesuffix("-driver")
        if task.state == "FAILED" and step != task.display_name and step in titles.of:
            return f": Kubeflow's driver of step '{titles.of[step]}' failed, whose log is on the run's page"
    return ""


def _cached(run: Any) -> set[Any]:
    """When the tasks started whose executor was skipped: the backend has no other sign of a cached answer."""
    return {
        task.start_time for task in _tasks(run) if task.display_name == "executor" and task.state == "SKIPPED"
    }


def _log(server: Server, run_id: str, task: Any) -> list[str]:
    """The lines that a step printed itself in its last attempt, else what the backend's program died of."""
    children = [child.pod_name for child in task.child_tasks or []]
    texts = [server.log(run_id, pod) for pod in (task.pod_name, *children) if pod]
    text = next((text for text in reversed(texts) if text.strip()), "")
    return _own_lines(text) or [line for line in text.splitlines() if FATAL.match(line)][-1:]


def _own_lines(log: str) -> list[str]:
    """A log without the lines and the JSON objects that the launcher and KFP's executor print."""
    own, inside = [], False
    for line in log.splitlines():
        if inside:
            inside = line != "}"
        elif line == "{" or (NOISE.match(line) and line.endswith("{")):
            inside = True
        elif line.strip() and not NOISE.match(line):
            own.append(line)
    return own


def _summary(lines: list[str]) -> str:
    """What a step says at its end: its last heading and what follows."""
    marks = [number for number, line in enumerate(lines) if line.startswith("# ")]
    return re.sub(r"\\(\W|_)", r"\1", "\n".join(lines[marks[-1] :])) if marks else ""


def _duration(what: Any) -> str:
    start = getattr(what, "start_time", None) or getattr(what, "created_at", None)
    end = getattr(what, "end_time", None) or getattr(what, "finished_at", None)
    if not start or not end or end < start:
        return ""
    seconds = int((end - start).total_seconds())
    return f"{seconds // 60} m {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
