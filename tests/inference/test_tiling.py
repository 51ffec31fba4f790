"""Tiles: they cover every pixel once, are equal, and no larger than needed."""

from __future__ import annotations

import numpy as np
import pytest

from cyclegan.inference.tiling import bands, split


@pytest.mark.parametrize("length", [1, 7, 1023, 1024, 1025, 1100, 2000, 5001])
@pytest.mark.parametrize(
    ("tile", "overlap", "multiple"), [(1024, 128, 4), (1000, 0, 32), (256, 255, 1), (0, 9, 8)]
)
def test_every_pixel_is_covered_and_the_weights_sum_to_one(length, tile, overlap, multiple):
    axis = split(length, tile, overlap, multiple)
    total = np.zeros(length)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        assert (weights > 0).all() and 0 <= start <= length - axis.size
        total[start : start + axis.size] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)
    if len(axis.starts) > 1:
        assert axis.size <= tile and axis.size % multiple == 0
        gaps = np.diff(axis.starts)
        assert (axis.size - gaps >= min(overlap, tile // 2)).all()
        assert np.ptp(gaps) <= 1
    else:
        assert axis.size == length


@pytest.mark.parametrize(("side", "most"), [(1025, 1.30), (1100, 1.26), (1920, 1.17), (4000, 1.35)])
def test_little_is_computed_twice(side, most):
    axis = split(side, 1024, 128, 4)
    assert (axis.size * len(axis.starts)) ** 2 / side**2 < most


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_bands_put_tiles_together_again(batch):
    image = np.random.default_rng(0).integers(0, 256, (75, 130, 3), np.uint8)
    rows, columns = split(75, 32, 8), split(130, 32, 8)
    calls = []

    def run(tiles):
        calls.append(tiles.shape)
        return tiles.astype(np.float32)

    parts = list(bands(image, rows, columns, run, batch))
    assert len(parts) == len(rows.starts) and len(parts[0]) < rows.size
    np.testing.assert_allclose(np.concatenate(parts), image, atol=1e-3)
    assert {shape[1:] for shape in calls} == {(rows.size, columns.size, 3)}
    assert max(shape[0] for shape in calls) == min(batch, len(columns.starts))
