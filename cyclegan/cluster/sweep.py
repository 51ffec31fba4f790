"""The trials of a sweep, spelled out before any of them runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cyclegan.cli.params import config_from
from cyclegan.errors import UsageError
from cyclegan.training.config import TrainConfig


def plan(grid: Mapping[str, Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the grid's values, each with the shared `options` as fields of TrainConfig.

    Raises UsageError for an unknown field, a value that it cannot have, or a field without a list of values:
    before any training.
    """
    known = {field.name for field in fields(TrainConfig)}
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"sweep_grid: {name} = {values!r}: expected a list of values to try.")
        if name not in known:
            config_from(TrainConfig, {name: values[0]}, "sweep_grid")
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    trials = [{**options, **combination} for combination in combinations]
    for trial in trials:
        config_from(TrainConfig, trial, f"Trial {trial}")
    return [{name: _plain(value) for name, value in trial.items()} for trial in trials]


def _plain(value: Any) -> Any:
    """Kubeflow Pipelines carries every number as a float: 3.0 is 3 again."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
