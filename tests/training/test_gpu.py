"""What only a GPU can show. Skipped, with the reason, where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclegan.data.packed import PackedImages
from cyclegan.data.prepared import Prepared
from cyclegan.runtime.device import machine
from cyclegan.runtime.distributed import Processes
from cyclegan.training.build import build_update, initial_state
from cyclegan.training.config import TrainConfig
from cyclegan.training.launch import train_everywhere
from cyclegan.training.setup import Setup, sampling_of
from cyclegan.training.state import State
from cyclegan.training.train import train, training_images
from cyclegan.training.updates.compile import WARM_UP, CudaGraphUpdate, compiled
from cyclegan.training.updates.schedule import Schedule

DEVICE = torch.device("cuda", 0)
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "resnet": {},
    "resnet resize": {"upsample": "resize", "norm": "layer"},
    "vgg_unet": {"generator": "vgg_unet", "weights": "none", "discriminator": "strided"},
    "unet": {"generator": "unet", "depth": 4},
}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    with machine(DEVICE, threads=2, deterministic=True):
        yield


def setup_of(prepared: Path, config: TrainConfig, device: torch.device, precision: torch.dtype) -> Setup:
    data, me = Prepared.open(prepared), Processes()
    schedule = Schedule(config.epochs, config.decay_epochs)
    sampling = sampling_of(config, data, me)
    return Setup(config, data, device, precision, 2, me, sampling, schedule)


def perform(setup: Setup, state: State, update: Callable[..., torch.Tensor], epochs: int = 2) -> torch.Tensor:
    """Train for some epochs; returns the losses of every update on the host."""
    images_a, images_b = training_images(setup, "A"), training_images(setup, "B")
    losses = []
    for epoch in range(epochs):
        plan = setup.sampling.plan(epoch)
        state.set_lr(setup.config.lr / (epoch + 1))
        rows_a, rows_b = plan.a.to(images_a.images.device), plan.b.to(images_b.images.device)
        pool_a, pool_b = plan.slots_a.to(setup.device), plan.slots_b.to(setup.device)
        for i in range(setup.steps):
            batches = images_a.batch(rows_a[i]), images_b.batch(rows_b[i])
            losses.append(update(*batches, pool_a[i], pool_b[i]))
    return torch.stack(losses).cpu()


def losses_of(
    prepared: Path, config: TrainConfig, device: torch.device, precision: torch.dtype = torch.float32
) -> torch.Tensor:
    """Losses of plain updates."""
    setup = setup_of(prepared, config, device, precision)
    state = initial_state(setup)
    return perform(setup, state, build_update(config, state, state.networks, precision))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_gpu_computes_what_the_cpu_does(
    architecture: str, prepared: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(**ARCHITECTURES[architecture], compile="off")
    # Later updates amplify what the first ones round differently.
    expected = losses_of(prepared, config, torch.device("cpu"))[:4]
    torch.testing.assert_close(losses_of(prepared, config, DEVICE)[:4], expected, rtol=1e-3, atol=1e-4)
    coarse = losses_of(prepared, config, DEVICE, torch.bfloat16)[:1]
    torch.testing.assert_close(coarse, expected[:1], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recorded_updates_equal_plain_ones(
    architecture: str, prepared: Path, small: Callable[..., TrainConfig]
) -> None:
    setup = setup_of(prepared, small(**ARCHITECTURES[architecture]), DEVICE, torch.bfloat16)
    assert setup.captured
    plain, recorded = initial_state(setup), initial_state(setup)
    update = CudaGraphUpdate(build_update(setup.config, recorded, recorded.networks, torch.bfloat16))
    expected = perform(setup, plain, build_update(setup.config, plain, plain.networks, torch.bfloat16))
    torch.testing.assert_close(perform(setup, recorded, update), expected, rtol=1e-2, atol=1e-3)
    assert update.graph is not None
    torch.testing.assert_close(recorded.pool_a.images, plain.pool_a.images, rtol=0.05, atol=0.05)
    assert len(expected) > WARM_UP + 5


def test_compiled_updates_are_close_to_plain_ones(prepared: Path, small: Callable[..., TrainConfig]) -> None:
    setup = setup_of(prepared, small(compile="on"), DEVICE, torch.float32)
    plain, faster = initial_state(setup), initial_state(setup)
    update = CudaGraphUpdate(build_update(setup.config, faster, compiled(faster.networks), torch.float32))
    expected = perform(setup, plain, build_update(setup.config, plain, plain.networks, torch.float32))
    torch.testing.assert_close(perform(setup, faster, update)[:6], expected[:6], rtol=1e-2, atol=1e-3)


def test_no_update_waits_for_the_gpu(prepared: Path, small: Callable[..., TrainConfig]) -> None:
    config = small()
    setup = setup_of(prepared, config, DEVICE, torch.bfloat16)
    state = initial_state(setup)
    update = build_update(config, state, state.networks, torch.bfloat16)
    perform(setup, state, update, epochs=1)
    images, plan = training_images(setup, "A"), setup.sampling.plan(1)
    rows, buffer = plan.a.to(DEVICE), plan.slots_a.to(DEVICE)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for i in range(setup.steps):
            batch = images.batch(rows[i])
            update(batch, batch, buffer[i], buffer[i])
            state.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("compiling", ["off", "auto", "on"])
@pytest.mark.parametrize("architecture", ["resnet", "vgg_unet"])
def test_a_run_goes_on_to_the_same_bits(
    architecture: str, compiling: str, prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    options = {**ARCHITECTURES[architecture], "deterministic": True, "device": "cuda", "precision": "auto"}
    longer = small(**options, compile=compiling, epochs=3, decay_epochs=0, ema=0.9)
    for model, checkpoints, epochs in (("m", "c", 2), ("resumed", "c", 3), ("straight", "other", 3)):
        config = replace(longer, epochs=epochs)
        train(prepared, tmp_path / model, config, checkpoints=str(tmp_path / checkpoints))
    for file in ("AtoB.safetensors", "BtoA.safetensors"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()


def test_batches_are_the_same_on_gpu_and_host(prepared: Path, small: Callable[..., TrainConfig]) -> None:
    setup = setup_of(prepared, small(batch_size=2), DEVICE, torch.float32)
    rows = setup.sampling.plan(0).a[0]
    array = setup.data.array("trainA")
    on_host = PackedImages(array, torch.device("cpu"), crop_size=32).batch(rows)
    on_gpu = PackedImages(array, DEVICE, crop_size=32, memory_format=torch.channels_last)
    assert on_gpu.images.is_cuda
    batch = on_gpu.batch(rows.to(DEVICE))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch.cpu(), on_host, rtol=0, atol=1e-6)


def test_moments_keep_the_layout_of_their_weights(prepared: Path, small: Callable[..., TrainConfig]) -> None:
    setup = setup_of(prepared, small(), DEVICE, torch.float32)
    state = initial_state(setup)
    perform(setup, state, build_update(setup.config, state, state.networks, torch.float32), epochs=1)
    saved = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
    again = initial_state(setup)
    again.load(saved, {"step": setup.steps}, setup.processes)
    expected = copy.deepcopy(state.networks)
    torch.testing.assert_close(again.networks.state_dict(), expected.state_dict(), rtol=0, atol=0)
    perform(setup, again, build_update(setup.config, again, again.networks, torch.float32), epochs=1)
    for weight, moments in again.opt_G.state.items():
        assert moments["exp_avg"].stride() == weight.stride()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_equal_one(prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]) -> None:
    config = small(batch_size=2, epochs=1, decay_epochs=0, deterministic=True, compile="off")
    results = [
        train_everywhere(prepared, tmp_path / f"m{n}", config, checkpoints=str(tmp_path / f"c{n}"), count=n)
        for n in (1, 2)
    ]
    assert results[0]["cycle_A"] == pytest.approx(results[1]["cycle_A"], rel=1e-2)
    assert results[0]["D_A"] == pytest.approx(results[1]["D_A"], rel=1e-2)
