from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan.evaluation import paired
from cyclegan.evaluation.images import choose, resize, to_float
from cyclegan.pixels import to_uint8


def constant(value: int, side: int = 16) -> np.ndarray:
    return np.full((2, side, side, 3), value, dtype=np.uint8)


def test_l1_and_psnr_of_a_known_difference() -> None:
    x, y = constant(100), constant(151)
    assert paired.l1(x, y).tolist() == pytest.approx([0.2, 0.2])
    assert paired.l1(y, x).tolist() == pytest.approx([0.2, 0.2])  # no wrap-around of uint8
    assert paired.psnr(x, y).tolist() == pytest.approx([20 * np.log10(255 / 51)] * 2)
    assert paired.psnr(x, x).tolist() == [paired.PSNR_MOST] * 2


def test_map_accuracy_needs_every_channel_nearer_than_the_threshold() -> None:
    truth = constant(100)
    given = truth.copy()
    given[0, 0, :, 2] += 9  # a row just within, in one channel
    given[0, 1, :, 1] += 10  # a row just beyond
    given[1, :8] -= 50
    assert paired.map_accuracy(given, truth, 10).tolist() == [15 / 16, 0.5]


def test_ssim() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert paired.ssim(x, x).tolist() == pytest.approx([1, 1])
    assert (paired.ssim(x, 255 - x) < 0).all()
    grey = constant(100, 32), constant(120, 32)  # without structure only the luminance term is left
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert paired.ssim(*grey).tolist() == pytest.approx([expected] * 2)


def test_uint8_survives_the_way_to_the_network_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert (to_uint8(to_float(every)) == every).all()
    assert to_float(every).min() == -1
    assert to_float(every).max() == 1
    beyond = torch.tensor([-1.5, 1.5, 0.0]).view(1, 3, 1, 1)
    assert to_uint8(beyond).ravel().tolist() == [0, 255, 128]


def test_resize_leaves_images_of_the_right_size_alone() -> None:
    x = np.random.default_rng(1).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    assert resize(x, 24, 24) is x
    assert resize(x, 12, 12).shape == (1, 12, 12, 3)
    assert abs(int(resize(constant(77), 8, 8).mean()) - 77) == 0


def test_choice_is_sorted_and_depends_on_the_seed_alone() -> None:
    assert choose(10, 0, 0).tolist() == list(range(10))
    assert choose(10, 20, 0).tolist() == list(range(10))
    first = choose(100, 10, 3)
    assert sorted(set(first.tolist())) == first.tolist()
    assert len(first) == 10
    assert (first == choose(100, 10, 3)).all()
    assert (first != choose(100, 10, 4)).any()
