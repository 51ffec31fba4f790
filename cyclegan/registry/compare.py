"""Runs side by side: scores, parameters and pictures from MLflow, in the terminal and as one HTML page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cyclegan.errors import UsageError
from cyclegan.io.pages.page import interval, number, picture, write_page
from cyclegan.io.uri import redact
from cyclegan.registry.compared import Compared, best_of, certain, metrics_of, not_alike
from cyclegan.registry.config import CompareConfig
from cyclegan.registry.metrics import NO_NAMES, Metric, where
from cyclegan.registry.results import Facts, Measure, Sample, measure_of, parse_facts, parse_scores
from cyclegan.tracking.runs import enabled
from cyclegan.tracking.server import check_server, mlflow_errors, quiet, run_url

FEW = 2  # runs whose names fit into their pictures
WIDEST = 90  # characters for the names of runs above a table
LOOKED_AT = 100  # runs on a data version; what each was scored by takes two requests
PICTURE = re.compile(
    r"images/(?P<key>.+)[+%]step[+%](?P<step>\d+)[+%]timestamp[+%](?P<time>\d+)[+%][^+%]*png"
)


def compare(runs: Sequence[str], out: Path, config: CompareConfig) -> str:
    """Write the page `out` about the runs, by id or name, and return the table of their scores as text.

    Raises UsageError for a run that is not there, CycleGANError when the server can't be reached.
    """
    if not enabled():
        raise UsageError("Comparing runs needs MLflow: install it, and do not set CYCLEGAN_TRACKING=off.")
    check_server()
    quiet()
    with mlflow_errors("Cannot read the runs from {}"):
        found = [_find(run) for run in runs]
        if config.data_version:
            found += _on_data(config.data_version, found)
        if not found:
            raise UsageError("Name the runs to compare, by id or name, or set a data_version that has runs.")
        compared = _told_apart([_read(run) for run in found[: config.count]])
    _write_page(out, compared)
    return table(compared)


def _told_apart(runs: list[Compared]) -> list[Compared]:
    """The runs, numbered in their names where these are alike, or would be cut off in narrow columns."""
    if len({run.name for run in runs}) == len(runs) and len(runs) <= FEW:
        return runs
    return [replace(run, name=f"{place}. {run.name}") for place, run in enumerate(runs, start=1)]


def table(runs: Sequence[Compared]) -> str:
    """Scores by run as text; the best of a row has a star, where the runs' data and measure allow it."""
    names = [f"{run.name} ({run.run_id[:6]})" for run in runs]
    lines = []
    if sum(map(len, names)) > WIDEST:  # columns as wide as such names would not fit beside each other
        names = [name if name.startswith(f"{i}. ") else f"{i}. {name}" for i, name in enumerate(names, 1)]
        lines, names = [*names, ""], [f"{i}." for i in range(1, len(names) + 1)]
    rows = [["", *names]]
    for metric in metrics_of(runs):
        best = best_of(metric, runs)
        cells = []
        for i, run in enumerate(runs):
            value = run.scores.get(metric.name)
            cells.append("-" if value is None else f"{value:.4g}{' *' if i in best else '  '}")
        rows.append([" ".join(part for part in (metric.label, metric.where) if part), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells]).rstrip())
    if warning := not_alike(runs):
        lines.append(warning)
    return "\n".join(lines)


def _find(run: str) -> Any:
    import mlflow

    if re.fullmatch(r"[0-9a-f]{32}", run):
        try:
            return mlflow.get_run(run)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UsageError(f"There is no run {run} at {redact(mlflow.get_tracking_uri())}.") from None
    name = run.replace("'", "")
    runs = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"attributes.run_name = '{name}'", output_format="list"
    )
    if not runs:
        raise UsageError(f"There is no run called '{run}' at {redact(mlflow.get_tracking_uri())}.")
    if len(runs) > 1:
        ids = ", ".join(found.info.run_id for found in runs[:4])
        raise UsageError(f"{len(runs)} runs are called '{run}': pass an id instead, such as {ids}.")
    return runs[0]


def _on_data(version: str, named: list[Any]) -> list[Any]:
    """The others of the newest runs on this data that were scored: those that compare together, best first.

    First come those that compare with the first named run, then the others, most of a kind first.
    """
    import mlflow

    quoted = version.replace("'", "")
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.data_version = '{quoted}'",
        order_by=["attributes.start_time DESC"],
        max_results=LOOKED_AT,
        output_format="list",
    )
    known = {run.info.run_id for run in named}
    first = _measure(named[0]) if named else None
    alike: dict[Measure, list[Any]] = {}
    for run in sorted((run for run in runs if "score" in run.data.metrics), key=_score):
        if run.info.run_id not in known:
            with suppress(UsageError):  # of a newer version, or damaged: it can be compared by its name
                alike.setdefault(_measure(run), []).append(run)
    order = sorted(alike, key=lambda measure: (measure != first, -len(alike[measure])))
    return [run for measure in order for run in alike[measure]]


def _score(run: Any) -> float:
    return float(run.data.metrics["score"])


def _read(run: Any) -> Compared:
    tags, run_id = run.data.tags, run.info.run_id
    data = run.inputs.dataset_inputs[0].dataset if run.inputs and run.inputs.dataset_inputs else None
    facts = {
        "status": run.info.status,
        "data": data.name if data else "",
        "data version": tags.get("data_version", ""),
        "commit": tags.get("git_commit", "")[:12],
        "registered": tags.get("registered", ""),
        "verdict": tags.get("verdict", ""),
    }
    kept = {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}
    values, about = _scores(run_id), _facts(run_id)
    samples = _samples(run_id, about.get("samples") or {})
    return Compared(
        run_id=run_id,
        name=run.info.run_name or run_id[:8],
        url=run_url(run),
        measure=_measure(run, about),
        facts={key: value for key, value in facts.items() if value},
        scores=kept | values,
        intervals={name: (ends[0], ends[1]) for name, ends in (about.get("intervals") or {}).items()},
        params={key: value for key, value in run.data.params.items() if not key.startswith("register.")},
        pictures={} if samples else _pictures(run_id),
        samples=samples,
        names=dict(NO_NAMES) | (about.get("names") or {}),
    )


def _measure(run: Any, about: Facts | None = None) -> Measure:
    """By which measure a run was scored; `about` is what `_facts` returns, where that is known already."""
    about = _facts(run.info.run_id) if about is None else about
    return replace(measure_of(about), data_version=run.data.tags.get("data_version", ""))


def _facts(run_id: str) -> Facts:
    """What is known about the scores that `evaluate` left in the run; empty where it left none."""
    text, place = _evaluated(run_id, "evaluation.json")
    return parse_facts(text, place) if text else {}


def _scores(run_id: str) -> dict[str, float]:
    """All scores that `evaluate` left in the run."""
    text, place = _evaluated(run_id, "scores.json")
    return parse_scores(text, place) if text else {}


def _evaluated(run_id: str, name: str) -> tuple[str, str]:
    """Text and address of a file that `evaluate` left in the run; no text where it did not."""
    import mlflow

    place = f"runs:/{run_id}/evaluation/{name}"
    there = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "evaluation")}
    return (str(mlflow.artifacts.load_text(place)) if f"evaluation/{name}" in there else ""), place


def _samples(run_id: str, index: dict[str, list[Sample]]) -> dict[str, dict[str, dict[str, bytes]]]:
    import mlflow

    if not index:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        local = Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path="evaluation/samples", dst_path=folder
            )
        )
        # only the last part of a file's name counts: the index is an artifact that anybody may have written
        return {
            direction: {
                sample["name"]: {
                    kind: (local / Path(file).name).read_bytes() for kind, file in sample["files"].items()
                }
                for sample in entries
                if {"input", "translation"} <= sample["files"].keys()
            }
            for direction, entries in index.items()
        }


def _pictures(run_id: str) -> dict[str, tuple[int, bytes]]:
    import mlflow

    newest: dict[str, tuple[int, int, str]] = {}
    for file in mlflow.MlflowClient().list_artifacts(run_id, "images"):
        if match := PICTURE.fullmatch(file.path):
            entry = (int(match["step"]), int(match["time"]), file.path)
            key = match["key"].replace("~", "/")
            newest[key] = max(newest.get(key, (-1, -1, "")), entry)
    pictures = {}
    for key, (step, _, path) in sorted(newest.items()):
        local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)
        pictures[key] = (step, Path(local).read_bytes())
    return pictures


def _write_page(path: Path, runs: Sequence[Compared]) -> None:
    names = sorted({name for run in runs for name in run.params})
    changed = [name for name in names if len({run.params.get(name) for run in runs}) > 1]
    groups: dict[str, list[tuple[Metric, list[tuple[str, str, str, bool]]]]] = {}
    for metric in metrics_of(runs):
        best, tones = best_of(metric, runs), certain(metric, runs)
        cells = [
            (
                "" if (value := run.scores.get(metric.name)) is None else number(value),
                interval(run.intervals.get(metric.name)),
                tones.get(i, ""),
                i in best,
            )
            for i, run in enumerate(runs)
        ]
        groups.setdefault(metric.group, []).append((metric, cells))
    shown = [row for rows in groups.values() for row in rows]
    write_page(
        path,
        "registry/compare.html.j2",
        runs=runs,
        few=len(runs) <= FEW,
        warning=not_alike(runs),
        groups=groups,
        starred=any(best for _, cells in shown for *_, best in cells),
        coloured=any(tone for _, cells in shown for _, _, tone, _ in cells),
        galleries=_galleries(runs),
        facts=list(dict.fromkeys(name for run in runs for name in run.facts)),
        changed=changed,
        same={name: runs[0].params[name] for name in names if name not in changed},
        keys=sorted({key for run in runs for key in run.pictures}),
        key_title=_key_title,
        picture=lambda png: picture(png, 1200, 88),
    )


def _key_title(key: str) -> str:
    """What the pictures of a key such as samples/AtoB show."""
    direction = re.split(r"[/_]", key)[-1]
    return where(direction) if direction in ("AtoB", "BtoA") else key


def _galleries(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """For each direction the test images that most runs show: input and truth once, a translation a run."""
    found = []
    for direction in ("AtoB", "BtoA"):
        names = dict.fromkeys(name for run in runs for name in run.samples.get(direction, {}))
        rows: list[dict[str, Any]] = []
        for name in names:
            own = [run.samples.get(direction, {}).get(name) for run in runs]
            first = next(files for files in own if files)
            rows.append(
                {
                    "name": name,
                    "input": picture(first["input"], 400),
                    "truth": picture(first["truth"], 400) if "truth" in first else None,
                    "translations": [picture(files["translation"], 400) if files else None for files in own],
                    "shared": sum(files is not None for files in own),
                }
            )
        rows.sort(key=lambda row: row["shared"], reverse=True)  # stable: images of all runs first
        if rows:
            title = where(direction, next(run for run in runs if run.samples.get(direction)).names)
            found.append({"title": title, "rows": rows[:6]})
    return found
