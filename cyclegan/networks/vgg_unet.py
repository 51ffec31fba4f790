"""The project's generator: VGG-16 as encoder, a light decoder with skips from the pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.generator import Generator
from cyclegan.networks.init import glorot_
from cyclegan.networks.norm import Norm, norm_layer
from cyclegan.networks.vgg16 import ImagenetScale, stages

DECODER = (256, 128, 64, 32, 32)


class VggUnet(Generator):
    """VGG-16's convolutions down to 1/32, then five blocks up, each after a nearest-neighbour doubling.

    A block of width c: [concatenate the pool of this size] → norm → Conv1×1(c), ReLU → norm → Conv3×3(c),
    ReLU. Then Conv3×3 to 3 channels and tanh. The encoder trains with the rest; `load_vgg_` gives it weights
    from ImageNet, without which it starts from He's normal distribution.
    """

    multiple = 32

    def __init__(self, norm: Norm = "instance") -> None:
        super().__init__()
        self.encoder = nn.ModuleList()
        outputs = []
        for stage in stages():
            layers: list[nn.Module] = []
            for layer in stage:
                layers += [nn.Conv2d(layer.inputs, layer.outputs, 3, padding=1), nn.ReLU(inplace=True)]
            self.encoder.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            outputs.append(stage[-1].outputs)

        inputs, skips = outputs[-1], (*outputs[-2::-1], 0)
        self.decoder = nn.ModuleList()
        for width, skip in zip(DECODER, skips, strict=True):
            self.decoder.append(
                nn.Sequential(
                    norm_layer(norm, inputs + skip, affine=True),
                    nn.Conv2d(inputs + skip, width, 1),
                    nn.ReLU(inplace=True),
                    norm_layer(norm, width, affine=True),
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.ReLU(inplace=True),
                )
            )
            inputs = width
        self.head = nn.Sequential(nn.Conv2d(inputs, 3, 3, padding=1), nn.Tanh())
        self.imagenet = ImagenetScale()
        self._initialise()

    def _initialise(self) -> None:
        glorot_(self)
        for layer in self.encoder.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.imagenet(x)
        skips = []
        for stage in self.encoder:
            x = self.segment(stage, x)
            skips.append(x)
        x = skips.pop()
        for block in self.decoder:
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
            x = self.segment(block, x)
        output: Tensor = self.head(x)
        return output

    def load_vgg_(self, state: Mapping[str, Tensor], *, partial: bool = False) -> list[str]:
        """Copy VGG-16's convolutions from a state dict in torchvision's layout (`features.0.weight`, …).

        Returns the names of the convolutions that the state lacks, which keep their random weights: allowed
        only with `partial`. Raises UsageError where a layer is missing or has another shape.
        """
        missing = []
        with torch.no_grad():
            for name, convolution in self._named_convolutions():
                weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
                if weight is None or bias is None:
                    missing.append(name)
                    continue
                assert convolution.bias is not None
                for own, given in ((convolution.weight, weight), (convolution.bias, bias)):
                    if given.shape != own.shape or not given.is_floating_point():
                        raise UsageError(
                            f"The weights of {name} are {given.dtype} of shape {tuple(given.shape)}: "
                            "not VGG-16's."
                        )
                    own.copy_(given)
        if missing and (not partial or len(missing) == 13):
            raise UsageError(
                f"The weights lack {len(missing)} of VGG-16's 13 convolutions ({missing[0]}, …)."
            )
        return missing

    def _named_convolutions(self) -> Iterable[tuple[str, nn.Conv2d]]:
        """The encoder's convolutions by their names in torchvision's `vgg16`."""
        convolutions = (module for module in self.encoder.modules() if isinstance(module, nn.Conv2d))
        for layer, convolution in zip(chain(*stages()), convolutions, strict=True):
            yield layer.name, convolution
