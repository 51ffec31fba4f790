"""What a training configuration means: networks, optimisers, sampling, and whether they fit the data."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from cyclegan.data.packed import Sampling
from cyclegan.data.prepare import Manifest
from cyclegan.errors import UsageError
from cyclegan.model import library_versions
from cyclegan.networks import VggUnet, build_discriminator, build_generator
from cyclegan.networks.recompute import Recomputable
from cyclegan.training.device import memory_format
from cyclegan.training.distributed import Processes
from cyclegan.training.history import ImageBuffer, lane_slots
from cyclegan.training.memory import activation_bytes, available_bytes, parameter_bytes
from cyclegan.training.pretrained import load_encoder
from cyclegan.training.state import Average, State
from cyclegan.training.step import Networks, Update

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)


def sampling_of(config: TrainConfig, manifest: Manifest, me: Processes) -> Sampling:
    """How batches are drawn; raises UsageError where the parameters don't fit the data."""
    if config.batch_size % (me.world * config.accumulate):
        raise UsageError(
            f"batch_size = {config.batch_size} can't be divided among {me.world} processes, each of which "
            f"computes it in {config.accumulate} parts."
        )
    sampling = Sampling(
        count_a=manifest.domains["trainA"]["count"],
        count_b=manifest.domains["trainB"]["count"],
        image_height=manifest.height,
        image_width=manifest.width,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        flip=config.flip,
        epoch_size=config.epoch_size,
        seed=config.seed,
        lane_slots=lane_slots(config.buffer_size, config.batch_size),
    )
    multiple = {"vgg_unet": 32, "resnet": 4, "unet": 2**config.depth}[config.generator]
    if sampling.height % multiple or sampling.width % multiple:
        raise UsageError(
            f"{config.generator} takes images whose sides are multiples of {multiple}, not "
            f"{sampling.height}×{sampling.width}: choose crop_size, or the load_size of preprocess, to fit."
        )
    return sampling


def build_networks(config: TrainConfig) -> Networks:
    """The four networks, as torch's present random state makes them."""
    networks = Networks(
        AtoB=build_generator(**config.generator_options()),
        BtoA=build_generator(**config.generator_options()),
        D_A=build_discriminator(**config.discriminator_options()),
        D_B=build_discriminator(**config.discriminator_options()),
    )
    for generator in (networks.AtoB, networks.BtoA):
        assert isinstance(generator, Recomputable)
        generator.recompute = config.recompute
    return networks


def initial_state(
    config: TrainConfig, sampling: Sampling, device: torch.device, me: Processes, *, capturable: bool
) -> State:
    """Networks as the seed makes them, their optimisers, empty buffers.

    `capturable`: the optimisers can be recorded in a CUDA graph.
    """
    torch.manual_seed(config.seed)
    networks = build_networks(config)
    networks.to(memory_format=memory_format(device))
    networks.to(device)

    def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
        lr = torch.tensor(config.lr, device=device) if capturable else config.lr
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(parameters, lr, betas, fused=device.type != "mps", capturable=capturable)

    lanes, slots = config.batch_size // me.world, sampling.lane_slots
    return State(
        networks=networks,
        generators=adam(networks.generators()),
        discriminators=adam(networks.discriminators()),
        buffer_a=ImageBuffer(lanes, slots, sampling.height, sampling.width, device),
        buffer_b=ImageBuffer(lanes, slots, sampling.height, sampling.width, device),
        average=Average(networks, config.ema) if config.ema else None,
    )


def build_update(config: TrainConfig, state: State, precision: torch.dtype) -> Update:
    """The update that changes `state`."""
    return Update(
        state.networks,
        state.generators,
        state.discriminators,
        state.buffer_a,
        state.buffer_b,
        lambda_cycle=config.lambda_cycle,
        lambda_identity=config.lambda_identity,
        objective=config.objective,
        order=config.order,
        discriminator_updates=config.discriminator_updates,
        accumulate=config.accumulate,
        precision=precision,
    )


def announce_memory(
    config: TrainConfig, sampling: Sampling, device: torch.device, me: Processes, precision: torch.dtype
) -> None:
    """Log an estimate of the memory that training takes, and what to do if that is more than there is."""
    with torch.device("meta"):
        networks = build_networks(config)
    unused = torch.optim.SGD(networks.parameters())
    empty = ImageBuffer(0, 0, 1, 1, torch.device("meta"))
    update = build_update(config, State(networks, unused, unused, empty, empty, None), torch.float32)
    batch = config.batch_size // me.world
    activations = activation_bytes(update, batch, sampling.height, sampling.width)
    if precision is torch.bfloat16:
        activations //= 2
    total = activations + parameter_bytes(networks)
    logger.info("Training takes about %.1f GB, %.1f of it activations.", total / 1e9, activations / 1e9)
    free = available_bytes(device)
    if free is not None and total > 0.9 * free:
        logger.warning(
            "Only %.1f GB are free: set recompute, accumulate over smaller parts, or crop smaller.",
            free / 1e9,
        )


def load_encoders(networks: Networks, config: TrainConfig) -> None:
    generators = [g for g in (networks.AtoB, networks.BtoA) if isinstance(g, VggUnet)]
    if generators:
        load_encoder(generators, config.weights, partial=config.weights_partial)


def describe(config: TrainConfig, manifest: Manifest, sampling: Sampling) -> dict[str, Any]:
    """The model's config.json, but for what the run knows."""
    return {
        "generator": config.generator_options(),
        "image_size": min(sampling.height, sampling.width),
        "data": {"uri": manifest.uri, "version": manifest.version, "paired": manifest.paired},
        "train": asdict(config),
        "seed": config.seed,
        "versions": library_versions(),
    }
