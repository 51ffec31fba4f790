"""The pipeline: fetch → preprocess → train → evaluate → register."""

from kfp.dsl.base_component import BaseComponent

from components.finish import finish
from components.register import register
from pipeline.defaults import Defaults
from pipeline.parameters import CYCLEGAN, Given, pipeline_of
from pipeline.placement import closed_by, run_limits, settle
from pipeline.steps import prepare, train_and_score


def build(defaults: Defaults) -> BaseComponent:
    """The pipeline, with the values of a parameter file as its defaults."""
    return pipeline_of(
        CYCLEGAN,
        defaults,
        _steps,
        name="cyclegan",
        display_name="CycleGAN",
        description="Unpaired image-to-image translation: fetch, preprocess, train, evaluate, register.",
        pipeline_config=run_limits(),
    )


def _steps(given: Given) -> None:
    with closed_by(finish, "Train and register"):
        trained, scored = train_and_score(prepare(given), given, given.of("train"), trial=False)

        registered = register(
            model=trained.outputs["model"], scores=scored.outputs["scores"], **given.of("register")
        )
        settle(registered, "Register the model", hours=1)
        registered.set_caching_options(False)  # what it changes lies outside of its outputs
