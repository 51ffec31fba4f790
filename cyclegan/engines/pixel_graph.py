"""What surrounds a generator in an exported file: arithmetic of 16 bits, pictures of bytes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cyclegan.networks import Generator
from cyclegan.pixels import round_to_bytes, to_unit

Images = Literal["float", "uint8"]
FilePrecision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Form:
    """What goes into an exported file and comes out, and the precision of its weights."""

    images: Images = "float"
    """float: float32 N×3×H×W in [-1, 1], sides a multiple of the generator's; uint8: H×W×3 of any size."""
    precision: FilePrecision = "fp32"

    @property
    def suffix(self) -> str:
        """What distinguishes the file's name from that of the plain form: '', '-uint8', '-uint8-fp16'."""
        return "".join(f"-{part}" for part in (self.images, self.precision) if part not in {"float", "fp32"})

    def wrap(self, generator: Generator) -> nn.Module:
        """The module to export; the generator itself stays as it is."""
        inner: nn.Module = HalfInside(generator) if self.precision == "fp16" else generator
        return PixelsOutside(inner, generator.multiple) if self.images == "uint8" else inner


PLAIN = Form()


class HalfInside(nn.Module):
    """A copy of a generator in float16 between float32 images."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = copy.deepcopy(generator).half()

    def forward(self, images: Tensor) -> Tensor:
        translated: Tensor = self.generator(images.half())
        return translated.float()


class PixelsOutside(nn.Module):
    """uint8 H×W×3 of any size to the same: scaled, padded as `Translator` does, translated, cropped, rounded.

    Written without branches on the sizes, so that one exported graph serves all of them.
    """

    def __init__(self, generator: nn.Module, multiple: int) -> None:
        super().__init__()
        self.generator = generator
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        x = to_unit(image.permute(2, 0, 1)[None], 8)
        inner = []
        for dim in (2, 3):
            side = image.shape[dim - 2]
            target = torch.sym_max((side + self.multiple - 1) // self.multiple, 2) * self.multiple
            before = (target - side) // 2
            x = x.index_select(dim, _reflected(side, before, target))
            inner.append(torch.arange(side) + before)
        y: Tensor = self.generator(x).index_select(2, inner[0]).index_select(3, inner[1])
        return round_to_bytes(y)[0].permute(1, 2, 0)


def _reflected(side: Any, before: Any, target: Any) -> Tensor:
    """Indices into `side` pixels for `target` places, `before` of them ahead, reflected as needed."""
    # a tensor, since the exporter cannot take a remainder by a size
    period = torch.full((1,), torch.sym_max(2 * (side - 1), 1), dtype=torch.int64)
    place = (torch.arange(target) - before) % period
    return torch.minimum(place, period - place)
