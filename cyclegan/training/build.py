"""What a configuration builds: networks, optimisers, image pools, the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cyclegan.model import Direction
from cyclegan.networks import (
    Generator,
    PerceptualDiscriminator,
    VggUnet,
    build_discriminator,
    build_generator,
)
from cyclegan.networks.checkpointing import Recomputable
from cyclegan.pixel_kind import ALL_RGB, Kinds, discriminator_channels, generator_channels
from cyclegan.training.pretrained import Initial, continue_from, load_encoder, load_features, start_from
from cyclegan.training.state import State
from cyclegan.training.updates.ema import EMA
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.update import Networks, Update

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig
    from cyclegan.training.setup import Setup


def build_networks(config: TrainConfig, kinds: Kinds = ALL_RGB) -> Networks:
    """The four networks for images of these kinds, as torch's present random state makes them."""
    of_generators, of_judges = config.generator_options(), config.discriminator_options()
    networks = Networks(
        AtoB=build_generator(**(of_generators | generator_channels(kinds, "AtoB"))),
        BtoA=build_generator(**(of_generators | generator_channels(kinds, "BtoA"))),
        D_A=build_discriminator(**(of_judges | discriminator_channels(kinds, "A"))),
        D_B=build_discriminator(**(of_judges | discriminator_channels(kinds, "B"))),
    )
    for generator in (networks.AtoB, networks.BtoA):
        assert isinstance(generator, Recomputable)
        generator.gradient_checkpointing = config.gradient_checkpointing
    return networks


def initial_state(setup: Setup) -> State:
    """Networks as the seed makes them, their optimisers, empty image pools."""
    config, device, capturable = setup.config, setup.device, setup.captured
    torch.manual_seed(config.seed)
    kinds = setup.data.kinds
    networks = build_networks(config, kinds)
    networks.to(memory_format=setup.memory_format)
    networks.to(device)

    def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
        lr = torch.tensor(config.lr, device=device) if capturable else config.lr
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(parameters, lr, betas, fused=device.type != "mps", capturable=capturable)

    def pool(domain: str) -> ImagePool:
        slots = setup.sampling.lane_slots
        return ImagePool(setup.batch, slots, *setup.size, device, kinds[domain].channels)

    return State(
        networks=networks,
        opt_G=adam(networks.generator_parameters()),
        opt_D=adam(networks.discriminator_parameters()),
        pool_a=pool("A"),
        pool_b=pool("B"),
        ema=EMA(networks, config.ema) if config.ema else None,
    )


def build_update(config: TrainConfig, state: State, networks: Networks, precision: torch.dtype) -> Update:
    """The update that changes `state`, computed by its networks or by their compiled form."""
    return Update(
        networks,
        state.opt_G,
        state.opt_D,
        state.pool_a,
        state.pool_b,
        lambda_cycle=config.lambda_cycle,
        lambda_identity=config.lambda_identity,
        objective=config.objective,
        order=config.order,
        discriminator_updates=config.discriminator_updates,
        accumulation_steps=config.accumulation_steps,
        augmentations=config.augmentations(),
        precision=precision,
    )


def blank_update(config: TrainConfig, kinds: Kinds = ALL_RGB) -> Update:
    """The update on the meta device, where tensors have shapes but no content: for counting, not training."""
    with torch.device("meta"):
        networks = build_networks(config, kinds)
    unused = torch.optim.SGD(networks.parameters())
    empty = ImagePool(0, 0, 1, 1, torch.device("meta"))
    state = State(networks, unused, unused, empty, empty, None)
    return build_update(config, state, networks, torch.float32)


def load_weights(state: State, config: TrainConfig, initial: Initial | None = None) -> None:
    """Give the networks of a new run what they start with.

    That is what `initial` has, and the VGG-16 weights that `config` names for encoders not in it and for
    perceptual discriminators. Raises UsageError or CycleGANError as `continue_from`, `start_from`,
    `load_encoder` and `load_features`.
    """
    networks = state.networks
    if initial and initial.checkpoint:
        continue_from(initial, state)
    else:
        pair: dict[Direction, Generator] = {"AtoB": networks.AtoB, "BtoA": networks.BtoA}
        if initial:
            start_from(initial, pair)
        given = initial.weights if initial else {}
        new = [generator for direction, generator in pair.items() if direction not in given]
        if encoders := [generator for generator in new if isinstance(generator, VggUnet)]:
            load_encoder(encoders, config.weights, partial=config.weights_partial)
        judges = (networks.D_A, networks.D_B)
        if perceptual := [judge for judge in judges if isinstance(judge, PerceptualDiscriminator)]:
            load_features(perceptual, config.weights)
    if initial and state.ema:
        state.ema = EMA(networks, config.ema)
