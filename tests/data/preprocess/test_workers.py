from __future__ import annotations

import math
import threading
import time

import pytest

from cyclegan.data.preprocess import workers
from cyclegan.data.preprocess.workers import for_each


def test_results_come_in_order() -> None:
    def slow_at_first(i: int) -> float:
        time.sleep(0.002 * (i < 20))
        return math.sqrt(i)

    assert list(for_each(slow_at_first, range(500), 3, "x")) == [math.sqrt(i) for i in range(500)]


def test_several_threads_work_at_once() -> None:
    both = threading.Barrier(2, timeout=20)
    first_of_chunk = [i % workers.CHUNK == 0 for i in range(4 * workers.CHUNK)]
    assert len(list(for_each(lambda first: first and both.wait(), first_of_chunk, 2, "x"))) == len(
        first_of_chunk
    )


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        list(for_each(math.sqrt, [*range(100), -1, *range(100)], 2, "x"))


def test_stopping_early_leaves_no_thread_and_little_done_in_vain() -> None:
    done: list[int] = []
    results = for_each(done.append, range(10_000), 2, "x")
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]
    assert len(done) < 2000
