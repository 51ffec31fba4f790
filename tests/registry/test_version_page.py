"""What a registered version's page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cyclegan.model import load_model
from cyclegan.registry.decision import Decision
from cyclegan.registry.pages.version import version_page


def test_each_direction_has_its_own_scores_alone(make_model: Callable[..., tuple[Path, Path]]) -> None:
    scores = {"score": 0.5, "l1_AtoB": 0.125, "l1_BtoA": 0.375, "cycle_l1_A": 0.0625, "cycle_l1_B": 0.03125}
    verdict = Decision(passed=True, alias="champion", reason="there was no champion before")
    page = version_page(load_model(make_model()[0]), "AtoB", "models:/m-AtoB/1", scores, verdict)
    assert all(text in page for text in ("| 0.1250 |", "| 0.06250 |"))
    assert all(text not in page for text in ("0.3750", "0.03125"))
