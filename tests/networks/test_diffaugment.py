"""Differentiable augmentation: the paper's ranges and effects, on images with known values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cyclegan.networks.discriminators.diffaugment import NUMBERS, STEPS, augment, color, cutout, translation
from cyclegan.training.config import DIFFAUGMENT


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ALMOST_ONE = 1 - 2.0**-24


def test_the_names_are_the_papers_and_each_has_its_own_numbers() -> None:
    assert tuple(STEPS) == DIFFAUGMENT
    used = [i for _, part in STEPS.values() for i in range(NUMBERS)[part]]
    assert used == list(range(NUMBERS))


def test_color_at_the_ends_and_the_middle_of_its_ranges() -> None:
    x = noise(1, 3, 8, 6) * 2 - 1
    middle = torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(color(x, middle), x)
    darker, lighter = (color(x, torch.tensor([[u, 0.5, 0.5]]).double()) for u in (0.0, 1.0))
    torch.testing.assert_close(darker, x - 0.5)
    torch.testing.assert_close(lighter, x + 0.5)
    grey = color(x, torch.tensor([[0.5, 0.0, 0.5]]).double())
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    flat, steep = (color(x, torch.tensor([[0.5, 0.5, u]]).double()) for u in (0.0, 1.0))
    torch.testing.assert_close(flat - x.mean(), (x - x.mean()) / 2)
    torch.testing.assert_close(steep - x.mean(), (x - x.mean()) * 1.5)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 40), (20, 7)])
def test_translation_reaches_an_eighth_and_fills_with_zeros(height: int, width: int) -> None:
    x = noise(1, 3, height, width) + 1
    reach_y, reach_x = int(height / 8 + 0.5), int(width / 8 + 0.5)
    found = set()
    for i in range(2 * reach_y + 1):
        for j in range(2 * reach_x + 1):
            u = torch.tensor([[(i + 0.5) / (2 * reach_y + 1), (j + 0.5) / (2 * reach_x + 1)]])
            y = translation(x, u)
            down, right = i - reach_y, j - reach_x
            for row in range(height):
                for column in range(width):
                    inside = 0 <= row + down < height and 0 <= column + right < width
                    expected = x[0, :, row + down, column + right] if inside else torch.zeros(3).double()
                    assert torch.equal(y[0, :, row, column], expected)
            found.add((down, right))
    assert (reach_y, -reach_x) in found
    last = translation(x, torch.full((1, 2), ALMOST_ONE))
    assert torch.equal(last[..., : height - reach_y, : width - reach_x], x[..., reach_y:, reach_x:])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (9, 7)])
def test_cutout_removes_half_of_each_side_around_any_pixel(height: int, width: int) -> None:
    x = torch.ones(1, 3, height, width, dtype=torch.float64)
    tall, wide = int(height / 2 + 0.5), int(width / 2 + 0.5)
    rows, columns = height + 1 - tall % 2, width + 1 - wide % 2
    for i in range(rows):
        for j in range(columns):
            y = cutout(x, torch.tensor([[(i + 0.5) / rows, (j + 0.5) / columns]]))
            expected = x.clone()
            top, left = i - tall // 2, j - wide // 2
            expected[:, :, max(top, 0) : top + tall, max(left, 0) : left + wide] = 0
            assert torch.equal(y, expected)
            assert y.sum() < x.sum()  # a part is always hidden
    assert cutout(x, torch.full((1, 2), ALMOST_ONE)).sum() < x.sum()


def test_images_of_a_batch_have_their_own_numbers_and_are_changed_alone() -> None:
    x, u = noise(3, 3, 16, 16), noise(3, NUMBERS, seed=1)
    together = augment(x, u, DIFFAUGMENT)
    alone = torch.cat([augment(x[i : i + 1], u[i : i + 1], DIFFAUGMENT) for i in range(3)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, augment(x, u.flip(0), DIFFAUGMENT))
    assert torch.equal(augment(x, u, ()), x)


def test_the_order_of_the_names_is_the_order_of_the_changes() -> None:
    x, u = noise(1, 3, 16, 16), noise(1, NUMBERS, seed=2)
    color_last = augment(x, u, ("cutout", "color"))
    assert torch.equal(color_last, color(cutout(x, u[:, 5:7]), u[:, 0:3]))
    assert not torch.equal(color_last, augment(x, u, ("color", "cutout")))


def test_gradients_pass_through_every_change() -> None:
    x, u = noise(2, 3, 6, 5).requires_grad_(), noise(2, NUMBERS, seed=3)
    for name in DIFFAUGMENT:
        assert torch.autograd.gradcheck(lambda y, name=name: augment(y, u, (name,)), (x,))
    (gradient,) = torch.autograd.grad(augment(x, u, ("translation", "cutout")).sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
