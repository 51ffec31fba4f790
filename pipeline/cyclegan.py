"""The pipeline: fetch → preprocess → train → evaluate → register."""

from kfp.dsl.base_component import BaseComponent

from components.evaluate import evaluate
from components.fetch import fetch
from components.finish import finish
from components.preprocess import preprocess
from components.register import register
from components.train import train
from pipeline.defaults import Defaults
from pipeline.parameters import CYCLEGAN, Given, pipeline_of
from pipeline.placement import closed_by, place, run_limits, settle


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
    node = given.node()
    with closed_by(finish, "Train and register"):
        fetched = fetch(**given.of("fetch"))
        settle(fetched, "Fetch images", hours=12)

        prepared = preprocess(
            raw=fetched.outputs["raw"],
            data_version=fetched.outputs["data_version"],
            **given.of("preprocess"),
        )
        settle(prepared, "Prepare arrays", hours=12)

        trained = train(
            prepared=prepared.outputs["prepared"],
            prepared_digest=prepared.outputs["prepared_digest"],
            **given.of("train"),
            checkpoints=given["train_checkpoints"],
            accelerators=node["accelerators"],
            trial=False,
        )
        # Spot nodes vanish now and then; each retry continues from the last checkpoint.
        settle(trained, "Train generators", hours=6 * 24, retries=5)
        place(trained, node)

        scored = evaluate(
            prepared=prepared.outputs["prepared"],
            model=trained.outputs["model"],
            model_digest=trained.outputs["model_digest"],
            **given.of("evaluate"),
            accelerators=node["accelerators"],
            trial=False,
        )
        settle(scored, "Score and report", hours=12)
        place(scored, node)

        registered = register(
            model=trained.outputs["model"], scores=scored.outputs["scores"], **given.of("register")
        )
        settle(registered, "Register the model", hours=1)
        registered.set_caching_options(False)  # what it changes lies outside of its outputs
