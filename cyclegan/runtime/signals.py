"""SIGTERM and Ctrl-C end training after the current update, with a checkpoint, and servers in good order."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn

from cyclegan.errors import CycleGANError

logger = logging.getLogger(__name__)


class Interrupted(CycleGANError, KeyboardInterrupt):
    """Training was asked to stop and has left a checkpoint; exit code 128 + signal, as shells expect.

    A KeyboardInterrupt too, so that whoever watches the run calls it stopped rather than failed.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """Within the block the first SIGTERM or SIGINT only sets `number`; a second one acts as usual."""

    number: int = 0

    def __init__(self, answer: str = "Stopping after this update; a second %s stops at once.") -> None:
        """`answer` is logged on the first signal; a %s in it stands for the signal's name."""
        self._answer = answer

    def __enter__(self) -> StopRequest:
        self._former = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python forbids handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def wait(self) -> None:
        """Return once a signal has come."""
        while not self.number:  # no threading.Event, whose lock the handler may find held by this very thread
            time.sleep(0.1)

    def raise_interrupted(self, step: int, total: int) -> None:
        """End the run after the checkpoint of update `step`; raises Interrupted."""
        number = self.number or signal.SIGTERM  # another process may have been asked
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} after update {step} of {total}, with a checkpoint; "
            "run the same command to resume.",
            number,
        )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()
        logger.info(self._answer.replace("%s", signal.Signals(number).name))

    def _restore(self) -> None:
        while self._former:
            signal.signal(*self._former.popitem())


def leave() -> NoReturn:
    """End the process at once with exit code 0, after what is registered with `atexit`.

    Python itself would wait for threads, and a translation in one can take minutes; after torch and gradio it
    would also compute for a second to free every object.
    """
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # a reader who has gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
