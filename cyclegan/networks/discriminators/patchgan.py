"""Discriminators: a score for every patch of the image."""

from __future__ import annotations

from torch import Tensor, nn

from cyclegan.networks.bias_free import before_norm
from cyclegan.networks.init import glorot_, normal_
from cyclegan.networks.norm import NormOrNone, norm_layer


class PatchGAN(nn.Module):
    """C64-C128-C256-C512 and one Conv4×4 to a score (arXiv 1703.10593, section 7.2): 256² gives 30×30.

    Conv4×4 → norm → LeakyReLU(0.2), no norm on the first; `layers` strided convolutions, then two of stride
    1. With 3 layers each score sees 70×70 pixels, with 2 it sees 34×34, with 4 it sees 142×142.
    """

    def __init__(
        self, layers: int = 3, width: int = 64, norm: NormOrNone = "instance", in_channels: int = 3
    ) -> None:
        super().__init__()
        conv, _ = before_norm(norm)
        sequence: list[nn.Module] = [
            nn.Conv2d(in_channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        inputs = width
        for level in range(1, layers + 1):
            outputs = width * min(2**level, 8)
            stride = 2 if level < layers else 1
            sequence += [
                conv(inputs, outputs, 4, stride=stride, padding=1),
                _norm_layer(norm, outputs, affine=False),
                nn.LeakyReLU(0.2),
            ]
            inputs = outputs
        self.body = nn.Sequential(*sequence, nn.Conv2d(inputs, 1, 4, padding=1))
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body(x)
        return scores


class AuthorDiscriminator(nn.Module):
    """Conv4×4 stride 2 (64, 128, 256, 512) → LeakyReLU(0.2) → norm, then Conv4×4 to a score.

    256×256 gives 16×16. Unlike in the paper the normalisation follows the activation, all four layers are
    strided, and 'same' padding holds throughout; the first layer is not normalised.
    """

    def __init__(self, width: int = 64, norm: NormOrNone = "instance", in_channels: int = 3) -> None:
        super().__init__()
        sequence: list[nn.Module] = []
        inputs = in_channels
        for level in range(4):
            outputs = width * 2**level
            sequence += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            if level:
                sequence.append(_norm_layer(norm, outputs, affine=True))
            inputs = outputs
        # 'Same' padding of an even kernel at stride 1 is one before and two after.
        sequence += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inputs, 1, 4)]
        self.body = nn.Sequential(*sequence)
        glorot_(self)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body(x)
        return scores


def _norm_layer(norm: NormOrNone, channels: int, *, affine: bool) -> nn.Module:
    return nn.Identity() if norm == "none" else norm_layer(norm, channels, affine=affine)
