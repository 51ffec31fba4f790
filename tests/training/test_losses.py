"""The losses by themselves; test_update.py holds what an update makes of them."""

from __future__ import annotations

import pytest
import torch

from cyclegan.training.updates.losses import adversarial, l1


def test_least_squares_unless_another_objective_is_named() -> None:
    scores = torch.tensor([[0.0, 3.0]])
    assert adversarial(scores, real=True).item() == (1 + 4) / 2
    assert adversarial(scores, real=False).item() == 9 / 2
    assert adversarial(scores, real=True, objective="vanilla").item() != (1 + 4) / 2


def test_means_are_taken_in_float32_whatever_the_precision_of_the_networks() -> None:
    """In bfloat16 a mean has two or three digits, and no finer change of a loss would show."""
    scores = torch.full((1, 1, 30, 30), 0.1).bfloat16()
    exact = float(scores[0, 0, 0, 0])
    for loss, expected in (
        (adversarial(scores, real=True), (exact - 1) ** 2),
        (adversarial(scores, real=False), exact**2),
        (l1(scores, torch.zeros_like(scores)), exact),
    ):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert adversarial(scores.double(), real=True).dtype == torch.float64
