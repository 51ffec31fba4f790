"""Batches of packed images as generators take them, resizing, and choosing some of many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cyclegan.pixels import to_integers, to_unit

Images = NDArray[Any]
"""uint8 N×H×W×3, 0 to 255; or uint8 or uint16 N×H×W×C, where the data are not RGB of 8 bits."""


def to_float(images: Images, device: torch.device | str = "cpu") -> Tensor:
    """Images N×H×W×C → float32 N×C×H×W in [−1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return to_unit(pixels.permute(0, 3, 1, 2))


def resize(images: Images, height: int, width: int) -> Images:
    """Resize by antialiased bicubic interpolation and round; the same array where nothing changes."""
    if images.shape[1:3] == (height, width):
        return images
    resized = F.interpolate(to_float(images), (height, width), mode="bicubic", antialias=True)
    return to_integers(resized, bits_of(images))


def bits_of(images: Images) -> int:
    """Bits of a channel."""
    return 8 * images.itemsize


def largest(images: Images) -> int:
    """The largest value that a channel can have: 255 or 65535."""
    return (1 << bits_of(images)) - 1


def batches(images: Images, size: int) -> Iterator[Images]:
    """The images, `size` at a time, in order."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def choose(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Sorted indices of `most` of `n` items drawn by `seed`; all when most is 0 or not less than n."""
    if most == 0 or most >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])
