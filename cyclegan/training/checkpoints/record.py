"""How far a run is and what it keeps of its history: the part of a checkpoint that is not tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Best:
    """The best evaluation during training: lowest score, after so many epochs."""

    score: float
    epoch: int
    metric: str = ""
    """What the score is; scores of other features don't compare with it."""


@dataclass
class Progress:
    """What a run knows at the end of update number `step`; all of it fits JSON."""

    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    """Means of the updates before the last log line, by the names of `update.TERMS`."""
    curves: list[list[float]] = field(default_factory=list)
    """A row a log line: update, mean of each loss, learning rate. A tensor in a checkpoint."""
    images_per_second: float = 0.0
    best: Best | None = None
    """None without evaluations during training."""
    worse: int = 0
    """Evaluations since the best one."""
    mlflow_run_id: str | None = None
    threads: int | None = None
    """CPU threads and, below, whether networks were compiled: with others results differ by rounding."""
    compiled: bool | None = None
    networks: dict[str, dict[str, str | int]] | None = None
    """Name and arguments of `generator` and `discriminator`; None in a checkpoint of an earlier version."""

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @staticmethod
    def from_json(values: Any) -> Progress:
        """The record with these values; raises ValueError where they are of another kind.

        `values` is what `parse_json` returns, so that all numbers are finite.
        """
        from pydantic import TypeAdapter

        if not isinstance(values, Mapping):
            raise ValueError("its record of progress is not a mapping.")
        known = {one.name for one in fields(Progress)}
        kept = json.dumps({name: value for name, value in values.items() if name in known})
        progress = TypeAdapter(Progress).validate_json(kept, strict=True)
        json.dumps(progress.to_json(), allow_nan=False)  # a huge integer has become infinity
        return progress
