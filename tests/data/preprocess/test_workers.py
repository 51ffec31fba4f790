from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.data.preprocess import workers
from cyclegan.data.preprocess.workers import for_each
from cyclegan.errors import CycleGANError


@pytest.fixture(autouse=True)
def _every_job_is_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORTH_A_PROCESS", 1)


def test_results_come_in_order() -> None:
    assert list(for_each(math.sqrt, range(500), 3, "x")) == [math.sqrt(i) for i in range(500)]


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        list(for_each(math.sqrt, [*range(100), -1, *range(100)], 2, "x"))


def test_a_worker_that_dies_is_one_sentence() -> None:
    with pytest.raises(CycleGANError, match="worker process died"):
        list(for_each(os._exit, [3] * 100, 2, "x"))


def test_what_a_worker_prints_does_no_harm() -> None:
    assert list(for_each(print, range(100), 2, "x")) == [None] * 100


@pytest.mark.skipif(not shutil.which("ps"), reason="no ps to list processes with")
def test_stopping_early_leaves_no_process() -> None:
    results = for_each(math.sqrt, range(10_000), 2, "x")
    assert next(results) == 0.0
    results.close()
    left = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False
    )
    assert "cyclegan.data.preprocess.workers" not in left.stdout


def test_a_script_without_a_guard_works(tmp_path: Path) -> None:
    """What somebody writes in five minutes, or in a notebook."""
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n"
        "from cyclegan.data.preprocess import workers\n"
        "workers.WORTH_A_PROCESS = 1\n"
        "print(sum(workers.for_each(math.sqrt, range(100), 2, 'x')) > 600)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0)
