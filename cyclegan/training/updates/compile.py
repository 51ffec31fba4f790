"""Faster updates: torch.compile, and on CUDA one captured graph instead of about 2000 kernel launches."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sysconfig
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.training.updates.update import Networks, Update

Network = TypeVar("Network", bound=nn.Module)

logger = logging.getLogger(__name__)

# Compiling takes minutes and saves perhaps a third; a run must be long enough to win that back.
WORTH_COMPILING = 5000
WARM_UP = 3


def should_compile(wanted: str, device: torch.device, updates: int) -> bool:
    """Whether to compile for a run of so many updates. `auto`: long runs on CUDA, where that is possible.

    Nothing that changes during a run decides it, so what resumes from a checkpoint computes as before.
    Raises UsageError where compiling is asked for and can't be done.
    """
    worth = wanted == "auto" and device.type == "cuda" and updates >= WORTH_COMPILING
    if not (worth or wanted == "on"):
        return False
    lack = missing_toolchain(device)
    if lack and wanted == "on":
        raise UsageError(f"compile = on requires {lack}, which was not found: use compile = auto or off.")
    if lack:
        logger.warning("Training would be faster with its networks compiled, which needs %s.", lack)
    return not lack


def missing_toolchain(device: torch.device) -> str:
    """What torch.compile needs for `device` and this machine lacks; empty where nothing is missing."""
    if device.type != "cuda":
        return "" if any(map(shutil.which, ("c++", "g++", "clang++"))) else "a C++ compiler"
    if importlib.util.find_spec("triton") is None:
        return "Triton"
    if not (os.environ.get("CC") or any(map(shutil.which, ("gcc", "clang")))):
        return "a C compiler"
    headers = Path(sysconfig.get_path("include"), "Python.h")  # Triton compiles what starts its kernels
    return "" if headers.is_file() else f"Python's headers ({headers})"


def compiled(networks: Networks) -> Networks:
    """The same four networks, weights shared, for training alone: each shape they meet costs a compilation.

    So samples and scores, with shapes of their own, are better computed by the networks as they were.
    """

    def one(network: Network) -> Network:
        # Batches come in two sizes; code for any size would be slower than code for each.
        return cast(Network, torch.compile(network, dynamic=False))

    return Networks(one(networks.AtoB), one(networks.BtoA), one(networks.D_A), one(networks.D_B))


class CudaGraphUpdate:
    """An update recorded as a CUDA graph, for fixed shapes and one process.

    The first updates run as usual, on a stream of their own as recording demands, so that libraries choose
    their algorithms and optimisers make their state; recording itself performs nothing. The optimisers must
    be `capturable`, with their learning rate in a tensor on the device.
    """

    def __init__(self, update: Update) -> None:
        self.update = update
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor] = []
        self.losses = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """As `Update.__call__`, always with the same number of tensors."""
        if self.done < WARM_UP:
            self.done += 1
            return self._on_side_stream(inputs)
        if self.graph is None:
            self.inputs = [value.clone() for value in inputs]
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.losses = self.update(*self.inputs)
        for static, value in zip(self.inputs, inputs, strict=True):
            static.copy_(value)
        self.graph.replay()
        return self.losses.clone()  # the next replay writes to the same place

    def _on_side_stream(self, inputs: tuple[Tensor, ...]) -> Tensor:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.update(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return losses
