"""Reflection padding that a GPU can differentiate in deterministic mode, where torch's own refuses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ReflectionPad(nn.Module):
    """Mirror the outermost `size` pixels of N×C×H×W features outwards, without repeating the edge itself.

    The same as nn.ReflectionPad2d. On CUDA that adds gradients up in whatever order threads arrive, and torch
    raises RuntimeError for it under `use_deterministic_algorithms`; slices joined together have one order.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if not torch.are_deterministic_algorithms_enabled():
            return nn.functional.pad(x, (self.size,) * 4, mode="reflect")
        for dim in (2, 3):
            first, last = x.narrow(dim, 1, self.size), x.narrow(dim, -1 - self.size, self.size)
            x = torch.cat([first.flip(dim), x, last.flip(dim)], dim)
        return x
