"""Training that continues from a model: which weights, which run, and what is said where they don't fit."""

from __future__ import annotations

import copy
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan.cli.preflight import with_initial
from cyclegan.errors import UsageError
from cyclegan.io.storage import open_store
from cyclegan.model import load_generator, load_model, save_model
from cyclegan.networks import build_generator
from cyclegan.training import build
from cyclegan.training.checkpoints.checkpoints import Checkpoints, read_checkpoint
from cyclegan.training.config import TrainConfig
from cyclegan.training.pretrained import read_initial
from cyclegan.training.state import State
from cyclegan.training.train import train
from cyclegan.training.updates.ema import EMA
from tests.inference.test_import_reference import Reference

Small = Callable[..., TrainConfig]
RESNET = {"name": "resnet", "norm": "instance", "blocks": 1, "width": 4, "upsample": "transposed"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with the generators of the configuration `small`."""
    torch.manual_seed(5)
    pair = {d: build_generator(**RESNET) for d in ("AtoB", "BtoA")}
    save_model(tmp_path / "start", pair, {"generator": RESNET})  # type: ignore[arg-type]
    return tmp_path / "start"


def files(model: Path) -> list[bytes]:
    return [(model / f"{d}.safetensors").read_bytes() for d in ("AtoB", "BtoA")]


def test_a_run_that_resumes_takes_its_own_weights_and_not_the_models_again(
    prepared: Path, tmp_path: Path, small: Small, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(epochs: int) -> TrainConfig:
        return small(epochs=epochs, decay_epochs=0, sample_every=0, epoch_size="smaller", init=str(model))

    train(prepared, tmp_path / "straight", config(2), checkpoints=str(tmp_path / "c1"))
    train(prepared, tmp_path / "m", config(1), checkpoints=str(tmp_path / "c2"))
    with monkeypatch.context() as patch:
        patch.setattr(build, "start_from", lambda *args: pytest.fail("the weights were loaded again"))
        train(prepared, tmp_path / "m", config(2), checkpoints=str(tmp_path / "c2"))
    assert files(tmp_path / "m") == files(tmp_path / "straight") != files(model)

    # other weights at the same address are another run
    described = json.loads((model / "config.json").read_text())
    trained = load_model(tmp_path / "m")
    pair = {"AtoB": trained.AtoB, "BtoA": trained.BtoA}
    save_model(model, pair, {"generator": described["generator"]})  # type: ignore[arg-type]
    train(prepared, tmp_path / "other", config(1), checkpoints=str(tmp_path / "c2"))
    assert len(list((tmp_path / "c2").iterdir())) == 3


def test_a_finished_run_resumes_with_more_epochs_where_its_rate_was_last_full(
    prepared: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def run(name: str, epochs: int) -> list[bytes]:
        caplog.clear()
        config = small(epochs=epochs, decay_epochs=3, sample_every=0, epoch_size="smaller")
        train(prepared, tmp_path / name, config, checkpoints=str(tmp_path / f"{name}-checkpoints"))
        return files(tmp_path / name)

    straight = run("straight", 2)
    run("longer", 1)
    assert run("longer", 2) == straight
    resumed = re.search(r"Resuming after update (\d+) of (\d+)", caplog.text)
    assert resumed and 5 * int(resumed[1]) == int(resumed[2])


def test_another_run_is_told_how_to_continue_from_a_model(
    prepared: Path, tmp_path: Path, small: Small, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for seed, init in ((0, ""), (1, ""), (2, str(model))):
        caplog.clear()
        config = small(epochs=1, decay_epochs=0, sample_every=0, epoch_size="smaller", seed=seed, init=init)
        train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c"))
        asked = "To train a finished model further, name it with --init." in caplog.text
        assert asked == (seed == 1)


def test_one_direction_continues_and_the_rest_is_new_which_it_says(
    small: Small, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (model / "AtoB.safetensors").unlink()
    config, initial = read_initial(small(init=str(model), ema=0.9))
    networks = build.build_networks(config)
    before = copy.deepcopy(networks.state_dict())
    state = State(networks, *[None] * 4, EMA(networks, 0.9))  # type: ignore[arg-type]
    build.load_weights(state, config, initial)
    assert f"Continuing from BtoA of {model}; AtoB and both discriminators start from scratch." in caplog.text
    given, _ = load_generator(model, "BtoA")
    changed = {name for name, value in networks.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and {name.split(".")[0] for name in changed} == {"BtoA"}
    for averaged in (networks, state.ema):
        assert averaged is not None
        for name, value in given.state_dict().items():
            assert torch.equal(averaged.state_dict()[f"BtoA.{name}"], value)


def test_files_of_the_reference_implementation_give_weights_and_architecture(tmp_path: Path) -> None:
    for name in "AB":
        torch.save(Reference(6, 4).state_dict(), tmp_path / f"{name}.pth")
    a, b = tmp_path / "A.pth", tmp_path / "B.pth"
    config, both = read_initial(TrainConfig(init=f"{a}, {b}"))
    assert config.generator_options() == {**RESNET, "blocks": 6}
    assert both and [*both.weights] == ["AtoB", "BtoA"]
    _, second = read_initial(TrainConfig(init=f",{b}"))
    assert second and [*second.weights] == ["BtoA"]
    _, first = read_initial(TrainConfig(init=str(a), generator="resnet", blocks=6, width=4))
    assert first and [*first.weights] == ["AtoB"]
    assert len({both.digest, first.digest, second.digest}) == 3
    shutil.copyfile(a, tmp_path / "C.pth")
    _, copied = read_initial(TrainConfig(init=str(tmp_path / "C.pth")))
    assert copied and copied.digest == first.digest


@pytest.mark.parametrize("read", [read_initial, with_initial])
def test_another_architecture_is_refused_and_the_defaults_give_way(
    read: Callable[[TrainConfig], object], small: Small, model: Path
) -> None:
    with pytest.raises(UsageError, match=r"generator that differs .*\(blocks = 1\).*leave out generator"):
        read(small(init=str(model), blocks=2))
    found = read(TrainConfig(init=str(model)))
    config = found[0] if isinstance(found, tuple) else found
    assert isinstance(config, TrainConfig) and config.generator_options() == RESNET
    assert read(small(init=str(model)))
    with pytest.raises(UsageError, match="There is no model in nowhere"):
        read(TrainConfig(init="nowhere"))
    with pytest.raises(UsageError, match=r"no (weights )?file.*none\.pth"):
        read(TrainConfig(init="none.pth,"))


@pytest.fixture
def even(prepared: Path, tmp_path: Path) -> Path:
    """The prepared images with one picture in place of all: the order of an epoch makes no difference."""
    folder = tmp_path / "even"
    shutil.copytree(prepared, folder)
    for path in folder.glob("*.npy"):
        images = np.load(path)
        np.save(path, np.broadcast_to(images[:1], images.shape))
    return folder


def steady(small: Small, **fields: object) -> TrainConfig:
    """Training without chance, at a constant rate."""
    given = {"decay_epochs": 0, "crop_size": 0, "flip": False, "pool_size": 0, "epoch_size": "smaller"}
    return small(**{**given, **fields})


def newest(checkpoints: Path) -> Path:
    return max(checkpoints.glob("*/*.safetensors"))


def test_from_a_checkpoint_discriminators_and_moments_continue_too(
    even: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def run(name: str, **fields: object) -> Path:
        train(even, tmp_path / name, steady(small, **fields), checkpoints=str(tmp_path / f"{name}-c"))
        return tmp_path / name

    straight = run("straight", epochs=3)
    half = run("half", epochs=1)
    checkpoint = newest(tmp_path / "half-c")
    continued = run("continued", epochs=2, seed=1, init=str(checkpoint))
    assert "both optimisers from" in caplog.text and "(update 5)" in caplog.text
    assert files(continued) == files(straight) != files(half)
    assert files(run("generators", epochs=2, init=str(half))) != files(straight)

    # the copy of a checkpoint is the same start, and a run from it resumes
    copied = tmp_path / "copy" / checkpoint.name
    copied.parent.mkdir()
    shutil.copyfile(checkpoint, copied)
    caplog.clear()
    assert files(run("continued", epochs=3, seed=1, init=str(copied))) != files(straight)
    assert "Resuming after update 10 of 15" in caplog.text and "both optimisers" not in caplog.text


def test_a_checkpoint_continues_under_other_parameters_with_new_averages(
    prepared: Path, tmp_path: Path, small: Small
) -> None:
    train(prepared, tmp_path / "m", small(ema=0.5), checkpoints=str(tmp_path / "c"))
    checkpoint = newest(tmp_path / "c")
    config = small(init=str(checkpoint), ema=0.9, crop_size=24, lambda_identity=1.0, lr=1e-5, epochs=1)
    train(prepared, tmp_path / "other", config, checkpoints=str(tmp_path / "c"))
    config, initial = read_initial(config)
    networks = build.build_networks(config)
    made = [
        torch.optim.Adam(group())
        for group in (networks.generator_parameters, networks.discriminator_parameters)
    ]
    state = State(networks, *made, None, None, EMA(networks, 0.9))  # type: ignore[arg-type]
    build.load_weights(state, config, initial)
    assert state.ema
    for direction in ("AtoB", "BtoA"):
        averages, weights = (getattr(one, direction).state_dict() for one in (state.ema, networks))
        assert all(torch.equal(averages[name], weights[name]) for name in weights)


def test_a_checkpoint_says_its_architecture(prepared: Path, tmp_path: Path, small: Small) -> None:
    train(prepared, tmp_path / "m", small(), checkpoints=str(tmp_path / "c"))
    checkpoint = newest(tmp_path / "c")
    judges = {"discriminator": "patchgan", "discriminator_width": 4, "discriminator_layers": 1}
    found, _ = read_initial(TrainConfig(init=str(checkpoint), **judges))  # type: ignore[arg-type]
    assert found.generator_options() == RESNET
    with pytest.raises(UsageError, match=r"update 21\) has a generator that differs .*\(blocks = 1\)"):
        read_initial(small(init=str(checkpoint), blocks=2))
    # these have the same weights: nothing but the record tells them apart
    with pytest.raises(UsageError, match=r"discriminators that differ .*\(norm instance, not none\)"):
        read_initial(small(init=str(checkpoint), discriminator_norm="none"))
    with pytest.raises(UsageError, match=r"\(name patchgan, not strided; "):
        read_initial(TrainConfig(init=str(checkpoint)))

    # one of an earlier version does not say, and is told by its weights
    _, tensors, progress = read_checkpoint(str(checkpoint))
    with Checkpoints(open_store(str(tmp_path)), "earlier") as kept:
        kept.save(tensors, replace(progress, networks=None))
    (earlier,) = (tmp_path / "earlier").glob("*.safetensors")
    with pytest.raises(
        UsageError, match=r"update 21\) is of other networks .*D_A.*discriminator that it was"
    ):
        train(prepared, tmp_path / "x", small(init=str(earlier), discriminator_width=8))


@pytest.mark.parametrize("read", [read_initial, with_initial])
def test_what_is_no_checkpoint_is_refused(
    read: Callable[[TrainConfig], object], tmp_path: Path, model: Path
) -> None:
    missing = tmp_path / "0000000005-0123456789abcdef.safetensors"
    with pytest.raises(UsageError, match=r"There is no (checkpoint|file) .*0123456789abcdef"):
        read(TrainConfig(init=str(missing)))
    if read is read_initial:
        with pytest.raises(UsageError, match=r"AtoB\.safetensors is not a checkpoint, .*folder of a model"):
            read(TrainConfig(init=str(model / "AtoB.safetensors")))
        shutil.copyfile(model / "AtoB.safetensors", missing)
        with pytest.raises(UsageError, match=r"0123456789abcdef.* is damaged: .*checksum"):
            read(TrainConfig(init=str(missing)))
        with pytest.raises(UsageError, match="is not a store"):
            read(TrainConfig(init=f"hf://me/{missing.name}"))
