"""What the page of a registered version says: the verdict, pictures, and the model card."""

from __future__ import annotations

from collections.abc import Mapping

from cyclegan.io.pages.page import number
from cyclegan.model import Direction, Model
from cyclegan.registry.decision import Decision
from cyclegan.registry.metrics import in_words, where
from cyclegan.registry.metrics import scores as metrics_among
from cyclegan.registry.pages.card import LIMITS, domains, facts_table, training_command


def version_page(
    model: Model,
    direction: Direction,
    address: str,
    scores: Mapping[str, float],
    decision: Decision,
    picture: str = "",
) -> str:
    """The page of the version at `address`, in Markdown; `picture` is where its samples are.

    A verdict first, since MLflow folds what is long; the rest is the model card, for one direction.
    """
    names = domains(model.config)
    way = where(direction, names)
    source, target = direction.split("to")
    about = {direction, f"cycle_l1_{source}", f"identity_l1_{target}"}
    rows = [
        f"| {metric.label} | {number(scores[metric.name])} | {metric.hint} |"
        for metric in metrics_among(scores, names)
        if metric.direction == direction or metric.name in about or metric.name == "score"
    ]
    command = training_command(model.config)
    parts = [
        f"**{way}**. Registered as **{decision.alias}**: {in_words(decision.reason)}.",
        f"![{way}: test images and what became of them]({picture})" if picture else "",
        f"```\ncyclegan translate {address} IMAGES --out OUT\n```",
        f'```python\nimport cyclegan\n\ntranslated = cyclegan.load("{address}")(image)\n```',
        "\n".join(["| score | value | |", "|---|--:|---|", *rows]) if rows else "",
        facts_table(model.config),
        f"Trained by\n\n```\n{command}\n```" if command else "",
        LIMITS,
    ]
    return "\n\n".join(part for part in parts if part)
