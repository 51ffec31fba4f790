"""SIGTERM and Ctrl-C end training after the current update, with a checkpoint."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType

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
        logger.info("Stopping after this update; a second %s stops at once.", signal.Signals(number).name)

    def _restore(self) -> None:
        while self._former:
            signal.signal(*self._former.popitem())
