"""VGG-16 (configuration D of arXiv 1409.1556): its convolutions by torchvision's names, and its scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Convolution(NamedTuple):
    """A 3×3 convolution, which a ReLU follows."""

    name: str
    """In torchvision's `vgg16`: features.0, …"""
    inputs: int
    outputs: int


def stages(count: int = len(WIDTHS)) -> list[list[Convolution]]:
    """The convolutions before each of the first `count` pools."""
    found, index, inputs = [], 0, 3
    for widths in WIDTHS[:count]:
        stage = []
        for width in widths:
            stage.append(Convolution(f"features.{index}", inputs, width))
            inputs, index = width, index + 2
        found.append(stage)
        index += 1
    return found


class ImagenetScale(nn.Module):
    """N×3×H×W in [-1, 1] to what weights from ImageNet expect: values in [0, 1], less mean, by deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2 - self.mean) / self.deviation
