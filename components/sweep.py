"""Components of a sweep: what to try, and which trial was best."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component


# its output has no name, for kfp.local can loop over no other
@component()
def plan_trials(grid: dict[str, Any], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Spell out every combination of a grid, each as the options of one training.

    Args:
        grid: Fields of TrainConfig and the values to try, such as {"seed": [0, 1], "lr": [1e-4, 2e-4]}.
        options: Fields that all trainings share, as a JSON object.

    Returns:
        For every combination an object of TrainConfig's fields.
    """
    from cyclegan.cluster.sweep import plan

    trials = plan(grid, options)
    print("\n".join(map(str, trials)))
    return trials


@component()
def pick_best(
    models: dsl.Input[list[dsl.Model]],
    scores: dsl.Input[list[dsl.Artifact]],
    grid: dict[str, Any],
    best_model: dsl.Output[dsl.Model],
    best_scores: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    quality: dsl.Output[dsl.Metrics],
) -> NamedTuple("Picked", [("score", float), ("best", str)]):  # type: ignore[valid-type]
    """Pick the model with the lowest kernel distance and gather all trials under one MLflow run.

    Args:
        models: Generators of every trial.
        scores: Folders that evaluate wrote, in the same order.
        grid: Fields of TrainConfig that were tried.
        best_model: Copy of the best trial's generators.
        best_scores: Copy of its scores.
        summary: Table of all trials.
        quality: Score and kernel distance of the best, and how many trials failed.

    Returns:
        score: The best trial's headline score, lower is better.
        best: Number and parameters of the best trial.
    """
    import shutil
    from pathlib import Path

    from cyclegan.cluster.settings import begin
    from cyclegan.cluster.tasks import pick_task, show

    begin(tracked=True)
    folders = [Path(model.path) for model in models], [Path(score.path) for score in scores]
    best, trials, done = pick_task(*folders, list(grid))
    show(done, summary, quality)
    shutil.copytree(folders[0][best], best_model.path)
    shutil.copytree(folders[1][best], best_scores.path)
    best_model.metadata.update(models[best].metadata | done.facts)
    return done.metrics["score"], trials[best].name
