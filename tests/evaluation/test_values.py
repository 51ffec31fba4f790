"""Measures whose value is known without them: by a closed formula, or computed again from the paper's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan.evaluation.distances import frechet_replicates, interval, precision_recall, resample_counts
from cyclegan.evaluation.images import batches, resize
from cyclegan.evaluation.nearest import coarse, nearest
from cyclegan.evaluation.paired import ssim


def test_ssim_is_that_of_the_paper() -> None:
    """Wang et al. 2004, equation 13, for windows that lie inside the picture: 11×11, σ = 1.5."""
    noise = np.random.default_rng(0)
    x, y = noise.integers(0, 256, (2, 24, 26)).astype(np.float64)
    y = (0.6 * x + 0.4 * y).round()
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(values: np.ndarray) -> np.ndarray:
        return np.einsum("ijkl,kl", np.lib.stride_tricks.sliding_window_view(values, (11, 11)), window)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    found = ssim(*(np.stack([image] * 3, axis=-1)[None].astype(np.uint8) for image in (x, y)))
    assert found == pytest.approx([expected.mean()], abs=1e-6)
    assert found.dtype == np.float64


def test_an_interval_leaves_out_equal_tails() -> None:
    replicates = torch.arange(1001, dtype=torch.float64)
    assert interval(7.0, replicates) == pytest.approx((7 - 475, 7 + 475))
    assert interval(7.0, replicates, level=0.5) == pytest.approx((7 - 250, 7 + 250))


def test_the_distance_to_the_nearest_image_is_a_share_of_the_range() -> None:
    black, grey = (np.full((1, 64, 64, 3), shade, np.uint8) for shade in (0, 51))
    stripes = black.copy()
    stripes[:, ::2] = 255  # averaged, they are an even grey of one half
    others = coarse(np.concatenate([black, stripes]))
    found = nearest(coarse(grey), others)
    assert (found.row.tolist(), found.distance.tolist()) == ([0], pytest.approx([0.2], abs=1e-4))
    assert nearest(coarse(stripes), coarse(black)).distance == pytest.approx([0.5], abs=1e-4)


def test_shrinking_averages() -> None:
    lines = np.zeros((1, 64, 64, 3), np.uint8)
    lines[:, ::4] = 200  # every fourth row
    assert abs(resize(lines, 16, 16)[:, 4:12].astype(int) - 50).max() <= 1


def test_every_image_is_in_one_batch() -> None:
    images = np.arange(7, dtype=np.uint8)[:, None, None, None]
    for size in (1, 3, 7, 9):
        parts = list(batches(images, size))
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert np.array_equal(np.concatenate(parts), images)


def test_resamples_are_decided_by_their_generator() -> None:
    counts = [resample_counts(9, 5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(counts[0], counts[1])
    assert not torch.equal(counts[0], counts[2])
    none = frechet_replicates(torch.zeros(3, 8), torch.zeros(4, 8), counts[0][:0, :3], counts[0][:0, :4])
    assert (none.shape, none.dtype) == ((0,), torch.float64)


def test_the_edge_of_a_ball_belongs_to_the_manifold() -> None:
    line = torch.arange(5.0)[:, None]  # with k = 1 each ball has a radius of 1
    assert precision_recall(line, torch.tensor([[5.0], [6.0], [8.0]]), k=1) == (1 / 3, 1 / 5)
