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
        synchronise: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`total` counts the updates of the run; `epochs_between` two pauses of a kind, 0 for none.

        `synchronise` waits until the device has done what it was asked to.
        """
        self.total, self.steps_per_epoch, self.epochs_between = total, steps_per_epoch, epochs_between
        self.synchronise, self.clock = synchronise, clock
        self.updates, self.seconds = 0, 0.0
        """Of this process so far."""
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.pauses: dict[Pause, list[float]] = {}
        self._mark = clock()
        self._reported = (0, 0.0)

    def start(self) -> None:
        """Time before this belongs to no update."""
        self._mark = self.clock()

    def updated(self) -> None:
        """Note the end of an update."""
        self.updates += 1
        if self.updates in (WARM_UP, WARM_UP + MEASURED):
            self.synchronise()  # so that what was measured is work done rather than work ordered
        took = self._lap()
        if self.updates > WARM_UP:
            self.recent.append(took)

    @contextmanager
    def pause(self, kind: Pause) -> Iterator[None]:
        """Time within the block is a pause and no part of any update."""
        self.synchronise()
        self._lap()
        try:
            yield
        finally:
            now = self.clock()
            self.pauses.setdefault(kind, []).append(now - self._mark)
            self._mark = now

    def interval(self) -> float:
        """Updates per second since this was last called (once the device has done them)."""
        self._lap()
        updates, seconds = self.updates - self._reported[0], self.seconds - self._reported[1]
        self._reported = self.updates, self.seconds
        return updates / seconds if seconds > 0 else 0.0

    @property
    def speed(self) -> float:
        """Updates per second in this process."""
        return self.updates / self.seconds if self.seconds > 0 else 0.0

    @property
    def recent_speed(self) -> float:
        """Updates per second lately, without the warm-up."""
        return len(self.recent) / sum(self.recent) if sum(self.recent) > 0 else self.speed

    @property
    def measured(self) -> bool:
        """Whether so many updates were measured that `left` is good to about 20 %."""
        return self.updates >= WARM_UP + MEASURED

    def left(self, step: int) -> float | None:
        """Seconds that the run will take after update `step`; None before any update was measured."""
        if not self.recent:
            return None
        updates = self.total - step
        seconds = updates * sum(self.recent) / len(self.recent)
        for kind, took in self.pauses.items():
            if every := self.epochs_between.get(kind):
                seconds += updates / (self.steps_per_epoch * every) * sum(took) / len(took)
        return seconds

    def _lap(self) -> float:
        now = self.clock()
        took = now - self._mark
        self._mark = now
        self.seconds += took
        return took


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
