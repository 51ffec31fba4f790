"""Does a translation repeat a training image? Its nearest one, among coarse pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cyclegan.evaluation.images import Images, batches, largest
from cyclegan.evaluation.paired import Values

SIDE = 32


@dataclass(frozen=True)
class Nearest:
    """The nearest of some other images to each image."""

    row: NDArray[np.int64]
    distance: Values
    """Root mean square difference of the images averaged down to 32×32, as a share of the range: 0 to 1."""


def coarse(images: Images, size: int = 256) -> Tensor:
    """Images averaged down to 32×32 pixels, 0 to 1, flattened: float32 N×1024·C; reads `size` at a time."""
    rows = []
    for batch in batches(images, size):
        pixels = torch.from_numpy(np.array(batch)).permute(0, 3, 1, 2).float().div_(largest(images))
        rows.append(F.interpolate(pixels, (SIDE, SIDE), mode="area").flatten(1))
    return torch.cat(rows)


def nearest(images: Tensor, others: Tensor) -> Nearest:
    """For each of N `coarse` images the nearest of M others, both as rows of pixels in [0, 1].

    Gives its row and the root mean square difference of the pixels, float64 of length N.
    """
    distance, row = torch.cdist(images, others).min(1)
    return Nearest(row.numpy(), (distance / images.shape[1] ** 0.5).double().numpy())
