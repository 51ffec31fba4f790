"""What an evaluation leaves on the page of its MLflow run: a description, a picture, a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan.evaluation.pages.samples import sample_sheet
from cyclegan.evaluation.pages.verdict import verdict
from cyclegan.evaluation.result import Evaluation
from cyclegan.io.pages.page import interval, number
from cyclegan.model import DIRECTIONS
from cyclegan.registry.champion import Champion
from cyclegan.registry.metrics import describe, headline, scores


def table(e: Evaluation) -> list[dict[str, Any]]:
    """Every score in plain words, the headline first; baselines and standard errors last."""
    ordered = [metric.name for metric in scores(e.scores)]
    rows = []
    for name in [*ordered, *(name for name in e.scores if name not in ordered)]:
        metric = describe(name, e.names)
        better = {True: "higher", False: "lower", None: ""}[metric.higher_is_better if metric else None]
        rows.append(
            {
                "score": metric.label if metric else name,
                "direction": metric.where if metric else "",
                "value": round(e.scores[name], 5),
                "95 % interval": interval(e.intervals.get(name)),
                "better": better,
                "name": name,
            }
        )
    return rows


def markdown(e: Evaluation, champion: Champion | None, page: str = "") -> str:
    """Verdict, headline and next steps, in Markdown; `page` is the run's page below the server's address."""
    found = verdict(e, champion)
    lines = [f"**{found.text}** {found.measure}", "", "| | | 95 % interval |", "|---|---|---|"]
    for name, value in headline(e.scores).items():
        metric = describe(name, e.names)
        label = " ".join(part for part in (metric.label, metric.where) if part) if metric else name
        lines.append(f"| {label} | {number(value)} | {interval(e.intervals.get(name))} |")
    generator = (e.model.config.get("generator") or {}).get("name", "generator")
    lines += ["", *(f"- {note}" for note in e.notes)]
    lines += [
        "",
        f"`{generator}`, {e.model.config.get('epochs', '?')} epochs on {e.data.title} (version "
        f"`{e.manifest.version}`).",
        "",
        f"Pictures, failures and curves: {_link('the report', page, 'evaluation/report.html')}. "
        f"All scores: {_link('the table', page, 'scores_table.json')}. Side by side with another run: "
        "`cyclegan compare THIS_RUN OTHER_RUN`.",
    ]
    return "\n".join(lines)


def _link(text: str, page: str, artifact: str) -> str:
    where = f"{page}/artifacts/{artifact}?workflowType=machine_learning"
    return f"[{text}]({where})" if page else f"{text} (`{artifact}`)"


def pictures(e: Evaluation) -> dict[str, NDArray[np.uint8]]:
    """Each direction's samples by their key in MLflow, whose section the UI puts first.

    Two only, since the UI shows them in a square of about 250 pixels for each run.
    """
    return {f"result/{d}": sample_sheet(e, d, 2, ("input", "translation")) for d in DIRECTIONS}


def overview(e: Evaluation) -> dict[str, NDArray[np.uint8]]:
    """Each direction's samples for descriptions, where MLflow scales no picture and a wide one is cut off.

    In a window of 1024 pixels 786 are left for it.
    """
    kinds = ("input", "translation", "truth" if e.manifest.paired else "back")
    return {d: sample_sheet(e, d, kinds=kinds, width=780) for d in DIRECTIONS}
