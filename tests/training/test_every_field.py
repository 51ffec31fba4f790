"""Every parameter of training changes what it says it changes, as seen from a run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cyclegan.evaluation.monitor
import cyclegan.training.train as training
from cyclegan.model import save_model
from cyclegan.networks import (
    AuthorDiscriminator,
    PatchGAN,
    PerceptualDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    VggUnet,
)
from cyclegan.networks.discriminators.diffaugment import NUMBERS
from cyclegan.networks.norm import LayerNorm
from cyclegan.runtime.device import machine
from cyclegan.tracking.base import Tracker
from cyclegan.training import build
from cyclegan.training import setup as setups
from cyclegan.training.build import build_networks, load_weights
from cyclegan.training.checkpoints.checkpoints import Checkpoints
from cyclegan.training.config import TrainConfig
from cyclegan.training.setup import Setup
from cyclegan.training.state import State
from cyclegan.training.updates.update import VIEWS


@dataclass
class Seen(Tracker):
    """What a run was observed to do; also the tracker that it reports to."""

    setup: Setup = None  # type: ignore[assignment]
    state: State = None  # type: ignore[assignment]
    update: Any = None
    results: dict[str, float] = field(default_factory=dict)
    batches: list[tuple[Tensor, ...]] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    """Of each update: what all parameter groups of both optimisers held."""
    weights: list[Tensor] = field(default_factory=list)
    """Of both generators in one vector: at the beginning, then after each update."""
    numbers: list[tuple[int | None, dict[str, float]]] = field(default_factory=list)
    pictures: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    saved: list[int] = field(default_factory=list)
    scored: int = 0
    asked: dict[str, Any] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.numbers.append((step, dict(values)))

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        self.pictures[key, step] = array

    def logged(self, name: str) -> list[int | None]:
        """The steps at which a number was reported."""
        return [step for step, values in self.numbers if name in values]


Watch = Callable[..., Seen]


def generator_weights(state: State) -> Tensor:
    return torch.cat([p.detach().double().flatten() for p in state.networks.generator_parameters()])


@pytest.fixture(scope="module")
def unchanged() -> list[Seen]:
    """The run of the unchanged configuration, once it was made: nearly every test compares with it."""
    return []


@pytest.fixture
def watch(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    unchanged: list[Seen],
) -> Watch:
    """Train with some fields changed; returns what was seen. Without changes it trains once for all tests."""

    def run(**changes: Any) -> Seen:
        if not changes and unchanged:
            return unchanged[0]
        seen = Seen()
        fastest, device, save = training.fastest_update, training.resolve_device, Checkpoints.save

        def watched(setup: Setup, state: State) -> Callable[..., Tensor]:
            seen.setup, seen.state, seen.update = setup, state, fastest(setup, state)
            seen.weights.append(generator_weights(state))

            def one(*batch: Tensor) -> Tensor:
                seen.batches.append(tuple(part.clone() for part in batch))  # memory that is used again
                optimisers = (state.opt_G, state.opt_D)
                seen.rates.append([float(group["lr"]) for o in optimisers for group in o.param_groups])
                losses: Tensor = seen.update(*batch)
                seen.weights.append(generator_weights(state))
                return losses

            return one

        def on_machine(where: torch.device, **switches: Any) -> AbstractContextManager[None]:
            seen.asked |= switches
            # two would fight for a busy machine's cores
            return machine(where, **(switches | {"threads": 1}))

        def resolved(wanted: str) -> torch.device:
            seen.asked["device"] = wanted
            return device("cpu")

        def saving(self: Checkpoints, tensors: Any, progress: Any) -> None:
            seen.saved.append(progress.step)
            save(self, tensors, progress)

        class FakeMonitor:
            headline = "kid"

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                seen.asked |= kwargs

            def score(self, generators: Any) -> dict[str, float]:
                assert generators == dict(zip(("AtoB", "BtoA"), seen.state.exported(), strict=True))
                seen.scored += 1
                return {"kid": float(seen.scored)}  # worse every time

        with monkeypatch.context() as patch:
            patch.setattr(training, "fastest_update", watched)
            patch.setattr(training, "machine", on_machine)
            patch.setattr(training, "resolve_device", resolved)
            patch.setattr(training, "open_run", lambda *args, **kwargs: nullcontext(seen))
            patch.setattr(Checkpoints, "save", saving)
            patch.setattr(cyclegan.evaluation.monitor, "Monitor", FakeMonitor)
            model, kept = tmp_path / "model", tmp_path / f"c{len(list(tmp_path.iterdir()))}"
            seen.results = training.train(prepared, model, small(**changes), checkpoints=str(kept))
        if not changes:
            unchanged.append(seen)
        return seen

    return run


def generators(seen: Seen) -> list[Any]:
    return [seen.state.networks.AtoB, seen.state.networks.BtoA]


def judges(seen: Seen) -> list[Any]:
    return [seen.state.networks.D_A, seen.state.networks.D_B]


def has(network: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(layer, kind) for layer in network.modules())


ONE_EPOCH = {"epochs": 1, "decay_epochs": 0}
"""For what shows in any run."""


def of_update(name: str, value: Any, **more: Any) -> Callable[[Watch], None]:
    """The field has another value by default, and the update that is called has this one."""

    def check(watch: Watch) -> None:
        assert getattr(watch().update, name) != value
        assert getattr(watch(**ONE_EPOCH, **{name: value}, **more).update, name) == value

    return check


def of_all(network: Callable[[Seen], list[Any]], value: Callable[[Any], Any], expected: Any, **fields: Any):  # type: ignore[no-untyped-def]
    """By default no network of the pair has this property, with the fields changed both have."""

    def check(watch: Watch) -> None:
        assert not any(value(one) == expected for one in network(watch()))
        assert all(value(one) == expected for one in network(watch(**ONE_EPOCH, **fields)))

    return check


def architecture(watch: Watch) -> None:
    for name, kind in (("resnet", ResnetGenerator), ("unet", UnetGenerator), ("vgg_unet", VggUnet)):
        with torch.device("meta"):
            networks = build_networks(TrainConfig(generator=name))  # type: ignore[arg-type]
        assert type(networks.AtoB) is type(networks.BtoA) is kind
    assert all(isinstance(one, UnetGenerator) for one in generators(watch(generator="unet", depth=3)))


def vgg_weights(watch: Watch) -> None:
    asked: list[Any] = []
    with torch.device("meta"):
        networks = build_networks(TrainConfig(discriminator="perceptual"))
    state = State(networks, *[None] * 5)  # type: ignore[arg-type,list-item]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "load_encoder", lambda *args, **kwargs: asked.append((*args, kwargs)))
        patch.setattr(build, "load_features", lambda *args: asked.append(args))
        load_weights(state, TrainConfig(weights="vgg.pth", weights_partial=True))
        load_weights(state, TrainConfig())
    pair, judges = [networks.AtoB, networks.BtoA], [networks.D_A, networks.D_B]
    assert asked == [
        *((pair, "vgg.pth", {"partial": True}), (judges, "vgg.pth")),
        *((pair, "imagenet", {"partial": False}), (judges, "imagenet")),
    ]


def continued(watch: Watch) -> None:
    """Generators begin with a model's weights and discriminators with the seed's, whatever the address is."""
    plain = watch()
    folder, copied = plain.setup.data.folder.parent / "init", plain.setup.data.folder.parent / "copied"
    trained = {"AtoB": plain.state.networks.AtoB, "BtoA": plain.state.networks.BtoA}
    save_model(folder, trained, {"generator": plain.setup.config.generator_options()})  # type: ignore[arg-type]
    shutil.copytree(folder, copied, dirs_exist_ok=True)
    seen, again = watch(init=str(folder), seed=1, ema=0.9), watch(init=str(copied), seed=1, ema=0.9)
    assert torch.equal(seen.weights[0], plain.weights[-1])
    assert torch.equal(seen.weights[-1], again.weights[-1])
    assert seen.setup.fingerprint == again.setup.fingerprint != plain.setup.fingerprint


def rates(watch: Watch) -> None:
    """What the optimisers hold in each epoch against the formula of arXiv 1703.10593, and half a cosine."""
    for decay in ("linear", "cosine"):
        seen = watch(lr=1e-3, epochs=2, decay_epochs=3, decay=decay, epoch_size="smaller")
        assert len(seen.rates) == 5 * 5
        for epoch in range(5):
            into = max(0, epoch - 1) / 4
            factor = 1 - into if decay == "linear" else 0.5 + math.cos(math.pi * into) / 2
            for held in seen.rates[5 * epoch : 5 * epoch + 5]:
                assert held == pytest.approx([1e-3 * factor] * 2, rel=1e-6)


def moments(watch: Watch) -> None:
    state = watch(beta1=0.4, beta2=0.9).state
    assert [group["betas"] for o in (state.opt_G, state.opt_D) for group in o.param_groups] == [
        (0.4, 0.9)
    ] * 2
    held = {id(p) for group in state.opt_G.param_groups for p in group["params"]}
    assert held == {id(p) for p in state.networks.generator_parameters()}


def average(watch: Watch) -> None:
    """w̄ = Σ (1 − βₖ) βₖ₊₁ … βₙ wₖ, with βₖ = min(β, k / (k + 9)): the whole sum at once, in float64."""
    assert watch().state.ema is None
    seen = watch(ema=0.6, lr=1e-2)
    n = len(seen.weights) - 1
    beta = [0.0] + [min(0.6, k / (k + 9)) for k in range(1, n + 1)]
    expected = math.prod(beta[1:]) * seen.weights[0]
    for k in range(1, n + 1):
        expected = expected + (1 - beta[k]) * math.prod(beta[k + 1 :]) * seen.weights[k]
    assert seen.state.ema is not None
    found = torch.cat([p.double().flatten() for p in seen.state.ema.parameters()])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - seen.weights[-1]).abs().max() > 1e-3


def seed(watch: Watch) -> None:
    first, again, other = watch(), watch(seed=0), watch(seed=1)
    assert torch.equal(first.weights[0], again.weights[0])
    assert not torch.equal(first.weights[0], other.weights[0])
    assert torch.equal(first.batches[0][0], again.batches[0][0])
    assert not torch.equal(
        torch.stack([b[0] for b in first.batches]), torch.stack([b[0] for b in other.batches])
    )


def mirrored(watch: Watch) -> None:
    """Which windows of the images were shown as in a mirror; the images are too varied to be symmetric."""
    for flip in (True, False):
        seen = watch(flip=flip, crop_size=0)
        images = torch.from_numpy(np.load(seen.setup.data.folder / "trainA.npy")).permute(0, 3, 1, 2)
        given = [(batch[0][0] + 1).mul(127.5).round().byte() for batch in seen.batches]
        straight = [any(torch.equal(x, image) for image in images) for x in given]
        assert all(
            s or any(torch.equal(x.flip(2), image) for image in images)
            for s, x in zip(straight, given, strict=True)
        )
        assert all(straight) == (not flip)


def augmented(watch: Watch) -> None:
    """The update has the names in their order and gets numbers for them, the same for the same seed."""
    plain, seen, again, other = (
        watch(batch_size=2, **changes)
        for changes in ({}, *[{"diffaugment": "cutout, color", "seed": seed} for seed in (0, 0, 1)])
    )
    assert plain.update.augmentations == () and {len(batch) for batch in plain.batches} == {4}
    assert seen.update.augmentations == ("cutout", "color")
    chances = [torch.stack([torch.stack(batch[4:]) for batch in one.batches]) for one in (seen, again, other)]
    assert chances[0].shape == (len(seen.batches), 2, 2, VIEWS, NUMBERS)
    assert len(chances[0].unique()) > 0.99 * chances[0].numel()
    assert torch.equal(chances[0], chances[1]) and not torch.equal(chances[0], chances[2])
    assert torch.equal(seen.weights[-1], again.weights[-1])
    assert not torch.equal(seen.weights[1], plain.weights[1])


def compiling(watch: Watch) -> None:
    made: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setups, "should_compile", lambda wanted, device, updates: wanted == "on")
        patch.setattr(training, "compiled", lambda networks: made.append(networks) or networks)
        watch(**ONE_EPOCH, compile="off")
        assert not made
        watch(**ONE_EPOCH, compile="on")
        assert len(made) == 1


def speed(watch: Watch) -> None:
    for size in (1, 3):
        seen = watch(batch_size=size)
        assert {tuple(batch[i].shape[:1]) for batch in seen.batches for i in range(4)} == {(size,)}
        pace = seen.results["steps"] * size
        assert seen.results["images_per_second"] > 0
        assert len(seen.batches) * size == pace
    # images, not updates, are counted
    name = "train/speed/images_per_second"
    told = [values[name] for _, values in seen.numbers if name in values]
    assert all(value > 0 for value in told)


def pictured(seen: Seen) -> list[int]:
    """The epochs with sample grids; when training ends the newest ones are left at 0, too."""
    return [epoch for key, epoch in seen.pictures if key == "samples/AtoB"]


def cpu_threads(watch: Watch) -> None:
    assert watch().asked["threads"] == 1
    assert watch(**ONE_EPOCH, threads=2).asked["threads"] == 2
    with machine(torch.device("cpu"), threads=3, deterministic=False):
        assert torch.get_num_threads() == 3


def patience(watch: Watch) -> None:
    assert watch(epochs=5, evaluate_every=1).results["epochs"] == 6
    assert watch(epochs=5, evaluate_every=1, patience=2).results["epochs"] == 3


def of_monitor(name: str, value: str) -> Callable[[Watch], None]:
    """What train hands on to the evaluations during training, where its name lacks `evaluate_`."""

    def checked(watch: Watch) -> None:
        seen = watch(epochs=1, decay_epochs=0, evaluate_every=1, **{f"evaluate_{name}": value})
        assert (seen.asked[name], seen.asked["prefix"]) == (value, "evaluate_")

    return checked


def check(condition: Callable[[Watch], bool]) -> Callable[[Watch], None]:
    def checked(watch: Watch) -> None:
        assert condition(watch)

    return checked


EPOCH = 7  # updates of batch 1


def picture_of(seen: Seen) -> np.ndarray:
    """The first grid of translations A → B."""
    return seen.pictures["samples/AtoB", 0]


EFFECTS: dict[str, Callable[[Watch], None]] = {
    "generator": architecture,
    "blocks": of_all(generators, lambda g: len(g.blocks), 2, blocks=2),
    "depth": check(
        lambda watch: [g.multiple for g in generators(watch(generator="unet", depth=4, width=2))] == [16, 16]
    ),
    "width": of_all(generators, lambda g: g.down[1].out_channels, 6, width=6),
    "upsample": of_all(generators, lambda g: has(g, nn.Upsample), True, upsample="resize"),
    "norm": of_all(lambda s: generators(s) + judges(s), lambda n: has(n, LayerNorm), True, norm="layer"),
    "weights": vgg_weights,
    "weights_partial": vgg_weights,
    "init": continued,
    "discriminator": of_all(judges, type, AuthorDiscriminator, discriminator="strided"),
    "discriminator_layers": of_all(
        judges, lambda d: sum(type(m).__name__.startswith("Conv2d") for m in d.modules()), 4,
        discriminator_layers=2,
    ),
    "discriminator_width": of_all(judges, lambda d: d.body[0].out_channels, 6, discriminator_width=6),
    "discriminator_norm": of_all(
        lambda seen: [generators(seen) + judges(seen)],
        lambda networks: [has(network, LayerNorm) for network in networks],
        [False, False, True, True],
        discriminator_norm="layer",
    ),
    "objective": of_update("objective", "vanilla"),
    "lambda_cycle": of_update("lambda_cycle", 7.0),
    "lambda_identity": of_update("lambda_identity", 0.5),
    "order": of_update("order", "discriminators_first"),
    "discriminator_updates": of_update("discriminator_updates", "separate"),
    "pool_size": of_all(
        lambda seen: [seen.state.pool_a, seen.state.pool_b], lambda pool: pool.images.shape[1], 3, pool_size=3
    ),
    "crop_size": check(
        lambda watch: (
            {b[i].shape[2:] for b in watch(**ONE_EPOCH, crop_size=24).batches for i in (0, 1)} == {(24, 24)}
        )
    ),
    "crop_width": check(
        lambda watch: (
            {b[i].shape[2:] for b in watch(**ONE_EPOCH, crop_size=24, crop_width=32).batches for i in (0, 1)}
            == {(24, 32)}
        )
    ),
    "image_size": check(
        lambda watch: (
            (seen := watch(image_size=36)).setup.test_size == (36, 36)
            and not np.array_equal(picture_of(seen), picture_of(watch()))
        )
    ),
    "flip": mirrored,
    "diffaugment": augmented,
    "epoch_size": check(lambda watch: watch(epoch_size="smaller").results["steps"] == 3 * 5),
    "batch_size": speed,
    "accumulation_steps": of_update("accumulation_steps", 2, batch_size=2),
    "epochs": rates,
    "decay_epochs": rates,
    "decay": rates,
    "lr": rates,
    "beta1": moments,
    "beta2": moments,
    "ema": average,
    "seed": seed,
    "device": check(lambda watch: watch(**ONE_EPOCH, device="cpu:0").asked["device"] == "cpu:0"),
    "precision": check(
        lambda watch: (watch().update.precision, watch(**ONE_EPOCH, precision="bf16").update.precision)
        == (torch.float32, torch.bfloat16)
    ),
    "compile": compiling,
    "deterministic": check(
        lambda watch: (
            not watch().asked["deterministic"]
            and watch(**ONE_EPOCH, deterministic=True).asked["deterministic"]
        )
    ),
    "threads": cpu_threads,
    "gradient_checkpointing": of_all(
        generators, lambda g: g.gradient_checkpointing, True, gradient_checkpointing=True
    ),
    "log_every": check(
        lambda watch: watch(log_every=5, epochs=1).logged("train/cycle_A") == [5, 7, 10, 14]
        and watch(log_every=1, epochs=1, decay_epochs=0).logged("train/speed/lr") == list(range(1, 8))
    ),
    "sample_every": check(
        lambda watch: pictured(watch(sample_every=2)) == [0, 2, 3]
        and pictured(watch(sample_every=0)) == [3, 0]
    ),
    "samples": check(  # a row of squares 400 pixels high for each
        lambda watch: 700 < len(picture_of(watch(samples=4))) - len(picture_of(watch(samples=2))) < 900
    ),
    "checkpoint_minutes": check(
        lambda watch: watch(checkpoint_minutes=1e-9, epochs=2, decay_epochs=0).saved == list(range(1, 15))
    ),
    "checkpoint_every": check(
        lambda watch: watch().saved == [7, 14, 21] and watch(checkpoint_every=2).saved == [14, 21]
    ),
    "evaluate_every": check(
        lambda watch: watch().scored == 0
        and watch(evaluate_every=2, epochs=4).logged("train/kid") == [14, 28, 35]
    ),
    "evaluate_features": of_monitor("features", "inception192"),
    "evaluate_weights": of_monitor("weights", "inception.pth"),
    "evaluate_weights_sha256": of_monitor("weights_sha256", "0" * 64),
    "patience": patience,
}  # fmt: skip


def test_no_field_is_without_a_test_of_what_it_does() -> None:
    assert {one.name for one in fields(TrainConfig)} == EFFECTS.keys()


@pytest.mark.parametrize(
    "name",
    [name for name in EFFECTS if list(EFFECTS.values()).index(EFFECTS[name]) == list(EFFECTS).index(name)],
)
def test_a_field_changes_what_it_says(name: str, watch: Watch) -> None:
    EFFECTS[name](watch)


def test_the_defaults_build_the_projects_own_model() -> None:
    with torch.device("meta"):
        networks = build_networks(TrainConfig())
        paper = build_networks(TrainConfig(discriminator="patchgan"))
        perceptual = build_networks(TrainConfig(discriminator="perceptual", discriminator_layers=2))
    assert type(networks.AtoB) is VggUnet and type(networks.D_A) is AuthorDiscriminator
    assert type(paper.D_B) is PatchGAN
    assert type(perceptual.D_A) is PerceptualDiscriminator and len(perceptual.D_A.pixels.body) == 9
