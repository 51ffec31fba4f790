"""Normalisation: each image by itself, so that passes may be batched without changing any result."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError

Norm = Literal["instance", "layer"]
NormOrNone = Norm | Literal["none"]


class LayerNorm(nn.Module):
    """(x − mean) / (deviation + ε) · scale + shift over channels, height and width together; ε = 1e-3.

    As keras-contrib's InstanceNormalization with its default axis: scale and shift are one scalar each, and ε
    is added to the deviation, where group normalisation adds it to the variance.
    """

    epsilon = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float() if x.dtype.itemsize < 4 else x
        variance, mean = torch.var_mean(x, dim=(1, 2, 3), correction=0, keepdim=True)
        deviation = variance.clamp_min(1e-12).sqrt()  # the root has no gradient at 0
        out = (x - mean) / (deviation + self.epsilon) * self.weight + self.bias
        # under autocast weights are float32; in a network that is all bfloat16 the next layer needs the same
        return out.to(self.weight.dtype) if self.weight.dtype.itemsize < 4 else out


def norm_layer(kind: Norm, channels: int, *, affine: bool) -> nn.Module:
    """A normalisation of N×C×H×W features: `instance` over H, W (arXiv 1607.08022), `layer` over C, H, W.

    `affine` gives `instance` a learned scale and shift for each channel; `layer` always has its two scalars.
    Raises UsageError for another kind.
    """
    if kind not in get_args(Norm):
        raise UsageError(f"There is no norm '{kind}'; choose one of {', '.join(get_args(Norm))}.")
    if kind == "layer":
        return LayerNorm()
    return nn.InstanceNorm2d(channels, affine=affine)
