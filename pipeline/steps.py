"""The tasks that the pipeline and the sweep have in common."""

from collections.abc import Mapping
from typing import Any

from kfp.dsl import PipelineTask

from components.evaluate import evaluate
from components.fetch import fetch
from components.look import look
from components.preprocess import preprocess
from components.train import train
from cyclegan.cluster.tasks import SCORE_RETRIES, TRAIN_RETRIES
from pipeline.parameters import Given
from pipeline.placement import place, settle


def prepare(given: Given) -> PipelineTask:
    """Fetch and preprocess; returns the task with the arrays."""
    asked = given.of("fetch")
    found = look(**asked)
    settle(found, "Look for new images", hours=1)
    found.set_caching_options(False)

    fetched = fetch(**{**asked, "version": found.outputs["data_version"]}, state=found.outputs["state"])
    settle(fetched, "Fetch images", hours=12)

    prepared = preprocess(
        raw=fetched.outputs["raw"],
        data_version=fetched.outputs["data_version"],
        **given.of("preprocess"),
    )
    settle(prepared, "Prepare arrays", hours=12)
    return prepared


def train_and_score(
    prepared: PipelineTask, given: Given, parameters: Mapping[str, Any], *, trial: bool
) -> tuple[PipelineTask, PipelineTask]:
    """Train with the component's `parameters` and evaluate, on the node that was asked for; both tasks."""
    node = given.node()
    trained = train(
        prepared=prepared.outputs["prepared"],
        prepared_digest=prepared.outputs["prepared_digest"],
        **parameters,
        checkpoints=given["train_checkpoints"],
        accelerators=node["accelerators"],
        trial=trial,
    )
    # Spot nodes vanish now and then; each retry continues from the last checkpoint.
    settle(trained, "Train generators", hours=6 * 24, retries=TRAIN_RETRIES)
    place(trained, node)

    scored = evaluate(
        prepared=prepared.outputs["prepared"],
        model=trained.outputs["model"],
        model_digest=trained.outputs["model_digest"],
        **given.of("evaluate"),
        accelerators=node["accelerators"],
        trial=trial,
    )
    settle(scored, "Score and report", hours=12, retries=SCORE_RETRIES)
    place(scored, node)
    return trained, scored
