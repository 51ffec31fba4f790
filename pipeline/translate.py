"""The pipeline that uses a model: all images under a prefix, in shards that run side by side."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.translate import list_shards, translate_shard
from pipeline.defaults import Defaults
from pipeline.placement import Backend, Machine

PARALLEL = 8
"""Shards at a time; KFP takes no parameter for it."""


def build(defaults: Defaults, backend: Backend) -> BaseComponent:
    """The pipeline; of the defaults only the model's name matters."""
    machine = Machine()

    @dsl.pipeline(
        name="cyclegan-translate",
        display_name="CycleGAN: translate",
        description="A registered model applied to all images under a prefix, in shards.",
        pipeline_config=backend.pipeline_config(),
    )
    def translate(
        images: str,
        out: str,
        model: str = f"models:/{defaults.register.name}-AtoB@champion",
        shards: int = 8,
        translate_options: str = "{}",
        cpu: str = machine.cpu,
        memory: str = machine.memory,
        accelerator_type: str = machine.accelerator_type,
        accelerators: int = machine.accelerators,
        node_selector: dict = machine.node_selector,
        tolerations: list = machine.tolerations,
    ) -> None:
        """A registered model applied to all images under a prefix, in shards.

        Args:
            images: s3:// prefix or mounted folder of images.
            out: s3:// prefix or mounted folder for the translations, under the same names.
            model: Address of the model: models:/<name>-AtoB@champion, s3:// or a mounted folder.
            shards: Into how many parts the images are divided; some run at a time.
            translate_options: Further fields of TranslateConfig, as a JSON object.
            cpu: CPU cores requested by each shard.
            memory: Memory of each shard, such as 16Gi.
            accelerator_type: Resource name of the accelerator.
            accelerators: Accelerators of each shard; 0 computes on the CPU.
            node_selector: Labels that the node of a shard must have.
            tolerations: Taints, besides nvidia.com/gpu, that a shard puts up with.
        """
        node = {
            "cpu": cpu,
            "memory": memory,
            "accelerator_type": accelerator_type,
            "accelerators": accelerators,
            "node_selector": node_selector,
            "tolerations": tolerations,
        }
        numbers = list_shards(shards=shards)
        backend.settle(numbers, "Number the shards", hours=1)
        with dsl.ParallelFor(numbers.output, parallelism=PARALLEL, name="shards") as shard:
            done = translate_shard(
                model=model,
                images=images,
                out=out,
                shard=shard,
                shards=shards,
                options=translate_options,
            )
            backend.settle(done, "Translate a shard", hours=24, retries=5)
            backend.place(done, node)
            done.set_caching_options(False)  # what it writes lies outside of its outputs

    return translate
