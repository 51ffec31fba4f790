"""Component: whether a score lets a model into the registry."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(score: float, max_score: float) -> bool:
    """Decide whether the model is good enough to be registered, by the rule that register applies.

    Args:
        score: Headline score, lower is better.
        max_score: The worst score that passes; 0 lets every model pass.

    Returns:
        Whether the model passes.
    """
    from cyclegan.registry.decision import passes_gate

    passes = passes_gate(score, max_score)
    limit = f"the gate is {max_score:g}" if max_score else "there is no gate"
    print(f"Score {score:g}, {limit}: {'to be registered' if passes else 'not registered'}.")
    return passes
