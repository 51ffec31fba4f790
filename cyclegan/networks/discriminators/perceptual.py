"""A discriminator that sees an image by its pixels and by what VGG-16 makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from cyclegan.errors import UsageError
from cyclegan.networks.discriminators.patchgan import PatchGAN
from cyclegan.networks.norm import NormOrNone
from cyclegan.networks.vgg16 import Convolution, ImagenetScale, stages


class VggFeatures(nn.Module):
    """VGG-16 up to relu3_3 (arXiv 1409.1556), frozen: N×3×H×W in [-1, 1] to relu2_2 and relu3_3.

    These are N×128×H/2×W/2 and N×256×H/4×W/4. Both are divided by their root mean square for white noise
    of ImageNet's mean and deviation, which brings photographs to about 1 whatever range the weights were
    trained for. All weights are buffers, 0 until `load_vgg_`: a checkpoint has them, no optimiser does.
    """

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stages = stages(3)
        for layer in chain(*self.stages):
            self.register_buffer(_buffer(layer, "weight"), torch.zeros(layer.outputs, layer.inputs, 3, 3))
            self.register_buffer(_buffer(layer, "bias"), torch.zeros(layer.outputs))
        self.register_buffer("scale", torch.ones(2))
        self.imagenet = ImagenetScale()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half, quarter = self._activations(self.imagenet(x))
        return half / self.scale[0], quarter / self.scale[1]

    @torch.no_grad()
    def load_vgg_(self, state: Mapping[str, Tensor]) -> None:
        """Copy the convolutions from a state dict in torchvision's layout (`features.0.weight`, …).

        Raises UsageError where one is missing or has another shape.
        """
        for layer in chain(*self.stages):
            for kind in ("weight", "bias"):
                own, given = getattr(self, _buffer(layer, kind)), state.get(f"{layer.name}.{kind}")
                if given is None or given.shape != own.shape or not given.is_floating_point():
                    raise UsageError(f"{layer.name}.{kind} of VGG-16 is missing or has another shape.")
                own.copy_(given)
        noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).to(self.scale.device)
        self.scale.copy_(torch.stack([found.square().mean().sqrt() for found in self._activations(noise)]))

    def _activations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for number, stage in enumerate(self.stages):
            x = max_pool2d(x, 2) if number else x
            for layer in stage:
                weight, bias = (getattr(self, _buffer(layer, kind)) for kind in ("weight", "bias"))
                x = relu(conv2d(x, weight, bias, padding=1))
            found.append(x)
        _, half, quarter = found
        return half, quarter


def _buffer(layer: Convolution, kind: str) -> str:
    return f"{layer.name}.{kind}".replace(".", "_")


class PerceptualDiscriminator(nn.Module):
    """A PatchGAN on the pixels and three heads on VGG-16's activations: N×3×H×W to N×4×H/4×W/4 scores.

    `fine` (relu2_2) and `coarse` (relu3_3) score patches, `whole` the image by means and deviations of both,
    so by what it is made of and not by where. Each head's scores are resized to the same number, so that
    all four count alike. After arXiv 1809.01396, which judges translations by VGG's features, and
    2111.01007, where several small heads on frozen features learn from few images. `layers`, `width` and
    `norm` are the PatchGAN's; the heads have no normalisation, which would hide colours and contrast.
    """

    def __init__(self, layers: int = 3, width: int = 64, norm: NormOrNone = "instance") -> None:
        super().__init__()
        self.pixels = PatchGAN(layers, width, norm)
        self.fine = _patch_head(128, 96, strided=2)
        self.coarse = _patch_head(256, 128, strided=1)
        self.whole = nn.Sequential(
            nn.Linear(2 * (128 + 256), 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
        )
        self.vgg = VggFeatures()

    def forward(self, x: Tensor) -> Tensor:
        half, quarter = self.vgg(x)
        of_image = self.whole(_statistics(half, quarter))[:, :, None, None]
        scores = [self.pixels(x), self.fine(half), self.coarse(quarter), of_image]
        return torch.cat([interpolate(score, quarter.shape[2:], mode="nearest") for score in scores], 1)


def _patch_head(inputs: int, width: int, *, strided: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 1), nn.LeakyReLU(0.2)]
    for _ in range(strided):
        layers += [nn.Conv2d(width, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    last = nn.Conv2d(width, 1, 4, padding=1)
    head = nn.Sequential(*layers, last)
    for layer in head:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    nn.init.normal_(last.weight, 0.0, 0.01)
    return head


def _statistics(half: Tensor, quarter: Tensor) -> Tensor:
    """Mean and standard deviation of each channel over the image, N×768."""
    variance, mean = torch.var_mean(torch.cat([max_pool2d(half, 2), quarter], 1), (2, 3))
    return torch.cat([mean, (variance + 1e-4).sqrt()], 1)  # at 0 the root's gradient is infinite
