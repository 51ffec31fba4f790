"""Small charts as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np

POINTS = 300
"""Points drawn of a curve; longer ones are averaged in so many groups."""
Bounds = Sequence[float] | None


@dataclass(frozen=True)
class Mark:
    """A value on a bar, with its interval where it has one, as percentages of the common scale."""

    kind: Literal["ours", "theirs", "baseline", "worse"]
    text: str
    at: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart."""

    label: str
    value: str
    worse: bool
    """Whether a baseline that a useful model beats is better."""
    marks: list[Mark]


@dataclass(frozen=True)
class Bars:
    """Lines on one scale that begins at 0."""

    rows: list[Bar]
    axis: str
    top: str


@dataclass(frozen=True)
class Level:
    """A value to draw: lower is better."""

    label: str
    value: float
    bounds: Bounds = None
    champion: float | None = None
    champion_bounds: Bounds = None
    baselines: Mapping[str, float] = field(default_factory=dict)


def bars(levels: Sequence[Level], axis: str) -> Bars:
    """Place values, their champion's and their baselines on one scale from 0."""
    top = max(
        max([level.value, *(level.bounds or ()), level.champion or 0.0, *(level.champion_bounds or ())])
        for level in levels
    )
    top = max([top, *(value for level in levels for value in level.baselines.values())]) * 1.02 or 1.0

    def place(value: float) -> float:
        return round(100 * min(max(value, 0.0), top) / top, 2)

    def mark(kind: Literal["ours", "theirs", "worse"], text: str, value: float, bounds: Bounds) -> Mark:
        low, high = (place(bounds[0]), place(bounds[1])) if bounds else (None, None)
        return Mark(kind, f"{text} {value:.4g}", place(value), low, high)

    rows = []
    for level in levels:
        worse = any(level.value >= value for value in level.baselines.values())
        marks = [
            Mark("baseline", f"{name} {value:.4g}", place(value)) for name, value in level.baselines.items()
        ]
        if level.champion is not None:
            marks.append(mark("theirs", "champion", level.champion, level.champion_bounds))
        marks.append(mark("worse" if worse else "ours", "this model", level.value, level.bounds))
        rows.append(Bar(level.label, f"{level.value:.4g}", worse, marks))
    return Bars(rows, axis, f"{top:.3g}")


TITLES = {
    "cycle": "Cycle-consistency loss",
    "identity": "Identity loss",
    "adversarial": "Adversarial loss of the generators",
    "D": "Discriminator loss",
    "real": "Discriminator output",
    "fake": "Discriminator output",
    "lr": "Learning rate",
}
CURVES = {"real": "real", "fake": "translated"}
Curves = dict[str, dict[str, list[tuple[float, float]]]]


def read_losses(path: Path, names: Mapping[str, str] | None = None) -> Curves:
    """Curves of a losses.csv as `curves` groups them; none where there is no such file."""
    return curves(path.read_text(encoding="utf-8"), names) if path.is_file() else {}


def curves(text: str, names: Mapping[str, str] | None = None) -> Curves:
    """The curves of the text of a losses.csv: {chart: {curve: [(step, value), …]}}.

    The first column is the step; what stands before the first `_` of a name decides its chart. `names` are
    the user's names of domain A and B.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        return {}
    step, *columns = rows[0]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name in columns:
        points = [(_float(row[step]), _float(row[name])) for row in rows]
        points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        if len(points) > 1 and name != "epoch":
            term, _, domain = name.partition("_")
            where = _domains(domain, names or {"A": "A", "B": "B"})
            label = " ".join(part for part in (CURVES.get(term, ""), where) if part)
            found.setdefault(TITLES.get(term, term), {})[label or TITLES.get(term, term)] = points
    return found


def _domains(text: str, names: Mapping[str, str]) -> str:
    parts = text.split("to") if text in ("AtoB", "BtoA") else [text]
    return " → ".join(names.get(part, part) for part in parts)


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


COLOURS = ("#1f6feb", "#cf5c1b", "#1a7f37", "#8250df", "#bf3989", "#57606a")


def as_svg(charts: Sequence[Chart], columns: int = 2) -> str:
    """Line charts as one SVG file that needs no style sheet, 720 pixels wide a chart."""
    width, height = 720, 310
    rows = -(-len(charts) // columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * width}" height="{rows * height}" '
        f'viewBox="0 0 {columns * width} {rows * height}" font-family="sans-serif" font-size="13" '
        'fill="#59626c">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for i, chart in enumerate(charts):
        parts.append(f'<g transform="translate({i % columns * width + 70},{i // columns * height + 45})">')
        parts.append(f'<text x="0" y="-18" fill="#1b1f24" font-size="16">{escape(chart.title)}</text>')
        parts += [f'<path d="M0 {y}H600" stroke="#dde2e7"/>' for y in (0, 100, 200)]
        parts.append(f'<text x="-8" y="5" text-anchor="end">{chart.top}</text>')
        parts.append(f'<text x="-8" y="205" text-anchor="end">{chart.bottom}</text>')
        parts.append(f'<text x="0" y="220">{chart.first}</text><text x="300" y="220" text-anchor="middle">')
        parts.append(f'{chart.axis}</text><text x="600" y="220" text-anchor="end">{chart.last}</text>')
        for j, (name, points) in enumerate(chart.curves):
            colour = COLOURS[j % len(COLOURS)]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
            x, y = j % 3 * 200, 241 + j // 3 * 16
            parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{escape(name)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])
