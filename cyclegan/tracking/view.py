"""A saved view of an experiment in the MLflow UI: scores and schedule as columns, pictures as first charts.

Which columns and charts the list of runs shows is otherwise each browser's choice. MLflow 3 keeps views that
people save in tags of the experiment, and lists them under **Views**; ours is one of these. A UI that knows
no such views ignores the tag.
"""

from __future__ import annotations

import json
import time
from typing import Any

KEY = "cyclegan"
TAG = f"mlflow.sharedViewState.{KEY}"
NAME = "Scores and pictures"
# column, its width in pixels
COLUMNS = {
    "metrics.`score`": 110,
    "attributes.`Dataset`": 150,
    "tags.`registered_as`": 130,
    "params.`train.generator`": 125,
    "params.`train.epochs`": 105,
    "params.`train.decay_epochs`": 145,
    "params.`train.lr`": 80,
    "params.`train.seed`": 95,
}
ALWAYS = {"attributes.`Run Name`": 290, "runDateAndNestInfo": 135}
# section, whether it is open, charts side by side, height of a chart in pixels
SECTIONS = (
    ("result", True, 1, 480),
    ("Model metrics", True, 3, 300),
    ("samples", True, 1, 480),
    ("train", True, 2, 360),
    ("train/diagnostics", True, 2, 360),
    ("train/speed", False, 3, 360),
    ("System metrics", False, 3, 360),
)
PICTURES = ("result/AtoB", "result/BtoA", "samples/AtoB", "samples/BtoA")
# title, what is drawn in one chart
CURVES = (
    ("Cycle-consistency loss", ("train/cycle_A", "train/cycle_B")),
    ("Identity loss", ("train/identity_A", "train/identity_B")),
    ("Adversarial loss of the generators", ("train/adversarial_AtoB", "train/adversarial_BtoA")),
    ("Discriminator loss", ("train/D_A", "train/D_B")),
    ("Output of discriminator A", ("train/diagnostics/real_A", "train/diagnostics/fake_A")),
    ("Output of discriminator B", ("train/diagnostics/real_B", "train/diagnostics/fake_B")),
)


def saved_view() -> str:
    """The value of TAG, as the UI writes it when somebody saves a view."""
    now = time.time_ns() // 1_000_000
    return json.dumps({"name": NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(_state())})


def view_page(experiment_id: str) -> str:
    """Where the list of runs is in this view, below the server's address."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}&workflowType=machine_learning"


def _state() -> dict[str, Any]:
    sections = [
        {
            "uuid": name,
            "name": name,
            "display": is_open,
            "isReordered": False,
            "deleted": False,
            "isGenerated": True,
            "columns": columns,
            "cardHeight": height,
        }
        for name, is_open, columns, height in SECTIONS
    ]
    charts = [
        _card("IMAGE", key, key.partition("/")[0]) | {"imageKeys": [key], "step": 0, "showRunParams": False}
        for key in PICTURES
    ]
    for title, (first, second) in CURVES:
        section = first.rpartition("/")[0]
        charts.append(_line(first, section) | {"selectedMetricKeys": [first, second], "displayName": title})
        # the UI adds a chart for each metric that has none
        charts.append(_line(second, section) | {"deleted": True})
    return {
        "selectedColumns": list(COLUMNS),
        "columnOrder": [*ALWAYS, *COLUMNS],
        "columnWidths": ALWAYS | COLUMNS,
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,  # else sections are sorted by name, the scores last
    }


def _card(kind: str, key: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": key,
        "runsCountToCompare": 10,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": True,
    }


def _line(key: str, section: str) -> dict[str, Any]:
    return _card("LINE", key, section) | {
        "metricKey": key,
        "displayName": key.rpartition("/")[2],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
