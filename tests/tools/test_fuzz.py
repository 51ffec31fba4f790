"""A short part of `make fuzz`, and whether it would notice."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import torch

from cyclegan.errors import CycleGANError
from tools.fuzz import guard
from tools.fuzz.common import Attack, WrongAccept
from tools.fuzz.targets import CLASSES

SHORT = 30
"""Mutations of each class here; `make fuzz` tries some 26,000."""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    threads = torch.get_num_threads()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    torch.set_num_threads(threads)
    logging.getLogger("cyclegan").setLevel(logging.NOTSET)


@pytest.mark.parametrize("name", CLASSES)
def test_damaged_input_is_valid_or_refused_in_one_sentence(name: str) -> None:
    make, _ = CLASSES[name]
    outcome = guard.run_here(name, make, SHORT, seed=1)
    assert not outcome.examples
    assert sum(outcome.counts.values()) == SHORT
    assert outcome.counts["accepted"] >= 3
    assert outcome.counts["refused"] >= 3 or name == "checkpoints"  # which are skipped instead


def test_what_is_not_one_sentence_is_found() -> None:
    def make(here: Path) -> Attack:
        def attack(rng: Random) -> None:
            kind = rng.choice(["good", "refused", "unclear", "traceback", "wrong accept"])
            if kind == "refused":
                raise CycleGANError("The file is damaged.")
            if kind == "unclear":
                raise CycleGANError("damaged")
            if kind == "traceback":
                raise KeyError("x")
            if kind == "wrong accept":
                raise WrongAccept("not finite")

        return attack

    found = guard.run_here("x", make, 50, seed=0).counts
    assert set(found) == {"accepted", "refused", "unclear", "traceback", "wrong accept"}


def test_hangs_crashes_and_growth_are_found_and_the_rest_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HANG_SECONDS", -4.5)
    monkeypatch.setattr(guard, "GROWTH_BYTES", 64 << 20)
    numbers = iter(range(100))

    def make(here: Path) -> Attack:
        first = int(here.name.removeprefix("from"))
        while first:
            first -= 1
            next(numbers)

        def attack(rng: Random) -> None:
            number = next(numbers)
            if number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 4:
                end = time.monotonic() + 60
                while time.monotonic() < end:
                    pass
            if number == 6:
                # Pages of its own: a bytearray may fit into what earlier tests left free in the heap.
                with mmap.mmap(-1, 100 << 20) as pages:
                    pages.write(bytes(100 << 20))

        return attack

    outcome = guard.run_guarded("x", make, 8, seed=0)
    assert outcome.counts == {"accepted": 6, "crash": 1, "hang": 1, "growth": 1}
    assert set(outcome.examples) == {"crash: signal SIGKILL", "hang: hang", "growth: memory"}
