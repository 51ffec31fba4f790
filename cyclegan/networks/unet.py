"""The U-Net generator of pix2pix: one skip at every resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cyclegan.networks.bias_free import before_norm
from cyclegan.networks.generator import Generator
from cyclegan.networks.init import normal_
from cyclegan.networks.norm import Norm, norm_layer


class UnetGenerator(Generator):
    """`depth` halvings by Conv4×4 stride 2, as many doublings, skips between equal sizes (arXiv 1611.07004).

    Widths are width × 1, 2, 4, 8, 8, …; sides must be multiples of 2^depth. There is no dropout, so that a
    translation is a function of its image. No normalisation on the outermost and innermost features: at
    1×1 an instance norm would erase them.
    """

    def __init__(
        self,
        depth: int = 7,
        width: int = 64,
        norm: Norm = "instance",
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2**depth
        conv, transposed = before_norm(norm)
        widths = [width * min(2**level, 8) for level in range(depth)]

        self.down = nn.ModuleList()
        for level, outputs in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            normed = 0 < level < depth - 1
            kind = conv if normed else nn.Conv2d
            layers.append(kind(widths[level - 1] if level else in_channels, outputs, 4, stride=2, padding=1))
            if normed:
                layers.append(norm_layer(norm, outputs, affine=False))
            self.down.append(nn.Sequential(*layers))

        self.up = nn.ModuleList()
        for level in reversed(range(depth)):
            inputs = widths[level] * (1 if level == depth - 1 else 2)
            outputs = widths[level - 1] if level else out_channels
            last = norm_layer(norm, outputs, affine=False) if level else nn.Tanh()
            up = transposed if level else nn.ConvTranspose2d
            layer = up(inputs, outputs, 4, stride=2, padding=1)
            self.up.append(nn.Sequential(nn.ReLU(), layer, last))
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.down:
            x = self.segment(layer, x)
            skips.append(x)
        x = skips.pop()
        for layer in self.up:
            x = self.segment(layer, x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
        return x
