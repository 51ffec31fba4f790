"""Normalisation: each image by itself, so that passes may be batched without changing any result."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError

Norm = Literal["instance", "layer"]


class LayerNorm(nn.Module):
    """Mean and deviation over channels, height and width together, one scalar scale and shift; ε = 1e-3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.group_norm(x, 1, eps=1e-3) * self.weight + self.bias


def norm_layer(kind: Norm, channels: int, *, affine: bool) -> nn.Module:
    """A normalisation of N×C×H×W features: `instance` over H, W (arXiv 1607.08022), `layer` over C, H, W.

    `affine` gives `instance` a learned scale and shift for each channel; `layer` always has its two scalars.
    """
    if kind not in get_args(Norm):
        raise UsageError(f"There is no norm '{kind}'; choose one of {', '.join(get_args(Norm))}.")
    if kind == "layer":
        return LayerNorm()
    return nn.InstanceNorm2d(channels, affine=affine)
