"""The paper's generator: two strided convolutions, residual blocks, two upsampling convolutions."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.bias_free import before_norm
from cyclegan.networks.generator import Generator
from cyclegan.networks.init import normal_
from cyclegan.networks.norm import Norm, norm_layer
from cyclegan.networks.padding import ReflectionPad

Upsample = Literal["transposed", "resize"]


class ResidualBlock(nn.Module):
    """x + f(x) with two 3×3 convolutions at constant width; no activation after the sum."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        conv, _ = before_norm(norm)
        self.body = nn.Sequential(
            ReflectionPad(1),
            conv(width, width, 3),
            norm_layer(norm, width, affine=False),
            nn.ReLU(inplace=True),
            ReflectionPad(1),
            conv(width, width, 3),
            norm_layer(norm, width, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.body(x)
        return x + change


class ResnetGenerator(Generator):
    """c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1-3 (arXiv 1703.10593, section 7.2).

    The paper takes 6 blocks for 128×128 images and 9 for 256×256 and larger. `upsample` chooses between
    the paper's transposed convolutions and nearest-neighbour resizing followed by a convolution, which
    leaves no checkerboard (Odena et al., 2016).
    """

    multiple = 4
    smallest = 8  # an instance norm needs more than one position, and reflection too

    def __init__(
        self,
        blocks: int = 9,
        width: int = 64,
        norm: Norm = "instance",
        upsample: Upsample = "transposed",
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if upsample not in get_args(Upsample):
            choices = ", ".join(get_args(Upsample))
            raise UsageError(f"There is no upsample '{upsample}'; choose one of {choices}.")
        conv, transposed = before_norm(norm)

        def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, norm_layer(norm, channels, affine=False), nn.ReLU(inplace=True)]

        def up(inputs: int, outputs: int) -> list[nn.Module]:
            if upsample == "transposed":
                layer = transposed(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
                return normed(layer, outputs)
            resize = [nn.Upsample(scale_factor=2, mode="nearest"), ReflectionPad(1)]
            return [*resize, *normed(conv(inputs, outputs, 3), outputs)]

        self.down = nn.Sequential(
            ReflectionPad(3),
            *normed(conv(in_channels, width, 7), width),
            *normed(conv(width, 2 * width, 3, stride=2, padding=1), 2 * width),
            *normed(conv(2 * width, 4 * width, 3, stride=2, padding=1), 4 * width),
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width, norm) for _ in range(blocks))
        self.up = nn.Sequential(
            *up(4 * width, 2 * width),
            *up(2 * width, width),
            ReflectionPad(3),
            nn.Conv2d(width, out_channels, 7),
            nn.Tanh(),
        )
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.segment(self.down, x)
        for block in self.blocks:
            x = self.segment(block, x)
        return self.segment(self.up, x)
