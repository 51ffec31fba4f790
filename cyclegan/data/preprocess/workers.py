"""Do one thing for many images in several threads.

Decoders, torch's resize, hashes and files release the interpreter's lock for nearly all of their time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from cyclegan.runtime.cpu import available_cores

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 16
AHEAD = 4  # chunks for each worker; more would only take memory


def for_each(
    action: Callable[[Job], Result], jobs: Sequence[Job], workers: int, what: str
) -> Iterator[Result]:
    """Yield `action(job)` for every job, in order, from up to `workers` threads (0: all cores).

    Raises what `action` raises.
    """
    workers = min(workers or available_cores(), -(-len(jobs) // CHUNK))
    with tqdm(total=len(jobs), desc=what, unit="image", disable=None) as bar:
        for result in _in_threads(action, jobs, workers) if workers > 1 else map(action, jobs):
            bar.update()
            yield result


def _in_threads(action: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    chunks = (jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK))
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        for chunk in chunks:
            waiting.append(pool.submit(lambda these: [action(job) for job in these], chunk))
            if len(waiting) == AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
