"""Reflection: inside networks so that a GPU can differentiate it deterministically, around whole images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cyclegan.networks.generator import Generator


class ReflectionPad(nn.Module):
    """Mirror the outermost `size` pixels of N×C×H×W features outwards, without repeating the edge itself.

    The same as nn.ReflectionPad2d. On CUDA that adds gradients up in whatever order threads arrive, and torch
    raises RuntimeError for it under `use_deterministic_algorithms`; slices joined together have one order.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if not torch.are_deterministic_algorithms_enabled():
            return nn.functional.pad(x, (self.size,) * 4, mode="reflect")
        for dim in (2, 3):
            first, last = x.narrow(dim, 1, self.size), x.narrow(dim, -1 - self.size, self.size)
            x = torch.cat([first.flip(dim), x, last.flip(dim)], dim)
        return x


def at_any_size(generator: Generator, images: Tensor) -> Tensor:
    """A generator's output for images of any height and width, N×3×H×W in [-1, 1] to the same.

    Sides that the generator does not take are reflected outwards at both ends, as often as need be, up to
    multiples of `generator.multiple` and at least `generator.smallest`; the output is cropped back.
    """
    inner = []
    for dim in (2, 3):
        side = images.shape[dim]
        spare = max(-(-side // generator.multiple) * generator.multiple, generator.smallest) - side
        before = spare // 2
        inner.append(slice(before, before + side))
        if spare:
            images = images.index_select(dim, _reflected(side, before, side + spare, images.device))
    output: Tensor = generator(images)
    return output[:, :, inner[0], inner[1]]


def _reflected(side: int, before: int, length: int, device: torch.device) -> Tensor:
    """Indices into `side` pixels for `length` places, `before` of them ahead; as often as need be."""
    period = max(2 * (side - 1), 1)
    place = (torch.arange(length, device=device) - before) % period
    return torch.minimum(place, (period - place) % period) if side > 1 else torch.zeros_like(place)
