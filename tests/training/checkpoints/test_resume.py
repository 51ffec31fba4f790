"""Ended at any moment and started again, a run ends with the weights of one that never stopped."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.training.config import TrainConfig
from cyclegan.training.train import train
from tests.networks.vgg import vgg_state

SCRIPT = """
import os, sys
descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(descriptor, 2)
os.environ.update(CYCLEGAN_TRACKING="off", OMP_NUM_THREADS="1")
from cyclegan.errors import CycleGANError
from cyclegan.training.train import train
try:
    train(prepared, model, config, checkpoints=checkpoints)
except CycleGANError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class Run:
    """Training in a process of its own, which can be killed; forked from one that has torch loaded."""

    def __init__(
        self,
        context: ForkServerContext,
        prepared: Path,
        model: Path,
        checkpoints: Path | str,
        config: TrainConfig,
    ) -> None:
        self.log = model.with_name("stderr")
        names = {"prepared": prepared, "model": model, "checkpoints": str(checkpoints), "config": config}
        self.process = context.Process(target=exec, args=(SCRIPT, {**names, "log": str(self.log)}))
        self.process.start()

    def running(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> int:
        self.process.kill()
        return self.wait()

    def wait(self) -> int:
        self.process.join(120)
        assert self.process.exitcode is not None, "still running after two minutes"
        return self.process.exitcode

    def errors(self) -> str:
        return self.log.read_text()


def weights(model: Path) -> tuple[bytes, bytes]:
    return (model / "AtoB.safetensors").read_bytes(), (model / "BtoA.safetensors").read_bytes()


def saved(checkpoints: Path) -> list[Path]:
    return sorted(checkpoints.glob("*/*.safetensors"))


def test_killed_again_and_again_while_writing_too(
    warm: ForkServerContext, prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    # A checkpoint after every update, so that most of the time is spent in writing one.
    config = small(epochs=3, decay_epochs=3, checkpoint_minutes=1e-9, ema=0.9)
    train(
        prepared,
        tmp_path / "straight",
        replace(config, checkpoint_minutes=60),
        checkpoints=str(tmp_path / "c"),
    )
    chance, folder, kills = random.Random(0), tmp_path / "killed", 0
    while kills < 5:
        before = saved(folder)
        run = Run(warm, prepared, tmp_path / "model", folder, config)
        while saved(folder) == before and run.running():
            time.sleep(0.01)
        time.sleep(chance.random() * 0.15)
        if run.kill() == 0:
            break
        kills += 1
    assert kills >= 3
    run = Run(warm, prepared, tmp_path / "model", folder, config)
    assert run.wait() == 0, run.errors()
    assert weights(tmp_path / "model") == weights(tmp_path / "straight")
    assert len(saved(folder)) == 3  # the newest two, and the last at the full learning rate
    assert not list(folder.glob("*/.*.safetensors.*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_after_the_update_with_a_checkpoint(
    number: signal.Signals,
    warm: ForkServerContext,
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
) -> None:
    config = small(epochs=300, decay_epochs=0)
    run = Run(warm, prepared, tmp_path / "model", tmp_path / "c", config)
    while not saved(tmp_path / "c") and run.running():
        time.sleep(0.01)
    assert run.process.pid is not None
    os.kill(run.process.pid, number)
    assert run.wait() == 128 + number, run.errors()
    errors = run.errors()
    assert f"stopped by {number.name} after update" in errors
    assert "Traceback" not in errors
    step = int(errors.split("after update ")[1].split()[0])
    assert saved(tmp_path / "c")[-1].name.startswith(f"{step:010d}-")


def test_perceptual_discriminators_resume_without_the_weights_they_began_with(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    state = vgg_state(blocks=3)
    file = tmp_path / "vgg16.pth"
    torch.save(state, file)
    config = small(epochs=2, decay_epochs=0, discriminator="perceptual", weights=str(file))
    train(prepared, tmp_path / "straight", config, checkpoints=str(tmp_path / "c1"))
    train(prepared, tmp_path / "m", replace(config, epochs=1), checkpoints=str(tmp_path / "c2"))
    file.unlink()
    train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c2"))
    assert weights(tmp_path / "m") == weights(tmp_path / "straight")
    with pytest.raises(UsageError, match=r"no (weights )?file .*vgg16\.pth"):
        train(prepared, tmp_path / "m", replace(config, seed=1), checkpoints=str(tmp_path / "c2"))

    torch.save({name: value for name, value in state.items() if "14" not in name}, file)
    with pytest.raises(UsageError, match=r"vgg16\.pth: features\.14\.weight of VGG-16 is missing"):
        train(prepared, tmp_path / "m", replace(config, seed=1), checkpoints=str(tmp_path / "c2"))


def test_random_numbers_of_the_augmentation_follow_the_update_and_not_the_process(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(epochs=2, decay_epochs=0, diffaugment="color,translation,cutout")
    train(prepared, tmp_path / "straight", config, checkpoints=str(tmp_path / "c1"))
    train(prepared, tmp_path / "m", replace(config, epochs=1), checkpoints=str(tmp_path / "c2"))
    train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c2"))
    train(prepared, tmp_path / "plain", replace(config, diffaugment=""), checkpoints=str(tmp_path / "c2"))
    assert weights(tmp_path / "m") == weights(tmp_path / "straight")
    assert weights(tmp_path / "m") != weights(tmp_path / "plain")


@pytest.mark.parametrize(
    ("precision", "compiling"),
    [("fp32", "off"), ("bf16", "off"), pytest.param("fp32", "on", marks=pytest.mark.slow)],
)
def test_more_epochs_go_on_where_the_schedule_was_the_same(
    precision: str,
    compiling: str,
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    if compiling == "on" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("compiling needs a C++ compiler")
    small = partial(small, precision=precision, compile=compiling)
    longer = small(epochs=3, decay_epochs=0)
    train(prepared, tmp_path / "m1", small(epochs=2, decay_epochs=0), checkpoints=str(tmp_path / "c"))
    train(prepared, tmp_path / "m2", longer, checkpoints=str(tmp_path / "c"))
    assert "Resuming after update 14 of 21" in caplog.text
    train(prepared, tmp_path / "m3", longer, checkpoints=str(tmp_path / "other"))
    assert weights(tmp_path / "m2") == weights(tmp_path / "m3")
    if compiling == "on":
        train(prepared, tmp_path / "eager", replace(longer, compile="off"), checkpoints=str(tmp_path / "c"))
        assert "compiled networks: True, this run uses False" in caplog.text
        return

    caplog.clear()
    falling = small(epochs=1, decay_epochs=1)  # from the second epoch on its rate is another
    train(prepared, tmp_path / "m4", falling, checkpoints=str(tmp_path / "c"))
    assert "Resuming after update 7 of 14" in caplog.text
    train(prepared, tmp_path / "m5", falling, checkpoints=str(tmp_path / "another"))
    assert weights(tmp_path / "m4") == weights(tmp_path / "m5")


def test_what_decides_the_result_starts_anew_and_what_does_not_goes_on(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = small(epochs=1, decay_epochs=0)
    train(prepared, tmp_path / "m", run, checkpoints=str(tmp_path / "c"))
    train(
        prepared, tmp_path / "n", replace(run, sample_every=0, log_every=2), checkpoints=str(tmp_path / "c")
    )
    assert "Resuming after update 7 of 7" in caplog.text
    assert weights(tmp_path / "m") == weights(tmp_path / "n")
    caplog.clear()
    train(prepared, tmp_path / "o", replace(run, seed=1), checkpoints=str(tmp_path / "c"))
    assert "Resuming" not in caplog.text
    assert "matches these parameters" in caplog.text
    assert weights(tmp_path / "m") != weights(tmp_path / "o")


def test_a_damaged_newest_checkpoint_is_passed_over(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], caplog: pytest.LogCaptureFixture
) -> None:
    train(prepared, tmp_path / "m", small(), checkpoints=str(tmp_path / "c"))
    whole = saved(tmp_path / "c")[-1].read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    for content in (bytes(damaged), b"", whole[:1000]):
        newest = saved(tmp_path / "c")[-1]
        newest.write_bytes(content)
        train(prepared, tmp_path / "n", small(), checkpoints=str(tmp_path / "c"))
        assert f"{newest.name}, which is damaged" in caplog.text
        assert weights(tmp_path / "m") == weights(tmp_path / "n")
        assert [path.name[:10] for path in saved(tmp_path / "c")] == ["0000000014", "0000000021"]
        caplog.clear()


def test_two_processes_on_one_folder_are_refused(
    warm: ForkServerContext, prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(epochs=300, decay_epochs=0)
    run = Run(warm, prepared, tmp_path / "model", tmp_path / "c", config)
    try:
        while not saved(tmp_path / "c") and run.running():
            time.sleep(0.01)
        with pytest.raises(CycleGANError, match="Another process is training"):
            train(prepared, tmp_path / "n", config, checkpoints=str(tmp_path / "c"))
    finally:
        run.kill()


def test_losses_that_are_no_numbers_stop_the_run(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    with pytest.raises(CycleGANError, match=r"(at|After) update \d+"):
        train(prepared, tmp_path / "m", small(lr=1e30, log_every=1), checkpoints=str(tmp_path / "c"))
    assert not (tmp_path / "m").exists()
