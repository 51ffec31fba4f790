"""Components: a registered model applied to many images, a shard a task."""

from typing import Any

from kfp import dsl

from components import component


@component()
def list_shards(shards: int) -> list[int]:  # kfp.local loops over an unnamed output alone
    """Number the shards, for a loop over them.

    Args:
        shards: Into how many parts the images are divided.

    Returns:
        0 to shards - 1.
    """
    return list(range(shards))


@component()
def translate_shard(
    model: str,
    images: str,
    out: str,
    shard: int,
    shards: int,
    options: dict[str, Any],
    accelerators: str,
    image_counts: dsl.Output[dsl.Metrics],
) -> None:
    """Translate one shard of the images; what is there already is skipped, so a retry resumes.

    Args:
        model: Address of a model: models:/cyclegan-AtoB@champion, s3:// or a folder.
        images: s3:// prefix or folder of images.
        out: s3:// prefix or folder for the translations, under the same names.
        shard: Which part, counted from 0.
        shards: Into how many parts the images are divided.
        options: Further fields of TranslateConfig as a JSON object.
        accelerators: How many the pod asked for; empty or 0: none.
        image_counts: Images written, skipped and unreadable.
    """
    import json
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.inference.translate import TranslateConfig, translate

    begin(accelerators=accelerators, tracked=model.startswith("models:"))
    config = pick(TranslateConfig, {"shard": shard, "shards": shards, "options": options}, "translate")
    done = translate(model, images, out, config)
    counts = {"written": done.written, "skipped": done.skipped, "unreadable": len(done.unreadable)}
    for name, value in counts.items():
        image_counts.log_metric(name, value)
    Path(image_counts.path).write_text(json.dumps(counts))
