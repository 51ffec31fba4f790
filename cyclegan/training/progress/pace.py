"""How fast a run is and how long the rest will take, from the updates and pauses it has had so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

Pause = Literal["samples", "evaluation", "checkpoint", "model"]

# The first updates of a process compile, choose algorithms and fill caches: they tell nothing about the rest.
WARM_UP = 3
# Updates after those before the run's length is estimated.
MEASURED = 20
RECENT = 200


class Pace:
    """Wall time of updates, and of the pauses between them, in seconds."""

    def __init__(
        self,
        total: int,
        steps_per_epoch: int,
        epochs_between: Mapping[Pause, int],
        *,
        synchronise: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`total` counts the updates of the run; `epochs_between` two pauses of a kind, 0 for none.

        `synchronise` waits until the device has done what it was asked to; None where an update that has
        returned is done.
        """
        self.total, self.steps_per_epoch, self.epochs_between = total, steps_per_epoch, epochs_between
        self.synchronise, self.clock = synchronise, clock
        self.updates, self.seconds = 0, 0.0
        """Of this process so far."""
        self.pauses: dict[Pause, list[float]] = {}
        self._done: deque[tuple[int, float]] = deque()
        self._open = (0, 0.0)
        self._begun = self._mark = clock()
        self._reported = (0, 0.0)

    def start(self) -> None:
        """Time before this belongs to no update."""
        self._mark = self.clock()

    def updated(self) -> None:
        """Note the end of an update."""
        self.updates += 1
        known = self.updates in (WARM_UP, WARM_UP + MEASURED)
        if known and self.synchronise:
            self.synchronise()
        self._lap(1)
        if known or not self.synchronise:
            self._close()

    @contextmanager
    def pause(self, kind: Pause) -> Iterator[None]:
        """Time within the block is a pause and no part of any update."""
        if self.synchronise:
            self.synchronise()
        self._lap()
        self._close()
        try:
            yield
        finally:
            now = self.clock()
            self.pauses.setdefault(kind, []).append(now - self._mark)
            self._mark = now

    def interval(self) -> float:
        """Updates per second since this was last called; call it once the device has done them."""
        self._lap()
        self._close()
        updates, seconds = self.updates - self._reported[0], self.seconds - self._reported[1]
        self._reported = self.updates, self.seconds
        return updates / seconds if seconds > 0 else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return self.clock() - self._begun

    @property
    def speed(self) -> float:
        """Updates per second in this process."""
        return self.updates / self.seconds if self.seconds > 0 else 0.0

    @property
    def recent_speed(self) -> float:
        """Updates per second lately, without the warm-up."""
        updates, seconds = self._recent()
        return updates / seconds if seconds > 0 else self.speed

    @property
    def measured(self) -> bool:
        """Whether so many updates were measured that `left` is good to about 20 %."""
        return self.updates >= WARM_UP + MEASURED

    def left(self, step: int) -> float | None:
        """Seconds that the run will take after update `step`; None before any update was measured.

        It counts the pauses up to the end, of the kinds that there have been; `unmeasured` has the others.
        """
        if not self._done:
            return None
        updates, spent = self._recent()
        seconds = (self.total - step) * spent / updates
        for kind, took in self.pauses.items():
            seconds += self._still(kind, step) * sum(took) / len(took)
        return seconds

    def unmeasured(self, kind: Pause, step: int) -> int:
        """How many pauses of a kind are to come after update `step`; 0 if there has been one to judge by."""
        return 0 if kind in self.pauses else self._still(kind, step)

    def _still(self, kind: Pause, step: int) -> int:
        every = self.epochs_between.get(kind, 0)
        epochs = self.total // self.steps_per_epoch
        times = epochs // every - step // self.steps_per_epoch // every if every else 0
        # the last epoch has one of each kind, but for evaluations where there are none at all
        at_the_end = epochs % every if every else kind != "evaluation"
        return times + (step < self.total and bool(at_the_end))

    def _recent(self) -> tuple[int, float]:
        return sum(updates for updates, _ in self._done), sum(seconds for _, seconds in self._done)

    def _lap(self, updates: int = 0) -> None:
        now = self.clock()
        took = now - self._mark
        self._mark = now
        self.seconds += took
        self._open = self._open[0] + updates, self._open[1] + took

    def _close(self) -> None:
        """Note what was done since the last time, apart from the warm-up; forget what is long ago."""
        if self.updates <= WARM_UP:
            self._open = 0, 0.0
        elif self._open[0]:
            self._done.append(self._open)
            self._open = 0, 0.0
            while self._recent()[0] - self._done[0][0] >= RECENT:
                self._done.popleft()


def duration(seconds: float) -> str:
    """A length of time as people say it: 45 s, 12 min, 3 h 20 min, 4 days 3 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"
