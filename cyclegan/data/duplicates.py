"""Pictures that are there twice, byte for byte or nearly.

An image's thumbnail is 16×16 RGB. Two images are near duplicates when their thumbnails, less their mean, are
correlated above `CORRELATION` and differ by less than `DIFFERENCE` on average: this survives another
encoding, size or brightness, and holds apart neighbouring tiles of one map. Cropping by more than a few
percent, mirroring and turning are not found. The comparison is a matrix product in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
CORRELATION = 0.985
DIFFERENCE = 6.0
FLAT = 4.0
BLOCK = 1024

Thumbnails = NDArray[np.uint8]


class Pair(NamedTuple):
    """Two images, by index, that show the same."""

    first: int
    second: int
    exact: bool


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as uint8 16×16×3, each pixel the mean of its area."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def flatness(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Standard deviation of each thumbnail's grey values, in [0, 127.5]; below `FLAT` it shows nothing."""
    grey = np.empty(thumbnails.shape[:3], np.float32)
    np.mean(thumbnails, axis=3, out=grey)
    return grey.std(axis=(1, 2))


def _directions(thumbnails: Thumbnails) -> NDArray[np.float32]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(norms, 1e-6)


def find_pairs(
    thumbs_a: Thumbnails,
    digests_a: list[bytes],
    thumbs_b: Thumbnails | None = None,
    digests_b: list[bytes] | None = None,
) -> list[Pair]:
    """All duplicate pairs between two sets of images, or within one; sorted by index.

    Thumbnails are uint8 N×16×16×3; equal digests mean exact duplicates. Flat pictures are compared exactly
    only, since any two of them look alike.
    """
    within = thumbs_b is None
    other, others = (thumbs_a, digests_a) if thumbs_b is None else (thumbs_b, digests_b or [])
    pairs = dict.fromkeys(_equal(digests_a, others, within), True)
    if len(thumbs_a) and len(other):
        for i, j in _similar(thumbs_a, other, within):
            pairs.setdefault((i, j), False)
    return [Pair(i, j, exact) for (i, j), exact in sorted(pairs.items())]


def _equal(first: list[bytes], second: list[bytes], within: bool) -> Iterator[tuple[int, int]]:
    places: dict[bytes, list[int]] = {}
    for j, digest in enumerate(second):
        places.setdefault(digest, []).append(j)
    for i, digest in enumerate(first):
        matches = places.get(digest, [])
        if within:  # a chain i → next instead of all pairs: a thousand equal tiles are not 500,000 findings
            matches = [j for j in matches if j > i][:1]
        for j in matches:
            yield i, j


def _similar(first: Thumbnails, second: Thumbnails, within: bool) -> Iterator[tuple[int, int]]:
    flat_a, flat_b = flatness(first) < FLAT, flatness(second) < FLAT
    for start in range(0, len(first), BLOCK):
        directions = _directions(first[start : start + BLOCK])
        for offset in range(start if within else 0, len(second), BLOCK):
            similar = directions @ _directions(second[offset : offset + BLOCK]).T
            for i, j in np.argwhere(similar > CORRELATION):
                a, b = int(i) + start, int(j) + offset
                if flat_a[a] or flat_b[b] or (within and b <= a):
                    continue
                difference = first[a].astype(np.int16) - second[b]
                if np.abs(difference - difference.mean()).mean() < DIFFERENCE:
                    yield a, b
