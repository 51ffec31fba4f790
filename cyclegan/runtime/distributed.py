"""Several processes on one training run: `torchrun --nproc-per-node=N -m cyclegan train …`.

Every process works on its places of each batch, and gradients are averaged before every optimiser step. That
is done here in one flat reduction rather than by DistributedDataParallel, whose bookkeeping expects one
forward and one backward pass of a network in each step; an update of CycleGAN has several.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process and how many there are."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes logs, checkpoints and the model."""
        return self.rank == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started, of which the first alone logs; alone without torchrun."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Processes()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    group = Processes(dist.get_rank(), dist.get_world_size())
    logger = logging.getLogger("cyclegan")
    level = logger.level
    if not group.is_main:
        logger.setLevel(logging.ERROR)
    try:
        yield group
    finally:
        logger.setLevel(level)
        dist.destroy_process_group()


def average_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def averaged(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, each with one of the same shape; `values` is overwritten."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values = values / dist.get_world_size()
    return values


def gathered(part: Tensor) -> Tensor:
    """The parts of all processes, all of one shape, in order of rank along the first dimension."""
    if not dist.is_initialized():
        return part
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    if not dist.is_initialized():
        return flag
    votes = torch.tensor([float(flag)], device=device)
    dist.all_reduce(votes)
    return votes.item() > 0
