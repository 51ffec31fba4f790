"""Two processes do what one does with the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cyclegan.data.prepared import Prepared
from cyclegan.errors import UsageError
from cyclegan.model import load_model
from cyclegan.runtime.distributed import Processes
from cyclegan.training.config import TrainConfig
from cyclegan.training.setup import sampling_of
from cyclegan.training.train import train
from tests.ports import free_port

SCRIPT = """
import os, sys, traceback
os.dup2(os.open(f"{log}-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
os.environ.update(CYCLEGAN_TRACKING="off", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
from cyclegan.training.train import train
train(prepared, model, config, checkpoints=checkpoints)
"""


def train_by_two(
    context: ForkServerContext, prepared: Path, model: Path, config: TrainConfig, checkpoints: Path
) -> None:
    port = free_port()
    names = {"prepared": prepared, "model": model, "config": config, "checkpoints": str(checkpoints)}
    names |= {"log": str(model.with_name("stderr")), "port": port}
    pair = [context.Process(target=exec, args=(SCRIPT, {**names, "rank": rank})) for rank in range(2)]
    for process in pair:
        process.start()
    for rank, process in enumerate(pair):
        process.join(300)
        assert process.exitcode == 0, model.with_name(f"stderr-{rank}").read_text()


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted(folder.glob("*/*.safetensors"))[-1])


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch knows no processes")
def test_two_processes_equal_one_with_the_whole_batch(
    warm: ForkServerContext, prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(batch_size=2, epochs=1, decay_epochs=1, pool_size=2, epoch_size="larger")
    losses = train(prepared, tmp_path / "one", config, checkpoints=str(tmp_path / "c1"))
    train_by_two(warm, prepared, tmp_path / "two", config, tmp_path / "c2")

    one, two = checkpoint(tmp_path / "c1"), checkpoint(tmp_path / "c2")
    assert one.keys() == two.keys()
    # Both halves of the buffers lie in the one checkpoint, in the order of the batch.
    for name in ("pool_a", "pool_b"):
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-3)
    assert losses["steps"] == 6
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    for direction in ("AtoB", "BtoA"):
        expected = load_model(tmp_path / "one")[direction](images)  # type: ignore[index]
        got = load_model(tmp_path / "two")[direction](images)  # type: ignore[index]
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-3)

    # One process takes over what two have begun.
    longer = small(batch_size=2, epochs=1, decay_epochs=2, pool_size=2)
    assert train(prepared, tmp_path / "three", longer, checkpoints=str(tmp_path / "c2"))["steps"] == 9


def test_a_batch_that_cannot_be_shared_is_refused(prepared: Path, small: Callable[..., TrainConfig]) -> None:
    with pytest.raises(UsageError, match="batch_size = 3 can't be divided among 2 processes"):
        sampling_of(small(batch_size=3), Prepared.open(prepared), Processes(rank=0, world_size=2))
