"""What a run holds, what a checkpoint may give it, and when a score is the best: without any training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cyclegan.runtime.distributed import Processes
from cyclegan.training.build import build_networks
from cyclegan.training.checkpoints.record import Progress
from cyclegan.training.config import TrainConfig
from cyclegan.training.state import State
from cyclegan.training.updates.ema import EMA
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.update import TERMS

Small = Callable[..., TrainConfig]
Make = Callable[..., State]
LR = 2e-4


@pytest.fixture
def make(small: Small) -> Make:
    """make(seed, steps=…, ema=…, slots=…): a state whose optimisers have made `steps` steps."""

    def state(
        seed: int = 0, *, steps: int = 1, ema: bool = False, slots: int = 2, lanes: int = 1, width: int = 4
    ) -> State:
        torch.manual_seed(seed)
        networks = build_networks(small(width=width))
        pools = [ImagePool(lanes, slots, 8, 8, torch.device("cpu")) for _ in range(2)]
        for pool in pools:
            pool.images.normal_()
        made = State(
            networks,
            torch.optim.Adam(networks.generator_parameters(), LR),
            torch.optim.Adam(networks.discriminator_parameters(), LR),
            *pools,
            EMA(networks, 0.9) if ema else None,
        )
        for _ in range(steps):
            for optimiser in (made.opt_G, made.opt_D):
                for weight in (w for group in optimiser.param_groups for w in group["params"]):
                    weight.grad = torch.randn_like(weight)
                optimiser.step()
            made.advance()
        return made

    return state


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_goes_into_tensors_and_back(make: Make) -> None:
    state, other = make(ema=True, steps=2), make(1, ema=True)
    state.pending = [torch.rand(len(TERMS)) for _ in range(3)]
    state.note_score(0.5, 1, "kid")
    tensors = state.tensors()
    kinds = {name.split(".")[0] for name in tensors}
    assert kinds == {"networks", "ema", "opt_G", "opt_D", "pool_a", "pool_b", "best", "losses"}
    assert not equal(tensors, other.tensors())
    other.load(tensors, state.progress, Processes())
    assert equal(tensors, other.tensors())
    assert other.step == 2 and other.progress is state.progress
    assert torch.equal(torch.stack(other.pending), torch.stack(state.pending))
    other.load({name: t for name, t in tensors.items() if name != "losses"}, state.progress, Processes())
    assert other.pending == [] and "losses" not in other.tensors()


def test_each_process_takes_its_lanes_of_the_pools(make: Make) -> None:
    tensors = make(lanes=4).tensors()
    part = make(1, lanes=2)
    part.load(tensors, Progress(step=1), Processes(rank=1, world_size=2))
    assert torch.equal(part.pool_a.images, tensors["pool_a"][2:])
    assert torch.equal(part.pool_b.images, tensors["pool_b"][2:])


def test_moments_take_the_layout_of_their_weights(make: Make) -> None:
    tensors = make().tensors()
    state = make(1)
    state.networks.to(memory_format=torch.channels_last)
    state.load(tensors, Progress(step=1), Processes())
    laid = [(w, m) for w, held in state.opt_G.state.items() for m in (held["exp_avg"], held["exp_avg_sq"])]
    assert laid and all(m.stride() == w.stride() for w, m in laid)
    assert any(not w.is_contiguous() for w, _ in laid)


def without(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"pool_a": torch.zeros(1, dtype=torch.int64)}, "it holds whole numbers"),
        (lambda t: without(t, "networks.AtoB"), "RuntimeError: .*AtoB"),
        (lambda t: without(t, "pool_b"), "KeyError: 'pool_b'"),
        (lambda t: t | {"pool_b": t["pool_b"][:, :1]}, r"its pool_b has the shape \(1, 1, 3, 8, 8\)"),
        (lambda t: t | {"losses": torch.zeros(2, len(TERMS) + 1)}, "its losses have the shape"),
        (lambda t: t | {"best.0.x": torch.zeros(1)}, "its best weights are of other networks"),
        (lambda t: without(t, "opt_G"), "it lacks moments of opt_G"),
        (lambda t: without(t, "opt_D.0."), "it lacks moments of opt_D"),
        (lambda t: t | {"opt_G.0.exp_avg": torch.zeros(3)}, "it lacks moments of opt_G"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    make: Make, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], said: str
) -> None:
    state = make(1)
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        state.load(change(make().tensors()), Progress(step=1), Processes())
    assert "\n" not in str(refused.value)
    assert state.step == 1


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress(1, losses={"other": 1.0}), "its losses have other names"),
        (Progress(1, curves=[[0.0] * (len(TERMS) + 1)]), "its curves are of other losses"),
        (Progress(1, curves=[[0.0] * (len(TERMS) + 2), [0.0]]), "its curves are of other losses"),
        (Progress(-1), "it counts backwards"),
        (Progress(1, worse=-1), "it counts backwards"),
        (Progress(1, images_per_second=-0.5), "it counts backwards"),
    ],
)
def test_records_that_do_not_fit_are_refused(make: Make, progress: Progress, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().load(make().tensors(), progress, Processes())


def test_a_record_of_zeros_and_of_the_right_losses_is_taken(make: Make) -> None:
    state = make(1, steps=0)
    record = Progress(0, losses=dict.fromkeys(TERMS, 0.0), curves=[[0.0] * (len(TERMS) + 2)])
    state.load(make(steps=0).tensors(), record, Processes())  # before the first step there are no moments
    assert state.step == 0


def test_the_lowest_score_is_the_best_and_those_after_it_are_counted(make: Make) -> None:
    state = make()
    first = state.exported()[0].state_dict()
    noted = [(0.5, 0), (0.5, 1), (0.4, 0), (0.6, 1), (0.5, 2)]
    for epoch, (score, worse) in enumerate(noted, 1):
        state.note_score(score, epoch, "kid")
        assert state.progress.worse == worse
        if epoch == 3:
            with torch.no_grad():
                for weight in state.networks.generator_parameters():
                    weight.add_(1.0)
    assert state.progress.best and (state.progress.best.score, state.progress.best.epoch) == (0.4, 3)
    kept, now = state.best_exported()[0].state_dict(), state.exported()[0].state_dict()
    assert any(not torch.equal(kept[name], now[name]) for name in kept)
    assert kept.keys() == first.keys()


def test_a_score_of_another_metric_begins_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    state = make()
    state.note_score(0.1, 1, "")
    state.score_by("kid")  # of a version that noted no metric: taken for the same
    state.note_score(0.2, 2, "kid")
    assert state.progress.best and state.progress.best.score == 0.1 and not caplog.text
    state.progress.best.metric = "kernel_random"
    state.score_by("kid")
    assert state.progress.best is None and state.progress.worse == 0
    state.note_score(0.3, 3, "kid")
    assert "best kernel_random so far does not compare with kid" in caplog.text
    assert (state.progress.best.score, state.progress.best.epoch) == (0.3, 3)


def test_without_scores_the_present_generators_are_exported(make: Make) -> None:
    state = make(steps=3)
    assert state.best_exported() == state.exported() == (state.networks.AtoB, state.networks.BtoA)
    averaged = make(ema=True)
    assert averaged.ema and averaged.exported() == (averaged.ema.AtoB, averaged.ema.BtoA)


def test_the_rate_is_set_in_both_optimisers_and_in_place_where_it_is_a_tensor(make: Make) -> None:
    state = make()
    held = torch.tensor(LR)
    state.opt_D.param_groups[0]["lr"] = held
    state.set_lr(1e-3)
    assert state.opt_G.param_groups[0]["lr"] == 1e-3
    assert state.opt_D.param_groups[0]["lr"] is held and float(held) == pytest.approx(1e-3)
