"""Components: a registered model applied to many images, a shard a task."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def list_shards(shards: int) -> list:
    """Number the shards, for a loop over them.

    Args:
        shards: Into how many parts the images are divided.

    Returns:
        0 to shards - 1.
    """
    return list(range(shards))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def translate_shard(
    model: str, images: str, out: str, shard: int, shards: int, options: str, metrics: dsl.Output[dsl.Metrics]
):
    """Translate one shard of the images; what is there already is skipped, so a retry goes on.

    Args:
        model: Address of a model: models:/cyclegan-AtoB@champion, s3:// or a folder.
        images: s3:// prefix or folder of images.
        out: s3:// prefix or folder for the translations, under the same names.
        shard: Which part, counted from 0.
        shards: Into how many parts the images are divided.
        options: Further fields of TranslateConfig as a JSON object.
        metrics: Images written, skipped and unreadable.
    """
    import json

    from cyclegan.cli.params import config_from
    from cyclegan.inference.translate import TranslateConfig, translate

    config = config_from(
        TranslateConfig, {"shard": shard, "shards": shards} | json.loads(options), "translate"
    )
    done = translate(model, images, out, config)
    metrics.log_metric("written", done.written)
    metrics.log_metric("skipped", done.skipped)
    metrics.log_metric("unreadable", len(done.unreadable))
