"""Follow a run on the cluster by its tasks, to the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from cyclegan.errors import CycleGANError
from pipeline.server import Server

POLL_SECONDS = 5.0
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
LAST_LINES = 25
NOISE = re.compile(r"[IWEF]\d{4} \d\d:|\[KFP Executor|time=\"")
"""How lines begin that the backend's own programs print into a step's log."""


def wait(server: Server, run_id: str, say: Callable[[str], None] = print) -> None:
    """Report each task as it starts and ends; return after a success, with what registration said.

    Raises CycleGANError when the run failed, naming the step, after showing the end of its log.
    """
    shown: dict[str, str] = {}
    while True:
        run = server.get_run(run_id)
        tasks = [task for task in _tasks(run) if not (task.display_name or "").endswith("-driver")]
        for task in tasks:
            state = task.state or "PENDING"
            if shown.get(task.task_id) != state and state not in {"PENDING", "RUNTIME_STATE_UNSPECIFIED"}:
                shown[task.task_id] = state
                say(f"{_duration(task):>9}  {state.lower():10}  {task.display_name}")
        if run.state in ENDED:
            break
        time.sleep(POLL_SECONDS)
    say(f"{_duration(run):>9}  {run.state.lower():10}  the run")
    if run.state == "SUCCEEDED":
        for task in tasks:
            if _is(task, "register"):
                say(_end_of_log(server, run_id, task, "# "))
        return
    failed = [task for task in tasks if task.state == "FAILED"]
    # a block fails with its step: the one that ended first is the cause
    cause = min(failed, key=lambda task: str(task.end_time or "~"), default=None)
    if cause is None:
        raise CycleGANError(f"The run ended {run.state}.")
    if text := _end_of_log(server, run_id, cause, ""):
        say(text)
    raise CycleGANError(f"The run ended {run.state}: step '{cause.display_name}' failed.")


def _tasks(run: Any) -> list[Any]:
    details = run.run_details
    return list(details.task_details or []) if details else []


def _is(task: Any, name: str) -> bool:
    return str(task.display_name or "").lower().startswith(name)


def _end_of_log(server: Server, run_id: str, task: Any, start: str) -> str:
    """The last lines that a task's pods printed, from the last line that begins with `start` on."""
    pods = [task.pod_name, *(child.pod_name for child in task.child_tasks or [])]
    texts = [server.log(run_id, pod) for pod in pods if pod]
    lines = [line for line in "\n".join(texts).splitlines() if line.strip() and not NOISE.match(line)]
    lines = lines[-LAST_LINES:]
    marks = [number for number, line in enumerate(lines) if start and line.startswith(start)]
    return "\n".join(lines[marks[-1] :] if marks else lines if not start else [])


def _duration(what: Any) -> str:
    start = getattr(what, "start_time", None) or getattr(what, "created_at", None)
    end = getattr(what, "end_time", None) or getattr(what, "finished_at", None)
    if not start or not end or end < start:
        return ""
    seconds = int((end - start).total_seconds())
    return f"{seconds // 60} m {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
