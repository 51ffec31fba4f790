"""Weights of VGG-16 for tests."""

from __future__ import annotations

import torch
from torch import Tensor


def vgg_state(blocks: int = 5) -> dict[str, Tensor]:
    """Random weights in the layout of torchvision's VGG-16."""
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    widths = [64, 64, 128, 128, 256, 256, 256] + [512] * 6
    chance = torch.Generator().manual_seed(0)
    state, inputs = {}, 3
    for index, width in list(zip(indices, widths, strict=True))[: {5: 13, 3: 7}[blocks]]:
        state[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3, generator=chance) / inputs**0.5
        state[f"features.{index}.bias"] = torch.randn(width, generator=chance)
        inputs = width
    return state
