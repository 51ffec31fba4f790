"""Runs side by side: scores, parameters and pictures from MLflow, in the terminal and as one HTML page."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file
from cyclegan.io.uri import redact
from cyclegan.tracking.runs import enabled
from cyclegan.tracking.server import check_server, first_line, quiet, run_url

logger = logging.getLogger(__name__)

PICTURE = re.compile(
    r"images/(?P<key>.+)[+%]step[+%](?P<step>\d+)[+%]timestamp[+%](?P<time>\d+)[+%][^+%]*png"
)
HIGHER_IS_BETTER = ("psnr", "ssim", "accuracy", "precision", "recall", "density", "coverage")
LOWER_IS_BETTER = ("score", "fid", "kid", "frechet", "kernel", "l1", "lpips")
NOT_SCORES = re.compile(
    r"(system|loss|score)/|_(se|input|mean)$|^(lr|input_correlation_.*|device_memory_gb)$"
)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which runs are compared, beside those named."""

    data_version: str = ""
    """Compare the runs on this data version, the best first."""
    count: int = 6
    """At most this many runs."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"compare: count = {self.count}: at least 1 is needed.")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the page shows of one run."""

    run_id: str
    name: str
    url: str | None
    data_version: str
    facts: dict[str, str]
    """Data version, commit, verdict, …"""
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    params: dict[str, str]
    pictures: dict[str, tuple[int, bytes]] = field(repr=False)
    """The newest picture of each key: its epoch and its PNG file."""


def compare(runs: Sequence[str], out: Path, config: CompareConfig) -> str:
    """Write the page `out` about the runs, by id or name, and return the table of their scores as text.

    Raises UsageError for a run that is not there, CycleGANError when the server can't be reached.
    """
    if not enabled():
        raise UsageError("Comparing runs needs MLflow: install it, and do not set CYCLEGAN_TRACKING=off.")
    check_server()
    import mlflow

    quiet()
    try:
        found = [_find(run) for run in runs]
        if config.data_version:
            found += _on_data(config.data_version, config.count, known={run.info.run_id for run in found})
        if not found:
            raise UsageError("Name the runs to compare, by id or name, or give a data_version that has runs.")
        compared = [_read(run) for run in found[: config.count]]
    except mlflow.MlflowException as error:
        where = redact(mlflow.get_tracking_uri())
        raise CycleGANError(f"Cannot read the runs from {where}: {first_line(error)}.") from None
    with atomic_file(out) as temporary:
        temporary.write_text(_page(compared), encoding="utf-8")
    logger.info("The page with the pictures: %s", out)
    return table(compared)


def table(runs: Sequence[Compared]) -> str:
    """Scores by run as text; the best of a row has a star, where the runs' data and measure allow it."""
    names = [f"{run.name} ({run.run_id[:6]})" for run in runs]
    rows = [["", *names]]
    for score in score_names(runs):
        best = best_of(score, runs)
        cells = []
        for i, run in enumerate(runs):
            value = run.scores.get(score)
            cells.append("-" if value is None else f"{value:.4g}{' *' if i in best else '  '}")
        rows.append([score, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells]).rstrip())
    if warning := not_alike(runs):
        lines.append(warning)
    return "\n".join(lines)


def score_names(runs: Iterable[Compared]) -> list[str]:
    """The scores that any of the runs has, the headline first."""
    names = {name for run in runs for name in run.scores if not NOT_SCORES.search(name)}
    return sorted(names, key=lambda name: (name != "score", name))


def best_of(score: str, runs: Sequence[Compared]) -> set[int]:
    """Which runs have the best value; none where it is not known which is better, or all are alike."""
    if not_alike(runs):
        return set()
    higher = any(word in score for word in HIGHER_IS_BETTER)
    if not higher and not any(word in score for word in LOWER_IS_BETTER):
        return set()
    values = [(run.scores[score], i) for i, run in enumerate(runs) if score in run.scores]
    if len({value for value, _ in values}) < 2:
        return set()
    best = (max if higher else min)(value for value, _ in values)
    return {i for value, i in values if value == best}


def not_alike(runs: Sequence[Compared]) -> str:
    """A sentence where the runs were scored on different data; empty otherwise."""
    if len({run.data_version for run in runs}) < 2:
        return ""
    return "These runs are on different data versions: their scores do not compare."


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
        raise UsageError(f"{len(runs)} runs are called '{run}': give an id instead, such as {ids}.")
    return runs[0]


def _on_data(version: str, count: int, known: set[str]) -> list[Any]:
    import mlflow

    quoted = version.replace("'", "")
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.data_version = '{quoted}'",
        order_by=["metrics.score ASC"],
        max_results=count + len(known),
        output_format="list",
    )
    return [run for run in runs if run.info.run_id not in known and "score" in run.data.metrics]


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
    return Compared(
        run_id=run_id,
        name=run.info.run_name or run_id[:8],
        url=run_url(run),
        data_version=tags.get("data_version", ""),
        facts={key: value for key, value in facts.items() if value},
        scores={key: value for key, value in run.data.metrics.items() if not key.startswith("system/")},
        intervals=_intervals(run_id),
        params={key: value for key, value in run.data.params.items() if not key.startswith("register.")},
        pictures=_pictures(run_id),
    )


def _intervals(run_id: str) -> dict[str, tuple[float, float]]:
    import mlflow

    names = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "evaluation")}
    if "evaluation/evaluation.json" not in names:
        return {}
    facts = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/evaluation/evaluation.json"))
    return {name: (float(ends[0]), float(ends[1])) for name, ends in (facts.get("intervals") or {}).items()}


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


def _page(runs: Sequence[Compared]) -> str:
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("cyclegan", "registry"), autoescape=True, trim_blocks=True)
    names = sorted({name for run in runs for name in run.params})
    changed = [name for name in names if len({run.params.get(name) for run in runs}) > 1]
    rows = []
    for score in score_names(runs):
        best = best_of(score, runs)
        cells = [
            (_number(run.scores.get(score)), _interval(run.intervals.get(score)), i in best)
            for i, run in enumerate(runs)
        ]
        rows.append((score, cells))
    return environment.get_template("compare.html.j2").render(
        runs=runs,
        warning=not_alike(runs),
        rows=rows,
        facts=list(dict.fromkeys(name for run in runs for name in run.facts)),
        changed=changed,
        same={name: runs[0].params[name] for name in names if name not in changed},
        keys=sorted({key for run in runs for key in run.pictures}),
        embed=_embed,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"


def _embed(png: bytes) -> str:
    """A picture as a data address; WebP, since PNG would make pages of tens of megabytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
