"""The sample dataset "city": small towns as an aerial view (A) and as a street map (B).

Train A and train B are different towns (unpaired); test A and test B the same ones (pairs by file name).
Drawn in integers on a bit-stable generator and encoded by `exact_png`, the files are the same to the byte on
any machine: so the dataset has a version, and nobody needs to download it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan.data.sample.png import encode
from cyclegan.data.sample.town_plan import (
    ONE,
    UNIT,
    Dice,
    Ints,
    Point,
    Road,
    along,
    grid,
    heading,
    radial,
    village,
    winding,
)
from cyclegan.errors import UsageError

Part = tuple[slice, slice]

OVERSAMPLING = 2
GROUND, GREEN, WATER, ROAD, HOUSE = range(5)
MAP = np.array(
    [(237, 229, 214), (176, 219, 148), (136, 190, 236), (255, 255, 255), (186, 177, 172)], np.int32
)
AERIAL = np.array([(188, 168, 132), (106, 138, 68), (38, 76, 108), (160, 159, 160), (0, 0, 0)], np.int32)
UNEVENNESS = np.array([10, 10, 5, 4, 3], np.int32)  # of the classes' brightness, in tenths
ROOFS = [(186, 92, 62), (202, 116, 78), (160, 78, 56), (142, 88, 68), (190, 76, 54), (112, 74, 66)]
FLAT_ROOFS = [(206, 202, 196), (196, 176, 160), (174, 112, 92)]
TREES = [(54, 96, 46), (66, 108, 50), (46, 86, 48), (80, 116, 52)]
SHADOW = np.array((52, 56, 66), np.int32)  # percent of the light: the sky still gives some blue


def draw_city(out: Path, *, train: int = 100, test: int = 32, size: int = 128, seed: int = 0) -> None:
    """Write trainA, trainB, testA, testB of PNG images, size × size pixels, below `out`.

    The number in a file's name is its town's; no town is in two folders but those of testA and testB.
    Raises UsageError for a count below 1 or a size outside 32 to 1024.
    """
    if train < 1 or test < 1:
        raise UsageError(f"The city needs at least 1 image to train and 1 to test, not {train} and {test}.")
    if not 32 <= size <= 1024:
        raise UsageError(f"The city can be drawn at 32 to 1024 pixels, not {size}.")
    palette, nearest = _aerial_palette()
    for town in range(2 * train + test):
        dice = Dice(seed, town)
        canvas = build_town(dice, size)
        if not train <= town < 2 * train:
            red, green, blue = np.moveaxis(aerial_view(canvas, dice) >> 3, -1, 0)
            _write(out / ("trainA" if town < train else "testA"), town, palette[nearest[red, green, blue]])
        if town >= train:
            _write(out / ("trainB" if town < 2 * train else "testB"), town, street_map(canvas))


def _write(folder: Path, town: int, image: NDArray[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{town:04}.png").write_bytes(encode(image))


def build_town(dice: Dice, size: int) -> Canvas:
    """A town for pictures of size × size pixels."""
    canvas = Canvas(size * OVERSAMPLING)
    plan = dice.pick((grid, radial, village, grid))(dice)
    if dice.chance(55):
        canvas.pave(Road(winding(dice, aside=1300, sway=380), dice.between(220, 420), bridges=True), WATER)
    for block in plan.blocks:
        if dice.chance(plan.percent_green):
            canvas.fill(block, GREEN)
    for road in plan.roads:
        canvas.pave(road, ROAD)
    canvas.colour[:] = AERIAL[canvas.kind]
    for road in plan.roads:
        for p, q in pairwise(road.points):
            _line_with_houses(canvas, dice, p, q, road.half_width)
            _line_with_houses(canvas, dice, q, p, road.half_width)
    for block in plan.blocks:
        middle = sum(x for x, _ in block) // 4, sum(y for _, y in block) // 4
        way, _ = heading(block[0], block[1])
        canvas.build(dice, middle, way, (dice.between(150, 260), dice.between(120, 180)), flat=True)
    for _ in range(420):
        place = dice.between(0, UNIT - 1), dice.between(0, UNIT - 1)
        if dice.chance({GREEN: 75, GROUND: 12}.get(canvas.kind_at(place), 0)):
            canvas.plant(dice, place, dice.between(60, 120))
    return canvas


def street_map(canvas: Canvas) -> Ints:
    """H×W×3 in 0 to 255."""
    return _shrunk(MAP[canvas.kind])


class Canvas:
    """Class, colour and height (in UNITs) of each point of a town's raster."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.centres: Ints = ((2 * np.arange(pixels) + 1) * UNIT // (2 * pixels)).astype(np.int32)
        self.kind = np.full((pixels, pixels), GROUND, np.int32)
        self.colour = np.zeros((pixels, pixels, 3), np.int32)
        self.height = np.zeros((pixels, pixels), np.int32)

    def kind_at(self, point: Point) -> int:
        """What covers the ground at a point, given in units of the plan."""
        return int(self.kind[point[1] * self.pixels // UNIT, point[0] * self.pixels // UNIT])

    def around(self, middle: Point, way: Point, reach: int) -> tuple[Part, Ints, Ints]:
        """The raster within `reach` of `middle`, with its coordinates along `way` and to the left of it."""
        columns, rows = (
            slice(max(0, (c - reach) * self.pixels // UNIT), max(0, (c + reach) * self.pixels // UNIT + 1))
            for c in middle
        )
        x, y = self.centres[columns] - middle[0], self.centres[rows, None] - middle[1]
        return (rows, columns), (x * way[0] + y * way[1]) // ONE, (y * way[0] - x * way[1]) // ONE

    def pave(self, road: Road, kind: int) -> None:
        """Straight pieces with round joints."""
        width = road.half_width
        for p, q in pairwise(road.points):
            way, length = heading(p, q)
            middle = (p[0] + q[0]) // 2, (p[1] + q[1]) // 2
            piece, u, v = self.around(middle, way, length // 2 + width)
            joint, s, t = self.around(q, way, width)
            for part, inside in (
                (piece, (np.abs(u) <= length // 2) & (np.abs(v) <= width)),
                (joint, s * s + t * t <= width * width),
            ):
                kinds = self.kind[part]
                kinds[inside if road.bridges else inside & (kinds != WATER)] = kind

    def fill(self, corners: list[Point], kind: int) -> None:
        """A convex polygon, except where there is water."""
        x, y = self.centres[None, :], self.centres[:, None]
        left = [
            (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) >= 0
            for p, q in pairwise([*corners, corners[0]])
        ]
        inside = np.logical_and.reduce(left) | ~np.logical_or.reduce(left)
        self.kind[inside & (self.kind != WATER)] = kind

    def build(self, dice: Dice, middle: Point, way: Point, half: Point, *, flat: bool) -> None:
        """A house of half length and half depth `half`, with a ridge along its length or a flat roof."""
        colour = np.array(dice.pick(FLAT_ROOFS if flat else ROOFS), np.int32)
        light, height = 100 + dice.between(-6, 6), dice.between(150, 230) if flat else dice.between(90, 140)
        if not all(-half[0] < c < UNIT + half[0] for c in middle):
            return
        part, u, v = self.around(middle, way, half[0] + half[1])
        u, v = np.abs(u), v
        plot = (u <= half[0] + 40) & (np.abs(v) <= half[1] + 40)
        if (self.kind[part][plot] != GROUND).any():
            return
        roof = (u <= half[0]) & (np.abs(v) <= half[1])
        if flat:
            rim = (u > half[0] - 36) | (np.abs(v) > half[1] - 36)
            shade = light + 12 * rim
        else:
            # the sun is in the top left: the slope that faces it is light, the other dark
            shade = light + np.sign(v) * ((way[1] - way[0]) * 18 // ONE)
        self.kind[part][roof] = HOUSE
        self.colour[part][roof] = (colour * shade[..., None] // 100)[roof]
        self.height[part][roof] = height

    def plant(self, dice: Dice, middle: Point, radius: int) -> None:
        """A tree, lighter towards the sun."""
        part, u, v = self.around(middle, (ONE, 0), radius)
        crown = (u * u + v * v <= radius * radius) & (self.kind[part] <= GREEN)
        shade = 104 - 17 * (u + v) // radius
        self.colour[part][crown] = (np.array(dice.pick(TREES), np.int32) * shade[..., None] // 100)[crown]
        self.height[part][crown] = radius


def _line_with_houses(canvas: Canvas, dice: Dice, start: Point, end: Point, half_width: int) -> None:
    """Houses along the left side of a street."""
    way, length = heading(start, end)
    at = half_width + dice.between(40, 160)
    while at < length:
        half = dice.between(110, 190), dice.between(90, 130)
        middle = along(start, way, at + half[0], half_width + 70 + half[1])
        if dice.chance(85):
            canvas.build(dice, middle, way, half, flat=dice.chance(12))
        at += 2 * half[0] + dice.between(60, 150)


def aerial_view(canvas: Canvas, dice: Dice) -> Ints:
    """H×W×3 in 0 to 255: uneven ground, shadows towards the bottom right, the camera's noise."""
    light = _patches(dice, 5, 14, canvas.centres) + _patches(dice, 24, 10, canvas.centres)
    colour = canvas.colour + (light * UNEVENNESS[canvas.kind] // 10)[..., None]
    shadow = np.zeros(canvas.kind.shape, bool)
    step = UNIT // canvas.pixels
    for k in range(1, 240 // step):
        shadow[k:, k:] |= canvas.height[:-k, :-k] - k * step > canvas.height[k:, k:]
    colour[shadow] = colour[shadow] * SHADOW // 100
    view = _shrunk(colour)
    noisy: Ints = np.clip(view + dice.noise(len(view), len(view), 4)[..., None], 0, 255)
    return noisy


def _patches(dice: Dice, cells: int, amplitude: int, points: Ints) -> Ints:
    """Smooth noise: random values on a lattice of `cells`² squares, bilinear in between."""
    values = dice.noise(cells + 1, cells + 1, amplitude)
    cell, part = points * cells // UNIT, points * cells % UNIT
    rows: Ints = (values[cell] * (UNIT - part[:, None]) + values[cell + 1] * part[:, None]) // UNIT
    light: Ints = rows[:, cell] * (UNIT - part) + rows[:, cell + 1] * part
    return light // np.int32(UNIT)


def _shrunk(image: Ints) -> Ints:
    """The mean of each OVERSAMPLING × OVERSAMPLING points."""
    size = len(image) // OVERSAMPLING
    squares = image.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3)
    total: Ints = squares.sum(axis=(1, 3), dtype=np.int32)
    return (total // OVERSAMPLING**2).astype(np.int32)


def _aerial_palette() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The colours of the aerial views, N×3, and the nearest one's index for 32×32×32 levels of RGB.

    Few enough colours for a small file, and enough shades of each material that nobody sees it.
    """
    materials = np.array([*AERIAL[:HOUSE], ROOFS[0], ROOFS[3], TREES[0], FLAT_ROOFS[0]], np.int32)
    percents = np.arange(30, 126, 6, dtype=np.int32)[:, None, None]
    palette = np.unique((materials * percents // 100).clip(0, 255).reshape(-1, 3), axis=0)
    levels = np.arange(32, dtype=np.int32) * 8 + 4
    red, green, blue = (np.square(levels[:, None] - palette[:, channel]) for channel in range(3))
    distance = red[:, None, None] + green[None, :, None] + blue[None, None, :]
    return palette.astype(np.uint8), np.argmin(distance, axis=-1).astype(np.uint8)
