"""Small charts as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

POINTS = 300
"""Points drawn of a curve; longer ones are averaged in so many groups."""
Bounds = Sequence[float] | None


@dataclass(frozen=True)
class Bar:
    """A value with its interval, and a champion's, as percentages of a common scale."""

    label: str
    value: str
    at: float
    low: float | None
    high: float | None
    champion: str
    champion_at: float | None
    champion_low: float | None
    champion_high: float | None


def bars(rows: Sequence[tuple[str, float, Bounds, float | None, Bounds]]) -> list[Bar]:
    """Place (label, value, interval, champion's value, its interval) on one scale from 0."""
    top = max(
        max([value, *(bounds or ()), champion or 0.0, *(old or ())])
        for _, value, bounds, champion, old in rows
    )

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * min(max(value, 0.0), top) / (top or 1.0), 2)

    def pair(bounds: Bounds) -> tuple[float | None, float | None]:
        return (place(bounds[0]), place(bounds[1])) if bounds else (None, None)

    return [
        Bar(
            label,
            f"{value:.4g}",
            place(value) or 0.0,
            *pair(bounds),
            "" if champion is None else f"{champion:.4g}",
            place(champion),
            *pair(old),
        )
        for label, value, bounds, champion, old in rows
    ]


def read_losses(path: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Curves of a losses.csv, {chart: {curve: [(step, value), …]}}; none where there is no such file.

    The first column is the step; columns whose names share what stands before the first `_` share a chart.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return {}
    step, *names = rows[0]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name in names:
        points = [(_float(row[step]), _float(row[name])) for row in rows]
        points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        if len(points) > 1 and name != "epoch":
            found.setdefault(name.partition("_")[0], {})[name] = points
    return found


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class Chart:
    """Polylines in a box of 600×200, ready for the template."""

    title: str
    axis: str
    curves: list[tuple[str, str]]
    """Name and `points` of each polyline."""
    top: str
    bottom: str
    first: str
    last: str


def lines(title: str, axis: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart:
    """A line chart of named curves on common axes; the value axis begins at 0 unless values are negative."""
    steps = [x for points in series.values() for x, _ in points]
    first, last = min(steps), max(steps)
    thinned = {name: _thin(np.asarray(points, dtype=float)) for name, points in series.items()}
    everything = np.concatenate(list(thinned.values()))[:, 1]
    low, high = everything.min(), float(everything.max())
    low = min(0.0, float(low))
    width, height = last - first or 1.0, high - low or 1.0
    curves = [
        (
            name,
            " ".join(
                f"{600 * (x - first) / width:.1f},{200 - 200 * (y - low) / height:.1f}" for x, y in points
            ),
        )
        for name, points in thinned.items()
    ]
    return Chart(title, axis, curves, f"{high:.3g}", f"{low:.3g}", f"{first:g}", f"{last:g}")


def _thin(points: np.ndarray) -> np.ndarray:
    if len(points) <= POINTS:
        return points
    return np.stack([part.mean(0) for part in np.array_split(points, POINTS)])
