"""The learning rate by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Decay = Literal["linear", "cosine"]


def in_epochs(count: int) -> str:
    """1 epoch, 2 epochs …"""
    return f"{count} epoch{'s'[: count != 1]}"


@dataclass(frozen=True)
class Schedule:
    """`constant` epochs at the full rate, then `decay` epochs down to 0 (arXiv 1703.10593, section 4)."""

    constant: int
    decay: int
    kind: Decay = "linear"

    @property
    def epochs(self) -> int:
        """All epochs: those of the full rate and those of the decay."""
        return self.constant + self.decay

    def factor(self, epoch: int) -> float:
        """What the rate is multiplied by in an epoch, counted from 0; never 0 in an epoch that is trained."""
        done = (epoch - self.constant + 1) / (self.decay + 1)
        if done <= 0:
            return 1.0
        if done >= 1:
            return 0.0
        return 1 - done if self.kind == "linear" else (1 + math.cos(math.pi * done)) / 2

    def agrees(self, other: Schedule, epochs: int) -> bool:
        """Whether both have the same rate in each of the first `epochs` epochs."""
        return all(self.factor(epoch) == other.factor(epoch) for epoch in range(epochs))
