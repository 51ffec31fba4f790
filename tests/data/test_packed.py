"""Sampling: every image its turn, the same chances for the same seed, and batches as the plan says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan.data.packed import PackedImages, Sampling, shuffled
from cyclegan.errors import UsageError


def sampling(**fields: object) -> Sampling:
    values: dict[str, object] = {"count_a": 7, "count_b": 5, "image_height": 10, "image_width": 12}
    values |= {"batch_size": 2, "crop_size": 6, "flip": True, "epoch_size": "larger", "seed": 3}
    return Sampling(**{**values, "lane_slots": 4, **fields})  # type: ignore[arg-type]


@given(
    count=st.integers(1, 9),
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_every_image_comes_once_a_pass_however_the_stream_is_cut(
    count: int, batches: list[int], seed: int
) -> None:
    start, parts = 0, []
    for length in batches:
        parts.append(shuffled(count, start, length, seed, domain=0))
        start += length
    stream = torch.cat(parts)
    assert torch.equal(stream, shuffled(count, 0, start, seed, domain=0))
    for i in range(0, start - count + 1, count):
        assert sorted(stream[i : i + count].tolist()) == list(range(count))


def test_epochs_differ_domains_differ_and_seeds_repeat() -> None:
    plan = sampling().plan(0)
    again = sampling().plan(0)
    assert all(torch.equal(getattr(plan, n), getattr(again, n)) for n in ("a", "b", "slots_a", "slots_b"))
    assert not torch.equal(plan.a, sampling().plan(1).a)
    assert not torch.equal(plan.a, sampling(seed=4).plan(0).a)
    same = sampling(count_b=7).plan(0)
    assert not torch.equal(same.a[..., 0], same.b[..., 0])


def test_every_choice_depends_on_seed_epoch_and_domain_and_on_nothing_else() -> None:
    """No two of these tables, in which chance decides every column, are alike anywhere but by chance."""
    cases = {(seed, epoch): {"seed": seed} for seed in (3, 4) for epoch in (3, 4)}
    tables: list[torch.Tensor] = []
    for (_, epoch), fields in cases.items():
        plan = sampling(count_a=200, count_b=200, lane_slots=50, **fields).plan(epoch)
        for images, slots in ((plan.a, plan.slots_a), (plan.b, plan.slots_b)):
            tables.append(torch.cat([images, slots], dim=2).flatten(0, 1))
    for i, one in enumerate(tables):
        for other in tables[i + 1 :]:
            same = (one == other).double().mean(0)  # image, top, left, mirrored, slot, keep, show old
            assert (same < torch.tensor([0.1, 0.4, 0.4, 0.7, 0.1, 0.7, 0.7])).all()
    torch.manual_seed(0)
    first = sampling().plan(1)
    torch.manual_seed(1)
    assert torch.equal(first.slots_a, sampling().plan(1).slots_a)


def test_a_plan_is_what_it_has_always_been() -> None:
    """A run that is resumed draws what its first half would have drawn, whatever version resumes it."""
    plan = sampling(batch_size=3, count_a=5, count_b=4, lane_slots=2).plan(2)
    assert plan.a.tolist() == [[[3, 2, 1, 0], [1, 0, 0, 0], [4, 3, 4, 1]]]
    assert plan.b.tolist() == [[[3, 4, 0, 1], [0, 1, 6, 0], [3, 2, 3, 0]]]
    assert plan.slots_a.tolist() == [[[1, 1, 1], [1, 0, 0], [1, 0, 0]]]
    assert plan.slots_b.tolist() == [[[0, 0, 0], [1, 1, 1], [1, 0, 0]]]


def test_epoch_sizes() -> None:
    assert sampling().plan(0).a.shape == (3, 2, 4)
    assert sampling(epoch_size="smaller").plan(0).a.shape == (2, 2, 4)
    assert sampling(batch_size=50).steps == 1


def test_parts_of_processes_make_up_the_plan() -> None:
    plan = sampling(batch_size=6).plan(0)
    parts = [plan.part(rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([part.a for part in parts], dim=1), plan.a)
    assert torch.equal(torch.cat([part.slots_b for part in parts], dim=1), plan.slots_b)


def test_crops_reach_every_corner_and_mirror_half_the_time() -> None:
    rows = sampling(count_a=4000).plan(0).a.flatten(0, 1)
    assert set(rows[:, 1].tolist()) == set(range(5))
    assert set(rows[:, 2].tolist()) == set(range(7))
    assert 0.45 < rows[:, 3].double().mean() < 0.55
    wide = sampling(count_a=4000, crop_width=9).plan(0).a.flatten(0, 1)
    assert set(wide[:, 1].tolist()) == set(range(5))
    assert set(wide[:, 2].tolist()) == set(range(4))
    whole = sampling(crop_size=0, flip=False).plan(0).a
    assert not whole[..., 1:].any()


def test_the_buffer_fills_first_and_then_swaps_half_the_time() -> None:
    rows = torch.cat([sampling(count_a=1000, batch_size=1).plan(epoch).slots_a for epoch in range(2)])[:, 0]
    slot, keep, show_old = rows.unbind(1)
    assert slot[:4].tolist() == [0, 1, 2, 3]
    assert keep[:4].tolist() == [1] * 4
    assert show_old[:4].tolist() == [0] * 4
    assert torch.equal(keep[4:], show_old[4:])
    assert 0.45 < keep[4:].double().mean() < 0.55
    assert set(slot.tolist()) == {0, 1, 2, 3}
    unused = sampling(lane_slots=0).plan(0).slots_a
    assert (unused.shape, unused.dtype, int(unused.sum())) == ((3, 2, 3), torch.int64, 0)


@pytest.mark.parametrize("width", [6, 9])
def test_a_batch_is_cut_and_mirrored_as_numpy_would(tmp_path: Path, width: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 10, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "trainA.npy", images)
    packed = PackedImages(
        np.load(tmp_path / "trainA.npy"), torch.device("cpu"), crop_size=6, crop_width=width
    )
    rows = sampling(crop_width=width).plan(0).a[0]
    batch = packed.batch(rows)
    assert batch.dtype == torch.float32
    for got, (image, top, left, mirrored) in zip(batch, rows.tolist(), strict=True):
        cut = images[image, top : top + 6, left : left + width].astype(np.float32) / 127.5 - 1
        cut = cut[:, ::-1] if mirrored else cut
        np.testing.assert_allclose(got.permute(1, 2, 0).numpy(), cut, atol=1e-6)


def test_cutting_on_a_gpu_and_on_the_host_are_the_same(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    np.save(tmp_path / "trainA.npy", chance.integers(0, 256, (7, 10, 12, 3), dtype=np.uint8))
    for crop in ({"crop_size": 6}, {"crop_size": 0}, {"crop_size": 5, "crop_width": 10}):
        packed = PackedImages(np.load(tmp_path / "trainA.npy"), torch.device("cpu"), **crop)
        rows = sampling(**crop).plan(0).a.flatten(0, 1)
        assert rows[:, 3].any()
        assert torch.equal(packed._gather(rows), packed._copy(rows))
        assert packed._copy(rows).dtype == torch.uint8  # a quarter of the bytes to send to a GPU


def test_whole_images_in_the_order_of_memory_that_networks_want() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 10, 12, 3), dtype=np.uint8)
    for order in (torch.contiguous_format, torch.channels_last):
        packed = PackedImages(images, torch.device("cpu"), memory_format=order)
        assert len(packed) == 7
        batch = packed.batch(torch.tensor([[2, 0, 0, 0], [5, 0, 0, 1]]))
        assert batch.is_contiguous(memory_format=order)
        expected = np.stack([images[2], images[5, :, ::-1]]).transpose(0, 3, 1, 2) / 127.5 - 1
        np.testing.assert_allclose(batch.numpy(), expected, atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="crop_size = 11 is larger than the prepared images of 10×12"):
        sampling(crop_size=11)
    with pytest.raises(UsageError, match="4×13 is larger than the prepared images of 10×12"):
        sampling(crop_size=4, crop_width=13)
    assert sampling(crop_size=10).plan(0).a[..., 1].eq(0).all()


def test_batches_on_a_cpu_use_the_same_memory_again() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    packed = PackedImages(array, torch.device("cpu"), crop_size=6)
    first = packed.batch(torch.tensor([[0, 0, 0, 0], [1, 1, 2, 1]]))
    place, kept = first.data_ptr(), first.clone()
    other = packed.batch(torch.tensor([[2, 0, 0, 0], [1, 0, 0, 0]]))
    assert other.data_ptr() == place and not torch.equal(other, kept)
    assert len(packed.batch(torch.tensor([[0, 0, 0, 0]]))) == 1
    assert torch.equal(packed.batch(torch.tensor([[0, 0, 0, 0], [1, 1, 2, 1]])), kept)


def test_pixels_of_16_bits_fill_the_range() -> None:
    array = np.array([0, 32768, 65535], np.uint16).reshape(1, 1, 3, 1)
    (batch,) = PackedImages(array, torch.device("cpu")).batch(torch.zeros(1, 4, dtype=torch.int64))
    assert batch.flatten().tolist() == pytest.approx([-1, 1 / 65535, 1], abs=1e-6)


def test_the_chances_of_both_domains_and_of_two_epochs_differ() -> None:
    plan, later = sampling(chances=(3,)).plan(0), sampling(chances=(3,)).plan(1)
    assert plan.chance_a.shape == (plan.steps, 2, 3)
    assert not torch.equal(plan.chance_a, plan.chance_b)
    assert not torch.equal(plan.chance_a, later.chance_a)
