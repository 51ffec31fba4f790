"""Several trained models of one sweep: which is the best, and one MLflow run above theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.model_config import read_config
from cyclegan.registry.results import read_scores
from cyclegan.tracking.runs import nest_runs, open_run


def kernel_distance(scores: Path) -> float:
    """Mean kernel distance of both directions: KID, or the like of another extractor, as its name then says.

    Raises UsageError where the folder has none.
    """
    values = read_scores(scores)
    for family in ("kid", "kernel_"):
        found = [
            value
            for name, value in values.items()
            if name.startswith(family) and name.endswith(("_AtoB", "_BtoA"))
        ]
        if found:
            return sum(found) / len(found)
    raise UsageError(f"{scores} has no kernel distance: evaluate with more than one test image a domain.")


def best_trial(trials: Sequence[tuple[Path, Path]]) -> tuple[int, list[float], float]:
    """Judge trials, each a model folder and its scores folder, by kernel distance; lower is better.

    All trials' MLflow runs become children of a new one, which records their distances and the best. Returns
    the best one's index, all distances, and its headline score. Raises UsageError where there are no trials.
    """
    if not trials:
        raise UsageError("There is no trial to pick from.")
    distances = [kernel_distance(scores) for _, scores in trials]
    best = min(range(len(trials)), key=distances.__getitem__)
    runs = [read_config(model).get("mlflow_run_id") for model, _ in trials]
    with open_run("sweep", name=f"sweep of {len(trials)}") as parent:
        for number, distance in enumerate(distances):
            parent.metrics({"kernel_distance": distance}, number)
        parent.tags({"best_run": str(runs[best]), "trials": str(len(trials))})
        nest_runs(parent.run_id, [run for run in runs if run])
    return best, distances, read_scores(trials[best][1])["score"]
