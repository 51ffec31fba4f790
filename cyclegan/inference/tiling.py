"""A large picture as overlapping tiles of one size, and the weights by which they blend.

Along a side of L pixels, n tiles of S pixels begin at equal distances, the last one ends at the border, and
neighbours share at least `overlap` pixels. n is the smallest number whose tiles fit into the limit, and S the
smallest size for that n, so that hardly a pixel is computed twice outside the overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of a picture."""

    size: int
    """Pixels of each tile."""
    starts: list[int]
    weights: np.ndarray
    """float32 n×size: how much each tile's pixel counts; at every pixel of the picture they sum to 1."""


def split(length: int, tile: int, overlap: int, multiple: int = 1) -> Axis:
    """Tiles of at most `tile` pixels, a multiple of `multiple` where there are several, sharing at most half.

    One tile of `length` pixels where that is no more than `tile`, or where `tile` is 0.
    """
    largest = max(tile // multiple, 2) * multiple
    if not tile or length <= max(tile, largest):
        return Axis(length, [0], np.ones((1, length), np.float32))
    overlap = min(overlap, largest // 2)
    count = math.ceil((length - overlap) / (largest - overlap))
    least = math.ceil((length + (count - 1) * overlap) / count)
    size = math.ceil(least / multiple) * multiple
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    return Axis(size, starts, _weights(length, size, starts, overlap))


def _weights(length: int, size: int, starts: list[int], overlap: int) -> np.ndarray:
    """Ramps over `overlap` pixels from both ends of each tile, divided by their sum at each pixel."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1
    ramp = np.minimum(distance / (overlap + 1), 1)
    total = np.zeros(length)
    for start in starts:
        total[start : start + size] += ramp
    return np.stack([ramp / total[start : start + size] for start in starts]).astype(np.float32)


class Regions(Protocol):
    """A picture that need not be in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels."""

    def __getitem__(self, region: Any) -> np.ndarray:
        """The part between two slices, h×w×3."""


def bands(
    image: Regions,
    rows: Axis,
    columns: Axis,
    run: Callable[[np.ndarray], np.ndarray],
    batch: int = 1,
    channels: int = 3,
) -> Iterator[np.ndarray]:
    """The translated picture from top to bottom, in bands of finished rows, float32 h×W×`channels`.

    `image` is H×W×C, in memory or not; `run` takes N×h×w×C of its type and returns float32 N×h×w×`channels`.
    Memory is bounded by one row of tiles, whatever the picture's height.
    """
    width = image.shape[1]
    band = np.zeros((rows.size, width, channels), np.float32)
    for i, top in enumerate(rows.starts):
        for first in range(0, len(columns.starts), batch):
            chosen = range(first, min(first + batch, len(columns.starts)))
            lefts = [columns.starts[j] for j in chosen]
            tiles = np.stack([image[top : top + rows.size, left : left + columns.size] for left in lefts])
            for j, left, piece in zip(chosen, lefts, run(tiles), strict=True):
                weights = rows.weights[i][:, None] * columns.weights[j]
                band[:, left : left + columns.size] += piece * weights[..., None]
        if i + 1 == len(rows.starts):
            yield band
            return
        done = rows.starts[i + 1] - top
        yield band[:done].copy()
        band[: rows.size - done] = band[done:]
        band[rows.size - done :] = 0
