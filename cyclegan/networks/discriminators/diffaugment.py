"""Differentiable augmentation of what discriminators see (Zhao et al., 2020, arXiv 2006.10738).

With few images a discriminator learns them by heart. Here it sees real images and translations through the
same random changes, and since these are differentiable, the generators' gradients pass through them. Formulas
and ranges are those of the paper's code; images are in [-1, 1], as there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

SHIFT = 0.125
"""Largest translation, as a share of the side."""
HOLE = 0.5
"""Side of the part that is cut out, as a share of the image's."""
NUMBERS = 7
"""Random numbers for an image: brightness, saturation, contrast, then translation and hole by y and x."""


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by ±0.5, saturation times 0 to 2, contrast times 0.5 to 1.5; u: B×3 in [0, 1)."""
    brightness, saturation, contrast = u.view(-1, 3, 1, 1, 1).unbind(1)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    level = x.mean((1, 2, 3), keepdim=True)
    return (x - level) * (contrast + 0.5) + level


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Move by up to an eighth of each side; zeros come in from outside. u: B×2 in [0, 1)."""
    height, width = x.shape[2:]
    down, right = (
        _whole(u[:, axis], 2 * reach + 1) - reach
        for axis, reach in enumerate((int(height * SHIFT + 0.5), int(width * SHIFT + 0.5)))
    )
    # Row 0 and the last one of the padded image are zeros; whatever lies further out is read from there.
    rows = (torch.arange(height, device=x.device) + down[:, None] + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=x.device) + right[:, None] + 1).clamp(0, width + 1)
    padded = pad(x, [1, 1, 1, 1]).permute(0, 2, 3, 1)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Zeros in a rectangle of half of each side, which may reach over the edge. u: B×2 in [0, 1)."""
    inside = []
    for axis, side in enumerate(x.shape[2:]):
        hole = int(side * HOLE + 0.5)
        first = _whole(u[:, axis], side + 1 - hole % 2) - hole // 2
        place = torch.arange(side, device=x.device) - first[:, None]
        inside.append((place >= 0) & (place < hole))
    mask = inside[0][:, :, None] & inside[1][:, None, :]
    return x * ~mask[:, None]


STEPS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], slice]] = {
    "color": (color, slice(0, 3)),
    "translation": (translation, slice(3, 5)),
    "cutout": (cutout, slice(5, 7)),
}
"""Each with its part of an image's random numbers."""


def augment(x: Tensor, u: Tensor, policy: Sequence[str]) -> Tensor:
    """Images float B×3×H×W through the named changes, in this order; u: B×`NUMBERS` in [0, 1)."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    for name in policy:
        change, part = STEPS[name]
        x = change(x, u[:, part])
    return x


def _whole(u: Tensor, count: int) -> Tensor:
    """Uniform in [0, 1) to uniform whole numbers from 0 to count - 1."""
    return (u * count).long().clamp(max=count - 1)
