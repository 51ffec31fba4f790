"""The pipeline that uses a model: all images under a prefix, in shards that run side by side."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.translate import list_shards, translate_shard
from pipeline.defaults import Defaults
from pipeline.parameters import TRANSLATE, Given, pipeline_of
from pipeline.placement import place, run_limits, settle

PARALLEL = 8
"""Shards at a time; KFP takes no parameter for it."""


def build(defaults: Defaults) -> BaseComponent:
    """The pipeline; of the defaults only the model's name matters."""
    return pipeline_of(
        TRANSLATE,
        defaults,
        _steps,
        name="cyclegan-translate",
        display_name="CycleGAN: translate",
        description="A registered model applied to all images under a prefix, in shards.",
        pipeline_config=run_limits(),
    )


def _steps(given: Given) -> None:
    node = given.node()
    listed = list_shards(shards=given["translate_shards"])
    settle(listed, "Number the shards", hours=1)
    with dsl.ParallelFor(listed.output, parallelism=PARALLEL, name="Shards") as shard:
        done = translate_shard(
            model=given["translate_model"],
            images=given["translate_images"],
            out=given["translate_out"],
            shard=shard,
            shards=given["translate_shards"],
            options=given["translate_options"],
            accelerators=node["accelerators"],
        )
        settle(done, "Translate a shard", hours=24, retries=5)
        place(done, node)
        done.set_caching_options(False)  # what it writes lies outside of its outputs
