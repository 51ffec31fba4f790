"""How much memory an update will take, before it takes it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.training.step import Networks, Update


def activation_bytes(update: Update, batch_size: int, height: int, width: int) -> int:
    """Bytes of float32 activations that a generator update keeps for its backward pass.

    `update` must live on the meta device, where tensors have shapes but no content, so that this costs
    neither memory nor time to speak of.
    """
    kept: dict[int, Tensor] = {}  # by storage: one tensor may be kept for several operations

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    images = torch.empty(batch_size // update.accumulate, 3, height, width, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        update.generator_terms(images, images, update.translate(images, images))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def parameter_bytes(networks: Networks) -> int:
    """Bytes of weights, gradients and Adam's two moments, in float32."""
    return 4 * 4 * sum(parameter.numel() for parameter in networks.parameters())


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free on a CUDA device, or on Linux for the CPU; None elsewhere.

    On a CPU the container's limit counts where it is lower than what the machine has free.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    found = []
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # "max" means no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=None)
