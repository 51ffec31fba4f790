"""Exponential moving average of the generators' weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cyclegan.training.updates.update import Networks


class EMA(nn.Module):
    """Exponential moving average of both generators' weights: w̄ ← βw̄ + (1 − β)w after every update."""

    def __init__(self, networks: Networks, decay: float) -> None:
        super().__init__()
        self.AtoB = copy.deepcopy(networks.AtoB).requires_grad_(False)
        self.BtoA = copy.deepcopy(networks.BtoA).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, networks: Networks, step: int) -> None:
        """Take in the weights after update `step`; β grows to `decay`, so that the start is forgotten."""
        decay = min(self.decay, step / (step + 9))
        averages: list[Tensor] = list(self.parameters())
        weights: list[Tensor] = list(networks.generator_parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
