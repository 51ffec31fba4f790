"""Where the streets of a drawn town run: geometry in integers, so that it is the same on any machine.

A town is a square of UNIT × UNIT points, whatever its size in pixels. Directions are vectors of length ONE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Point = tuple[int, int]
Ints = NDArray[np.int32]

UNIT = 4096
ONE = 1024
STREET, AVENUE = 84, 120  # half widths
MIDDLE = (UNIT // 2, UNIT // 2)


class Dice:
    """Random integers from raw PCG64 words: numpy promises those for all versions, its distributions not."""

    def __init__(self, *seed: int) -> None:
        self._words = np.random.PCG64(list(seed))

    def between(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return low + int(self._words.random_raw()) % (high - low + 1)

    def pick(self, values: Sequence[T]) -> T:
        """One of the values, each as likely."""
        return values[self.between(0, len(values) - 1)]

    def chance(self, percent: int) -> bool:
        """True in `percent` of a hundred cases."""
        return self.between(0, 99) < percent

    def noise(self, rows: int, columns: int, amplitude: int) -> Ints:
        """Independent values from -amplitude to amplitude."""
        words = np.asarray(self._words.random_raw(rows * columns)) % np.uint64(2 * amplitude + 1)
        return words.astype(np.int32).reshape(rows, columns) - np.int32(amplitude)


@dataclass(frozen=True)
class Road:
    """A street or a river; one without bridges ends at the water."""

    points: list[Point]
    half_width: int
    bridges: bool = False


@dataclass(frozen=True)
class Plan:
    """The streets, and the blocks between them (convex, four corners) that may become parks."""

    roads: list[Road]
    blocks: list[list[Point]]
    percent_green: int


def direction(quarter: int, step: int) -> Point:
    """The unit vector `step` / 64 of the way through quarter circle `quarter`, by t = tan(angle / 2).

    These are rational points of the circle; a sine's last bit differs between C libraries.
    """
    square = 64 * 64 + step * step
    x, y = ONE * (64 * 64 - step * step) // square, ONE * 2 * 64 * step // square
    return ((x, y), (-y, x), (-x, -y), (y, -x))[quarter % 4]


def heading(start: Point, end: Point) -> tuple[Point, int]:
    """Direction and distance from `start` to `end`."""
    x, y = end[0] - start[0], end[1] - start[1]
    length = max(1, isqrt(x * x + y * y))
    return (x * ONE // length, y * ONE // length), length


def along(start: Point, way: Point, distance: int, aside: int = 0) -> Point:
    """`distance` from `start` in direction `way`, then `aside` to the left of it."""
    x = start[0] + (way[0] * distance - way[1] * aside) // ONE
    return x, start[1] + (way[1] * distance + way[0] * aside) // ONE


def rounded(points: list[Point]) -> list[Point]:
    """The polyline with its corners cut twice (Chaikin 1974)."""
    for _ in range(2):
        cut = []
        for p, q in pairwise(points):
            cut += [((3 * a[0] + b[0]) // 4, (3 * a[1] + b[1]) // 4) for a, b in ((p, q), (q, p))]
        points = [points[0], *cut, points[-1]]
    return points


def winding(dice: Dice, aside: int, sway: int) -> list[Point]:
    """A curve across the whole town, up to `aside` off the middle."""
    way = direction(dice.between(0, 3), dice.between(0, 63))
    start = along(MIDDLE, way, -3600, dice.between(-aside, aside))
    return rounded([along(start, way, k * 900, dice.between(-sway, sway)) for k in range(9)])


def grid(dice: Dice) -> Plan:
    """Two families of parallel streets, turned by any angle; one street of each is an avenue."""
    way = direction(0, dice.between(0, 63))
    middle = dice.between(1400, 2700), dice.between(1400, 2700)
    across, beside = _lines(dice, 640, 900), _lines(dice, 800, 1300)
    corners = [[along(middle, way, u, v) for v in beside] for u in across]
    streets = []
    for family in (corners, list(map(list, zip(*corners, strict=True)))):
        main = len(family) // 2
        streets += [Road(line, STREET) for line in family[:main] + family[main + 1 :]]
        streets.append(Road(family[main], AVENUE, bridges=True))
    blocks = [
        [near[k], far[k], far[k + 1], near[k + 1]]
        for near, far in pairwise(corners)
        for k in range(len(beside) - 1)
    ]
    return Plan(streets, blocks, percent_green=24)


def _lines(dice: Dice, least: int, most: int) -> list[int]:
    lines = [dice.between(-4200, -3600)]
    while lines[-1] < 4200:
        lines.append(lines[-1] + dice.between(least, most))
    return lines


def radial(dice: Dice) -> Plan:
    """Avenues out of a centre, joined by ring streets."""
    middle = dice.between(1300, 2800), dice.between(1300, 2800)
    count = dice.between(6, 8)
    turns = [256 * k // count + dice.between(-6, 6) for k in range(count)]
    ways = [direction(turn // 64, turn % 64) for turn in [*turns, turns[0]]]
    radii = [dice.between(420, 620)]
    while radii[-1] < 3800:
        radii.append(radii[-1] + dice.between(720, 980))
    rings = [[along(middle, way, radius) for way in ways] for radius in radii]
    streets = [Road(ring, STREET, bridges=ring is rings[0]) for ring in rings]
    for k in range(count):
        main = k % 3 == 0
        streets.append(Road([rings[0][k], rings[-1][k]], AVENUE if main else STREET, bridges=main))
    blocks = [
        [inner[k], outer[k], outer[k + 1], inner[k + 1]]
        for inner, outer in pairwise(rings)
        for k in range(count)
    ]
    return Plan(streets, blocks, percent_green=24)


def village(dice: Dice) -> Plan:
    """A winding main street with lanes off it, and meadows on both sides."""
    street = winding(dice, aside=700, sway=260)
    lanes, meadows = [], []
    for a, b in pairwise(street[::4]):
        way, length = heading(a, b)
        side = dice.pick((-1, 1))
        lanes.append(
            Road([a, along(a, way, dice.between(-300, 300), side * dice.between(1100, 3200))], STREET)
        )
        near, far = side * -dice.between(250, 900), side * -dice.between(1500, 2600)
        meadows.append(
            [along(a, way, u, v) for u, v in ((60, near), (length, near), (length, far), (0, far))]
        )
    return Plan([*lanes, Road(street, AVENUE, bridges=True)], meadows, percent_green=60)
