"""Training on all GPUs of a machine without typing torchrun: what a pod with several GPUs calls."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from pathlib import Path

import torch

from cyclegan.errors import CycleGANError
from cyclegan.io.terminal import clean, log_to_terminal
from cyclegan.training.config import TrainConfig
from cyclegan.training.train import train

logger = logging.getLogger(__name__)


def train_everywhere(
    prepared: Path,
    model: Path,
    config: TrainConfig,
    *,
    checkpoints: str = "outputs/checkpoints",
    count: int | None = None,
) -> dict[str, float]:
    """`train` in one process for each GPU (or `count` processes); returns what the first one returns.

    In this very process where there is at most one GPU, where `config.device` names a device other than auto
    and cuda, or where torchrun has started several processes already.
    Raises what `train` raises, or CycleGANError once a process has failed and said why.
    """
    if count is None:
        chosen = config.device in ("auto", "cuda") and "RANK" not in os.environ
        count = torch.cuda.device_count() if chosen else 1
        if count > 1 and config.batch_size % (count * config.accumulation_steps):
            message = "batch_size = %d can't be divided among %d GPUs: only one of them is used."
            logger.warning(message, config.batch_size, count)
            count = 1
    if count <= 1:
        return train(prepared, model, config, checkpoints=checkpoints)

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,  # whoever starts this step starts it again, and the checkpoint waits
        start_method="spawn",
    )
    try:
        results: dict[int, dict[str, float]]
        results = elastic_launch(launch, _one)(prepared, model, config, checkpoints)
        return results[0]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise CycleGANError(f"process {rank} of {count} ended with exit code {failure.exitcode}.") from None


def _one(prepared: Path, model: Path, config: TrainConfig, checkpoints: str) -> dict[str, float]:
    log_to_terminal()
    try:
        return train(prepared, model, config, checkpoints=checkpoints)
    except CycleGANError as error:
        print(clean(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
