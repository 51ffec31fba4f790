"""Runs attacks and judges how each one ended, in a process of its own: a crash or a hang is a finding too."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from random import Random

import psutil

from cyclegan.errors import CycleGANError
from cyclegan.io.terminal import sentence
from tools.fuzz.common import Attack, WrongAccept

HANG_SECONDS = 10.0
GROWTH_BYTES = 1 << 30
GOOD = frozenset({"accepted", "refused"})
KINDS = ("accepted", "refused", "traceback", "unclear", "wrong accept", "hang", "growth", "crash")


@dataclass
class Outcome:
    """How the mutations of one class ended, by kind, with the first examples of each place that failed."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """What happened, by where; each with the number of the mutation."""
    slowest: float = 0.0

    def note(self, kind: str, where: str = "", text: str = "") -> None:
        """Count one mutation."""
        self.counts[kind] += 1
        if kind not in GOOD:
            self.examples.setdefault(f"{kind}: {where}", text)

    @property
    def bad(self) -> int:
        """Mutations that ended in something other than acceptance or one sentence."""
        return sum(count for kind, count in self.counts.items() if kind not in GOOD)


def judge(attack: Attack, name: str, number: int, seed: int, outcome: Outcome) -> None:
    """Make one mutation and note how it ended."""
    rng = Random(f"{seed} {name} {number}")
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attack(rng)
    except CycleGANError as error:
        if wrong := unclear(error):
            outcome.note("unclear", _place(error), f"{number}: {wrong}: {str(error)[:300]!r}")
        else:
            outcome.note("refused")
    except WrongAccept as error:
        outcome.note("wrong accept", str(error)[:60], f"{number}: {error}")
    except Exception as error:
        outcome.note("traceback", _place(error), f"{number}: {type(error).__name__}: {str(error)[:300]!r}")
    else:
        outcome.note("accepted")


def unclear(error: CycleGANError) -> str:
    """Why a message is not one sentence that can be printed; empty where it is."""
    if "\n" in str(error).strip():
        return "more than one line"
    shown = sentence(error)
    if not shown.isprintable():
        return "not printable"
    return "" if shown.endswith((".", "?", ")")) else "no full stop"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if "/cyclegan/" in frame.filename and "/site-packages/" not in frame.filename
    ]
    last = ours[-1] if ours else frames[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} ({last.name})"


def run_here(name: str, make: Callable[[Path], Attack], count: int, seed: int) -> Outcome:
    """A class in this process, without guard against hangs and crashes."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        attack = make(Path(folder))
        for number in range(count):
            judge(attack, name, number, seed, outcome)
    return outcome


def run_guarded(name: str, make: Callable[[Path], Attack], count: int, seed: int, first: int = 0) -> Outcome:
    """A class in child processes; what hangs, crashes or fills the memory is noted and skipped."""
    outcome, number = Outcome(), first
    here = Path(tempfile.mkdtemp())
    shared = SharedMemory(create=True, size=8)
    view = shared.buf
    assert view is not None
    try:
        while number < first + count:
            view[:8] = number.to_bytes(8, "little")
            reports = here / "reports.jsonl"
            reports.write_text("")
            child = os.fork()
            if not child:
                _child(name, make, number, first + count, seed, view, reports, here)
            ended = _watch(child, view)
            _collect(reports, outcome)
            at = int.from_bytes(view[:8], "little")
            if ended:
                outcome.note("hang" if ended == "hang" else "crash", ended, f"{at}: {ended}")
            elif at < first + count:
                raise RuntimeError(f"{name}: the process ended early, see above")
            number = at + 1 if ended else at
    finally:
        view.release()
        shared.close()
        shared.unlink()
        shutil.rmtree(here, ignore_errors=True)
    return outcome


def _child(
    name: str,
    make: Callable[[Path], Attack],
    first: int,
    end: int,
    seed: int,
    view: memoryview,
    reports: Path,
    here: Path,
) -> None:
    code = 1
    try:
        folder = here / f"from{first}"
        folder.mkdir()
        attack = make(folder)
        status = psutil.Process().memory_info()
        resource.setrlimit(resource.RLIMIT_AS, (status.vms + 4 * GROWTH_BYTES,) * 2)
        with reports.open("a") as file:
            for number in range(first, end):
                view[:8] = number.to_bytes(8, "little")
                before = _reset_peak()
                started = time.process_time()
                one = Outcome()
                judge(attack, name, number, seed, one)
                one.slowest = time.process_time() - started
                if _peak() - before > GROWTH_BYTES:
                    one.note("growth", "memory", f"{number}: {(_peak() - before) >> 20} MB")
                file.write(json.dumps([one.counts, one.examples, one.slowest]) + "\n")
                file.flush()
            view[:8] = end.to_bytes(8, "little")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _watch(child: int, view: memoryview) -> str:
    """Wait for the child; what ended it other than the work's end, empty where nothing did."""
    process, at, spent = psutil.Process(child), -1, 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return f"signal {signal.Signals(status & 127).name}" if status & 127 else ""
        time.sleep(0.2)
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            now = int.from_bytes(view[:8], "little")
            if now != at:
                at, spent, since = now, times.user + times.system, time.monotonic()
            if process.status() == psutil.STATUS_RUNNING:
                since = time.monotonic()  # it does not wait; on a busy machine it may get little of it
            if times.user + times.system - spent > HANG_SECONDS + 5 or time.monotonic() - since > 90:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "hang"


def _collect(reports: Path, outcome: Outcome) -> None:
    for line in reports.read_text().splitlines():
        counts, examples, seconds = json.loads(line)
        outcome.counts.update(counts)
        for where, text in examples.items():
            outcome.examples.setdefault(where, text)
        outcome.slowest = max(outcome.slowest, seconds)


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
