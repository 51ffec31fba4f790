"""Component: packed arrays into two generators."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component
from cyclegan.training.config import TrainConfig


@component(TrainConfig)
def train(
    prepared: dsl.Input[dsl.Dataset],
    prepared_digest: str,
    generator: str,
    epochs: int,
    decay_epochs: int,
    batch_size: int,
    crop_size: int,
    lr: float,
    lambda_cycle: float,
    lambda_identity: float,
    seed: int,
    options: dict[str, Any],
    checkpoints: str,
    accelerators: str,
    trial: bool,
    model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    losses: dsl.Output[dsl.Metrics],
) -> NamedTuple("Trained", [("model_digest", str), ("mlflow_run", str)]):  # type: ignore[valid-type]
    """Train both generators; a retry continues from the last checkpoint.

    Args:
        prepared: Arrays that preprocess wrote.
        prepared_digest: SHA-256 of their manifest; part of the cache key, which does not see into artifacts.
        checkpoints: Folder or s3:// address; only s3:// and mounted volumes outlive a pod.
        accelerators: How many the pod asked for; empty or 0: none.
        trial: Whether it is one of a sweep's, which continues without it when it fails.
        model: Generators AtoB and BtoA and config.json.
        summary: What was trained on what.
        losses: Final losses.

    Returns:
        model_digest: SHA-256 of the model's config.json, which names its MLflow run.
        mlflow_run: Id of that run; empty where nothing is tracked.
    """
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.cluster.tasks import show, train_task
    from cyclegan.training.config import TrainConfig

    begin(accelerators=accelerators, task=model.uri, tracked=True)
    config = pick(TrainConfig, locals(), "train")
    folders = Path(prepared.path), Path(model.path)
    done = train_task(*folders, config, checkpoints, trial=model.uri if trial else "")
    show(done, summary, losses)
    model.metadata.update(done.facts)
    return done.digest, done.run_id
