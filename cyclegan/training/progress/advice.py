"""What would make a long training shorter, and by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.pixel_kind import ALL_RGB, Kinds
from cyclegan.training.build import blank_update

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig


def update_flops(config: TrainConfig, height: int, width: int, kinds: Kinds = ALL_RGB) -> int:
    """Floating-point operations of one update on batches of height×width, counted without computing any."""
    update = blank_update(config, kinds)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        a, b = (torch.empty(config.batch_size, kinds[domain].channels, height, width) for domain in "AB")
        slots = torch.empty(config.batch_size, 3, dtype=torch.int64)
        update(a, b, slots, slots)
    return int(counter.get_total_flops())


def alternatives(config: TrainConfig, height: int, width: int) -> list[dict[str, Any]]:
    """Smaller values of single parameters that leave a model worth having, then all of them together."""
    found: list[dict[str, Any]] = []
    if config.generator == "vgg_unet":
        found.append({"generator": "resnet", "blocks": 6, "width": 32})
    elif config.width > 32:
        found.append({"width": 32})
    if config.generator == "resnet" and config.blocks > 6:
        found.append({"blocks": 6})
    if config.discriminator == "perceptual":
        found.append({"discriminator": "patchgan"})
    if config.discriminator_width > 48:
        found.append({"discriminator_width": 48})
    if min(height, width) > 128:
        found.append({"crop_size": 128, **({"crop_width": 0} if config.crop_width else {})})
    if config.lambda_identity:
        found.append({"lambda_identity": 0})
    if len(found) > 1:
        found.append({name: value for change in found for name, value in change.items()})
    return found


def faster(config: TrainConfig, height: int, width: int, kinds: Kinds = ALL_RGB) -> str:
    """One sentence: which parameters would make updates cheaper, each with its factor."""
    parts = []
    whole = update_flops(config, height, width, kinds)
    for change in alternatives(config, height, width):
        side = change.get("crop_size")
        factor = whole / update_flops(replace(config, **change), side or height, side or width, kinds)
        if factor >= 1.1:
            flags = (f"--{name.replace('_', '-')} {value}" for name, value in change.items())
            parts.append(f"{' '.join(flags)} ({factor:.1f} times)")
    cheaper = f"Cheaper updates, by operations counted: {'; '.join(parts)}. " if parts else ""
    return f"{cheaper}Half the epochs take half the time, and a GPU takes a small part of it."
