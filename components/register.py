"""Component: a scored model into the MLflow model registry."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component
from cyclegan.registry.config import RegisterConfig


@component(RegisterConfig)
def register(
    model: dsl.Input[dsl.Model],
    scores: dsl.Input[dsl.Artifact],
    name: str,
    max_score: float,
    options: dict[str, Any],
    registration: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Registered", [("passes", bool), ("alias", str), ("reason", str)]):  # type: ignore[valid-type]
    """Register both generators as champion or challenger, unless their score does not pass the gate.

    Args:
        model: Generators that train wrote.
        scores: Folder that evaluate wrote.
        registration: The decision as JSON.
        summary: Whether it was registered, and why.

    Returns:
        passes: Whether the model was registered.
        alias: What the versions are called: champion, challenger, or nothing.
        reason: Why, in one sentence.
    """
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.cluster.tasks import register_task, show
    from cyclegan.registry.config import RegisterConfig

    begin(tracked=True)
    config = pick(RegisterConfig, locals(), "register")
    done = register_task(Path(model.path), Path(scores.path), Path(registration.path), config)
    show(done, summary)
    registration.metadata.update(done.facts)
    return done.facts["alias"] != "", done.facts["alias"], done.facts["reason"]
