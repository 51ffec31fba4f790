"""How much memory an update will take, before it takes it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan.networks.discriminators.diffaugment import NUMBERS
from cyclegan.pixel_kind import ALL_RGB, Kinds
from cyclegan.runtime.device import available_bytes
from cyclegan.training.build import blank_update
from cyclegan.training.updates.update import VIEWS, Chances, Networks, Update

if TYPE_CHECKING:
    from cyclegan.training.setup import Setup

logger = logging.getLogger(__name__)


def activation_bytes(update: Update, batch_size: int, height: int, width: int, kinds: Kinds = ALL_RGB) -> int:
    """Bytes of float32 activations that a generator update keeps for its backward pass.

    `update` must live on the meta device, where tensors have shapes but no content, so that this costs
    neither memory nor time to speak of.
    """
    kept: dict[int, Tensor] = {}  # by storage: one tensor may be kept for several operations

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    part = batch_size // update.accumulation_steps
    a, b = (torch.empty(part, kinds[domain].channels, height, width, device="meta") for domain in "AB")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        chance = torch.empty(part, VIEWS, NUMBERS, device="meta")
        translations = update.translate(a, b)
        update.generator_terms(a, b, translations, Chances(chance, chance))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def parameter_bytes(networks: Networks) -> int:
    """Bytes of weights, gradients and Adam's two moments, in float32."""
    return 4 * 4 * sum(parameter.numel() for parameter in networks.parameters())


def amount(size: int) -> str:
    """Bytes as people say them: 80 MB, 1.3 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def announce_memory(setup: Setup) -> None:
    """Log an estimate of the memory that training takes, and what to do if that is more than there is."""
    kinds = setup.data.kinds
    update = blank_update(setup.config, kinds)
    activations = activation_bytes(update, setup.batch, *setup.size, kinds)
    if setup.precision is torch.bfloat16:
        activations //= 2
    total = activations + parameter_bytes(update.networks)
    logger.info("Training takes about %s, %s of it activations.", amount(total), amount(activations))
    free = available_bytes(setup.device)
    if free is not None and total > 0.9 * free:
        logger.warning(
            "Only %s is free: enable gradient_checkpointing, raise accumulation_steps, lower crop_size.",
            amount(free),
        )
