"""The sweep: train and evaluate every combination of a grid on the same arrays, register the best by KID."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.finish import finish
from components.register import register
from components.sweep import pick_best, plan_trials
from pipeline.defaults import Defaults
from pipeline.parameters import SWEEP, Given, pipeline_of
from pipeline.placement import closed_by, run_limits, settle
from pipeline.steps import prepare, train_and_score

PARALLEL = 4
"""Trials at a time; KFP takes no parameter for it."""


def build(defaults: Defaults) -> BaseComponent:
    """The sweep, with the values of a parameter file as its defaults."""
    return pipeline_of(
        SWEEP,
        defaults,
        _steps,
        name="cyclegan-sweep",
        display_name="CycleGAN: sweep",
        description="Train and evaluate every combination of a grid; register the best by kernel distance.",
        pipeline_config=run_limits(),
    )


def _steps(given: Given) -> None:
    typed = given.of("train")
    options = typed.pop("options")
    with closed_by(finish, "Sweep and register"):
        planned = plan_trials(grid=given["sweep_grid"], options=options)
        settle(planned, "Plan the trials", hours=1)

        prepared = prepare(given)
        with dsl.ParallelFor(planned.output, parallelism=PARALLEL, name="Trials") as trial:
            parameters = {**typed, "options": trial}
            trained, scored = train_and_score(prepared, given, parameters, trial=True)
            # A failed trial ends well for the backend, which would answer with it from then on.
            trained.set_caching_options(False)
            scored.set_caching_options(False)

        best = pick_best(
            models=dsl.Collected(trained.outputs["model"]),
            scores=dsl.Collected(scored.outputs["scores"]),
            grid=given["sweep_grid"],
        )
        settle(best, "Pick the best", hours=1)
        best.set_caching_options(False)  # it gathers the runs in MLflow

        registered = register(
            model=best.outputs["best_model"], scores=best.outputs["best_scores"], **given.of("register")
        )
        settle(registered, "Register the model", hours=1)
        registered.set_caching_options(False)
