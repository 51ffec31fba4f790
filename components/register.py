"""Component: a scored model into the MLflow model registry."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    scores: dsl.Input[dsl.Artifact],
    name: str,
    max_score: float,
    options: str,
    registration: dsl.Output[dsl.Artifact],
) -> str:
    """Register both generators, as champion or challenger.

    Args:
        model: Generators that train wrote.
        scores: Folder that evaluate wrote.
        name: Registered models are called <name>-AtoB and <name>-BtoA.
        max_score: Nothing is registered above this headline score; 0 is no gate.
        options: Further fields of RegisterConfig as a JSON object.
        registration: The decision as JSON.

    Returns:
        The alias that the versions got: champion or challenger.
    """
    import json
    from pathlib import Path

    from cyclegan.cli.params import config_from
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.register import register as step

    fields = {"name": name, "max_score": max_score} | json.loads(options)
    config = config_from(RegisterConfig, fields, "register")
    decision = step(Path(model.path), Path(scores.path), Path(registration.path), config)
    registration.metadata.update(reason=decision.reason, versions=str(decision.versions))
    return decision.alias
