"""Convolutions right before a normalisation, which takes their bias away again.

An instance norm subtracts each channel's mean, and with it any constant. The published networks have these
biases all the same, and so have ours, to take their weights and to give the same pictures with them. In
training, where the gradient of such a bias is nothing but rounding, it is left out: on a GPU adding it costs
a pass over the features, and its gradient another.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from cyclegan.networks.norm import NormOrNone

Size = tuple[int, int]


class Conv2dBeforeNorm(nn.Conv2d):
    """nn.Conv2d, without its bias in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(x, self.weight, None if self.training else self.bias)
        return output


class ConvTranspose2dBeforeNorm(nn.ConvTranspose2d):
    """nn.ConvTranspose2d, without its bias in training mode."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not self.training:
            return super().forward(x, output_size)
        stride, padding = cast(Size, self.stride), cast(Size, self.padding)
        output_padding = cast(Size, self.output_padding)
        return nn.functional.conv_transpose2d(x, self.weight, None, stride, padding, output_padding)


def before_norm(norm: NormOrNone) -> tuple[type[nn.Conv2d], type[nn.ConvTranspose2d]]:
    """The classes of convolutions that `norm` follows at once: `instance` takes a channel's bias away."""
    if norm == "instance":
        return Conv2dBeforeNorm, ConvTranspose2dBeforeNorm
    return nn.Conv2d, nn.ConvTranspose2d
