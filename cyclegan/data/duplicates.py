"""Pictures that are there twice, byte for byte or nearly.

An image's thumbnail is 16×16 RGB. Two images are near duplicates when their thumbnails, less their mean, are
correlated above `CORRELATION` and differ by less than `DIFFERENCE` on average: this survives another
encoding, size or brightness, and holds apart neighbouring tiles of one map. Cropping by more than a few
percent, mirroring and turning are not found. The comparison is a matrix product in blocks, of images that
are close on the axis along which they differ most: two unit vectors that are correlated above `CORRELATION`
are at most `REACH` apart on any axis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclegan.io.pages.false_colour import shown_alone

SIDE = 16
CORRELATION = 0.985
DIFFERENCE = 6.0
FLAT = 4.0
BLOCK = 256
REACH = (2 - 2 * CORRELATION) ** 0.5
TRIES = 4

Thumbnails = NDArray[np.uint8]


class Pair(NamedTuple):
    """Two images, by index, that show the same."""

    first: int
    second: int
    exact: bool


def thumbnail(image: Image.Image | NDArray[Any]) -> NDArray[np.uint8]:
    """An image, RGB of Pillow's or H×W×C as packed, as uint8 16×16×3, each pixel the mean of its area."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(shown_alone(image))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def flatness(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Standard deviation of each thumbnail's grey values, in [0, 127.5]; below `FLAT` it shows nothing."""
    grey = np.empty(thumbnails.shape[:3], np.float32)
    np.mean(thumbnails, axis=3, out=grey)
    deviations: NDArray[np.float32] = grey.std(axis=(1, 2))
    return deviations


def find_pairs(
    thumbs_a: Thumbnails,
    digests_a: list[bytes],
    thumbs_b: Thumbnails | None = None,
    digests_b: list[bytes] | None = None,
) -> list[Pair]:
    """Duplicates between two sets of images, or within one: at most one pair for each image, sorted by index.

    Between two sets an image of the first meets its equal, or else the most similar one, of the second.
    Within one set an image meets the first of its group: those that show the same as one of them do. So a
    thousand frames of a fixed camera are 999 pairs, not half a million. Thumbnails are uint8 N×16×16×3; equal
    digests mean exact duplicates. Flat pictures are compared exactly only, since any two of them look alike.
    """
    if thumbs_b is None:
        return _within(thumbs_a, digests_a)
    return _between(thumbs_a, digests_a, thumbs_b, digests_b or [])


def _between(first: Thumbnails, firsts: list[bytes], second: Thumbnails, seconds: list[bytes]) -> list[Pair]:
    places: dict[bytes, int] = {}
    for j, digest in enumerate(seconds):
        places.setdefault(digest, j)
    pairs = [Pair(i, places[digest], True) for i, digest in enumerate(firsts) if digest in places]
    exact = {pair.first for pair in pairs}
    rows = np.array([i for i in _speaking(first) if i not in exact], np.int64)
    others = _speaking(second)
    if len(rows) and len(others):
        axis = _axis(second[others])
        others, places_b, directions_b = _sorted(second, others, axis)
        rows, places_a, directions_a = _sorted(first, rows, axis)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            low, high = np.searchsorted(places_b, places_a[block][[0, -1]] + [-REACH, REACH])
            near = others[low:high]
            match = _best(first[rows[block]], directions_a[block], second, near, directions_b[low:high])
            pairs += [Pair(int(i), int(j), False) for i, j in zip(rows[block], match, strict=True) if j >= 0]
    return sorted(pairs)


def _within(thumbnails: Thumbnails, digests: list[bytes]) -> list[Pair]:
    places: dict[bytes, int] = {}
    for i, digest in enumerate(digests):
        places.setdefault(digest, i)
    pairs = [Pair(places[digest], i, True) for i, digest in enumerate(digests) if places[digest] != i]
    repeated = {pair.second for pair in pairs}
    rows = np.array([i for i in _speaking(thumbnails) if i not in repeated], np.int64)
    groups: dict[int, list[int]] = {}
    if len(rows) > 1:
        rows, along, directions = _sorted(thumbnails, rows, _axis(thumbnails[rows]))
        leaders: list[int] = []  # places in `rows`, ascending, so that they are sorted along the axis too
        for start in range(0, len(rows), BLOCK):
            block = np.arange(start, min(start + BLOCK, len(rows)))
            low = int(np.searchsorted(along[leaders], along[start] - REACH)) if leaders else 0
            known = np.array(leaders[low:], np.int64)
            match = _best(
                thumbnails[rows[block]], directions[block], thumbnails, rows[known], directions[known]
            )
            for i, j in zip(rows[block], match, strict=True):
                if j >= 0:
                    groups[int(j)].append(int(i))
            _lead(thumbnails, rows, directions, block[match < 0], leaders, groups)
    for leader, members in groups.items():
        first, *rest = sorted([leader, *members])
        pairs += [Pair(first, member, False) for member in rest]
    return sorted(pairs)


def _lead(
    thumbnails: Thumbnails,
    rows: NDArray[np.int64],
    directions: NDArray[np.float32],
    block: NDArray[np.int64],
    leaders: list[int],
    groups: dict[int, list[int]],
) -> None:
    """Images of a block that no known leader is similar to: each joins one of them, or leads a new group."""
    similar = directions[block] @ directions[block].T > CORRELATION
    new: list[int] = []  # places in `block`
    for number, place in enumerate(block):
        i = int(rows[place])
        near = [n for n in new if similar[number, n]] if similar[number, new].any() else []
        leader = next(
            (int(rows[block[n]]) for n in near if _close(thumbnails[[i]], thumbnails[[rows[block[n]]]])[0]),
            -1,
        )
        if leader >= 0:
            groups[leader].append(i)
        else:
            new.append(number)
            leaders.append(int(place))
            groups[i] = []


def _best(
    images: Thumbnails,
    directions: NDArray[np.float32],
    others: Thumbnails,
    candidates: NDArray[np.int64],
    others_directions: NDArray[np.float32],
) -> NDArray[np.int64]:
    """For each image the most similar one of `candidates` (indices into `others`), or -1."""
    match = np.full(len(images), -1, np.int64)
    if not len(candidates):
        return match
    similar = directions @ others_directions.T
    for _ in range(TRIES):  # the best correlated may differ too much in contrast, and the next one not
        best = similar.argmax(axis=1)
        value = similar[np.arange(len(images)), best]
        rows = np.flatnonzero((match < 0) & (value > CORRELATION))
        if not len(rows):
            break
        found = candidates[best[rows]]
        close = _close(images[rows], others[found])
        match[rows[close]] = found[close]
        similar[rows, best[rows]] = -1
    return match


def _close(first: Thumbnails, second: Thumbnails) -> NDArray[np.bool_]:
    difference = (first.astype(np.int16) - second).reshape(len(first), -1).astype(np.float32)
    difference -= difference.mean(axis=1, keepdims=True)
    close: NDArray[np.bool_] = np.abs(difference).mean(axis=1) < DIFFERENCE
    return close


def _speaking(thumbnails: Thumbnails) -> NDArray[np.int64]:
    """Indices of the pictures that are not flat."""
    return np.flatnonzero(flatness(thumbnails) >= FLAT)


def _directions(thumbnails: Thumbnails) -> NDArray[np.float32]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))  # without a copy of all values
    values /= np.maximum(norms, 1e-6)[:, None]
    return values


def _axis(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """The direction in which the images differ most; none for few, which are compared with one another."""
    if len(thumbnails) <= BLOCK:
        return np.zeros(thumbnails[0].size, np.float32)
    directions = _directions(thumbnails[:: max(1, len(thumbnails) // 2048)])
    axis: NDArray[np.float32] = np.linalg.eigh(directions.T @ directions)[1][:, -1]
    return axis


def _sorted(
    thumbnails: Thumbnails, rows: NDArray[np.int64], axis: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The rows sorted along an axis, their places on it and their directions."""
    parts = [_directions(thumbnails[rows[i : i + BLOCK]]) @ axis for i in range(0, len(rows), BLOCK)]
    along = np.concatenate(parts)
    order = np.argsort(along, kind="stable")
    return rows[order], along[order], _directions(thumbnails[rows[order]])
