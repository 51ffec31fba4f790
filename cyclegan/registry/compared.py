"""Which scores of several runs compare, which of them are best, and which differences are certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cyclegan.registry.metrics import NO_NAMES, Metric, scores
from cyclegan.registry.results import Measure

EXTRACTOR = 24  # characters of an extractor: its name, and enough of its hash to tell two apart


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the page shows of one run."""

    run_id: str
    name: str
    url: str | None
    measure: Measure
    """By which its scores came about."""
    facts: dict[str, str]
    """Data version, commit, verdict, …"""
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    params: dict[str, str]
    pictures: dict[str, tuple[int, bytes]] = field(repr=False)
    """The newest picture of each key: its epoch and its PNG file."""
    samples: dict[str, dict[str, dict[str, bytes]]] = field(repr=False, default_factory=dict)
    """Of an evaluated run, by direction and name of the test image: files by 'input', 'translation', …"""
    names: dict[str, str] = field(default_factory=lambda: dict(NO_NAMES))
    """What domain A and B are called."""


def metrics_of(runs: Sequence[Compared]) -> list[Metric]:
    """The scores that any of the runs has, the headline first."""
    names = {run.names["A"] + run.names["B"] for run in runs}
    found = scores(
        {name for run in runs for name in run.scores}, runs[0].names if len(names) == 1 else NO_NAMES
    )
    return [
        metric for metric in found if metric.direction or metric.name == "score"
    ]  # its other name says no more


def best_of(metric: Metric, runs: Sequence[Compared]) -> set[int]:
    """Which runs have the best value; none where neither direction is better, or all are alike."""
    if metric.higher_is_better is None or _differences(metric, runs):
        return set()
    values = [(run.scores[metric.name], i) for i, run in enumerate(runs) if metric.name in run.scores]
    if len({value for value, _ in values}) < 2:
        return set()
    best = (max if metric.higher_is_better else min)(value for value, _ in values)
    return {i for value, i in values if value == best}


def certain(metric: Metric, runs: Sequence[Compared]) -> dict[int, str]:
    """Which runs are certainly better ('good') or worse ('bad') than the first: intervals do not overlap."""
    if metric.higher_is_better is None or metric.name not in runs[0].intervals:
        return {}
    low, high = runs[0].intervals[metric.name]
    found = {}
    for i, run in enumerate(runs[1:], start=1):
        ends = None if _differences(metric, [runs[0], run]) else run.intervals.get(metric.name)
        if ends and ends[0] > high:
            found[i] = "good" if metric.higher_is_better else "bad"
        elif ends and ends[1] < low:
            found[i] = "bad" if metric.higher_is_better else "good"
    return found


def not_alike(runs: Sequence[Compared]) -> str:
    """Sentences that say which scores of the runs do not compare, and why; empty where all do."""
    differing = set().union(*(_differences(metric, runs) for metric in metrics_of(runs)))
    said = []
    if "data_version" in differing:
        said.append("These runs are on different data versions: their scores do not compare.")
    if "protocol" in differing:
        said.append(
            f"These runs were scored in different ways ({_protocols(runs)}): their scores do not compare."
        )
    if "extractor" in differing:
        names = ", ".join(dict.fromkeys(run.measure.extractor[:EXTRACTOR] or "unknown" for run in runs))
        said.append(
            f"These runs were scored by different features ({names}): their realism does not compare."
        )
    return " ".join(said)


def _differences(metric: Metric, runs: Sequence[Compared]) -> set[str]:
    """In which fields the measures differ of those runs that have this score, where it depends on them."""
    measures = [run.measure for run in runs if metric.name in run.scores]
    decisive = ["data_version", "protocol"] + ["extractor"] * (metric.group == "Realism")
    return {name for name in decisive if len({getattr(measure, name) for measure in measures}) > 1}


def _protocols(runs: Sequence[Compared]) -> str:
    """The parts in which the runs' protocols differ, such as 'testA: 8, 200'."""
    protocols = [dict(run.measure.protocol) for run in runs]
    parts = []
    for key in dict.fromkeys(key for protocol in protocols for key in protocol):
        values = dict.fromkeys(protocol.get(key, "unknown") for protocol in protocols)
        if len(values) > 1:
            parts.append(f"{key}: {', '.join(values)}")
    return "; ".join(parts)
