"""One process for each GPU, and none more than there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cyclegan.errors import CycleGANError
from cyclegan.training.config import TrainConfig
from cyclegan.training.launch import train_everywhere


def test_without_several_gpus_this_process_trains(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(device="cpu", epochs=1, decay_epochs=0)
    results = train_everywhere(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c"))
    assert results["steps"] == 7
    assert (tmp_path / "m" / "config.json").is_file()


@pytest.mark.slow
def test_several_processes_say_why_they_failed(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CycleGANError, match="of 2 ended with exit code 2"):
        train_everywhere(
            prepared, tmp_path / "m", small(batch_size=3), checkpoints=str(tmp_path / "c"), count=2
        )
    assert "batch_size = 3 can't be divided among 2 processes" in capfd.readouterr().err
