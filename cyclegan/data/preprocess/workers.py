"""Do one thing for many images in several processes.

The workers are plain Python processes that talk through pipes. multiprocessing would either fork, which can
hang where torch or MLflow already run threads, or import the caller's main module again, which costs seconds
and fails for scripts without `if __name__ == "__main__":`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from cyclegan.errors import CycleGANError
from cyclegan.runtime.cpu import available_cores

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 16
WORTH_A_PROCESS = 200  # images; starting a process takes as long as preparing about so many


def for_each(
    action: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str
) -> Iterator[Result]:
    """Yield `action(job)` for every job, in order, from up to `workers` processes (0: all cores).

    Few jobs are done in this process. `action` must be a function of an importable module. Raises what
    `action` raises, and CycleGANError when a process dies.
    """
    workers = min(workers or available_cores(), len(jobs) // WORTH_A_PROCESS)
    with tqdm(total=len(jobs), desc=what, unit="image", disable=None) as bar:
        for result in _in_processes(action, jobs, workers) if workers > 1 else map(action, jobs):
            bar.update()
            yield result


def _start() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is the parent's business
    )


def _in_processes(action: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(chunks)):
        waiting.put(number)
    answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    processes = [_start() for _ in range(workers)]

    def serve(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin and process.stdout
        with contextlib.suppress(queue.Empty):
            while True:
                number = waiting.get_nowait()
                try:
                    pickle.dump((action, chunks[number]), process.stdin)
                    process.stdin.flush()
                    answers.put((number, pickle.load(process.stdout)))
                except (OSError, EOFError, ValueError, pickle.UnpicklingError):
                    error = CycleGANError("A worker process died, perhaps out of memory: try fewer workers.")
                    answers.put((number, error))
                    return

    threads = [threading.Thread(target=serve, args=(process,), daemon=True) for process in processes]
    try:
        for thread in threads:
            thread.start()
        ready: dict[int, list[Result]] = {}
        for number in range(len(chunks)):
            while number not in ready:
                arrived, answer = answers.get()
                if isinstance(answer, Exception):
                    raise answer
                ready[arrived] = answer
            yield from ready.pop(number)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe and pipe.close()


def _work() -> None:
    """A worker: answer pickled (action, jobs) from standard input until it ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    while True:
        try:
            action, jobs = pickle.load(requests)
        except EOFError:
            return
        answer: Any
        try:
            answer = [action(job) for job in jobs]
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _work()
