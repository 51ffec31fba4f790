"""Do one thing for many images in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from cyclegan.cores import available_cores
from cyclegan.errors import CycleGANError

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 16
WORTH_A_PROCESS = 200  # images; starting a process takes as long as preparing about so many


def for_each(
    action: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str
) -> Iterator[Result]:
    """Yield `action(job)` for every job, in order, from up to `workers` processes (0: all cores).

    Few jobs are done in this process. `action` must be a function of a module. Raises CycleGANError when a
    process dies.
    """
    workers = min(workers or available_cores(), len(jobs) // WORTH_A_PROCESS)
    with tqdm(total=len(jobs), desc=what, unit="image", disable=None) as bar:
        for result in _in_processes(action, jobs, workers) if workers > 1 else map(action, jobs):
            bar.update()
            yield result


def _chunk(action: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    return [action(job) for job in jobs]


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_processes(action: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    # spawn: forking a process in which torch or MLflow already runs threads can hang
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_interrupts_to_the_parent)
    try:
        for results in pool.map(partial(_chunk, action), chunks):
            yield from results
    except BrokenProcessPool:
        raise CycleGANError(
            "A worker process died (out of memory, or the calling script has no "
            "`if __name__ == '__main__':`); try with workers = 1."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
