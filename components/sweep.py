"""Components of a sweep: what to try, and which try was best."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan_trials(grid: dict, options: str) -> list:
    """Spell out every combination of a grid, each as the options of one training.

    Args:
        grid: Fields of TrainConfig and the values to try, such as {"seed": [0, 1], "lr": [1e-4, 2e-4]}.
        options: Fields that all trainings share, as a JSON object.

    Returns:
        For every combination a JSON object of TrainConfig's fields.
    """
    import itertools
    import json

    from cyclegan.cli.params import config_from
    from cyclegan.training.config import TrainConfig

    trials = []
    for values in itertools.product(*grid.values()):
        trial = json.loads(options) | dict(zip(grid, values, strict=True))
        config_from(
            TrainConfig, trial, f"Trial {trial}"
        )  # a wrong name or value fails here, before any training
        trials.append(json.dumps(trial))
    print("\n".join(trials))
    return trials


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pick_best(
    models: dsl.Input[list[dsl.Model]],
    scores: dsl.Input[list[dsl.Artifact]],
    best_model: dsl.Output[dsl.Model],
    best_scores: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> float:
    """Pick the model with the lowest kernel distance and gather all trials under one MLflow run.

    Args:
        models: Generators of every trial.
        scores: Folders that evaluate wrote, in the same order.
        best_model: Copy of the best trial's generators.
        best_scores: Copy of its scores.
        metrics: Kernel distance of every trial.

    Returns:
        The best trial's headline score, lower is better.
    """
    import shutil
    from pathlib import Path

    from cyclegan.registry.sweep import best_trial

    folders = [(Path(model.path), Path(score.path)) for model, score in zip(models, scores, strict=True)]
    best, distances, headline = best_trial(folders)
    for number, distance in enumerate(distances):
        metrics.log_metric(f"trial-{number}", distance)
    shutil.copytree(folders[best][0], best_model.path)
    shutil.copytree(folders[best][1], best_scores.path)
    return headline
