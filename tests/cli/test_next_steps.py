"""What a command says to run next can be run as it stands."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclegan.cli.next_steps import tell
from cyclegan.data.sample.city import draw_city

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_the_next_command_finds_what_was_written_under_a_name_of_ones_own(
    cyclegan: Command, tmp_path: Path
) -> None:
    draw_city(tmp_path / "raw", train=4, test=2, size=32, seed=0)
    done = cyclegan("preprocess", "raw", "--out", "mine/arrays", "--load-size", "32", cwd=tmp_path)
    following = next(line for line in done.stderr.splitlines() if line.startswith("Next:"))
    small = ["--generator", "resnet", "--blocks", "1", "--width", "8", "--discriminator-width", "8"]
    brief = ["--crop-size", "32", "--epochs", "1", "--decay-epochs", "0"]
    words = [*shlex.split(following)[2:], *small, *brief, "--model", "elsewhere/model"]
    done = cyclegan(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    following = next(line for line in done.stderr.splitlines() if line.startswith("Next:"))
    done = cyclegan(*shlex.split(following)[2:], "--out", "scores", "--resamples", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    following = next(line for line in done.stderr.splitlines() if line.startswith("Next:"))
    assert shlex.split(following)[1:] == [
        *("cyclegan", "register", "mine", "--model", "elsewhere/model", "--scores", "scores")
    ]
    done = cyclegan("translate", "elsewhere/model", "raw/testA", "--out", "out", cwd=tmp_path)
    assert done.stderr.splitlines()[-2:] == ["The translations: out", "Next: cyclegan demo elsewhere/model"]


def test_what_was_made_and_what_comes_next(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    tell("s3://key:secret@bucket/out", "the card", ["push", "hf://o/n", "--model", "a b"], ["ui"])
    assert [record.getMessage() for record in caplog.records] == [
        "\nThe card: s3://bucket/out",
        "Next: cyclegan push hf://o/n --model 'a b'",
        " or:  cyclegan ui",
    ]
    caplog.clear()
    tell(Path("out"), "the exported generators")
    monkeypatch.setenv("DVC_STAGE", "card")
    tell(Path("out"), "the card", ["ui"])
    assert [record.getMessage() for record in caplog.records] == [
        "\nThe exported generators: out",
        "\nThe card: out",
    ]
