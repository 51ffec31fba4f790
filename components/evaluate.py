"""Component: a model's scores and report."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component
from cyclegan.evaluation.config import EvaluateConfig


@component(EvaluateConfig)
def evaluate(
    prepared: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    model_digest: str,
    features: str,
    weights: str,
    options: dict[str, Any],
    accelerators: str,
    trial: bool,
    scores: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    quality: dsl.Output[dsl.Metrics],
) -> NamedTuple("Scored", [("score", float)]):  # type: ignore[valid-type]
    """Score both generators on the test images and write a report.

    Args:
        prepared: Arrays that preprocess wrote.
        model: Generators that train wrote.
        model_digest: SHA-256 of its config.json; part of the cache key, which does not see into artifacts.
        accelerators: How many the pod asked for; empty or 0: none.
        trial: Whether it is one of a sweep's, which continues without it when it fails.
        scores: Folder of scores.json, evaluation.json and report.html.
        report: The report page by itself, for the KFP UI.
        summary: How good the model is.
        quality: Headline score, its interval, both directions and reconstruction; all others are in `scores`.

    Returns:
        score: The headline score, lower is better; -1 for a trial that failed.
    """
    import shutil
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.cluster.tasks import evaluate_task, show
    from cyclegan.evaluation.config import EvaluateConfig

    begin(accelerators=accelerators, tracked=True)
    config = pick(EvaluateConfig, locals(), "evaluate")
    folders = Path(prepared.path), Path(model.path), Path(scores.path)
    done = evaluate_task(*folders, config, trial=scores.uri if trial else "")
    show(done, summary, quality)
    scores.metadata.update(done.facts)
    if (page := Path(scores.path) / "report.html").exists():
        shutil.copyfile(page, report.path)
    return (done.metrics.get("score", -1.0),)
