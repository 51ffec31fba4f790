"""`cyclegan ui`: an address is printed once it answers; a port that is taken is passed over, or refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.tracking import ui


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_next_free_port_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "FIRST_PORT", taken)
    chosen = ui._choose(0)
    assert taken < chosen < taken + ui.PORTS
    monkeypatch.setattr(ui, "PORTS", 1)
    with pytest.raises(CycleGANError, match="are taken"):
        ui._choose(0)


def test_a_port_that_was_asked_for_and_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(UsageError, match=f"Port {taken} .* is taken"):
        ui.serve(taken, print)


def test_a_server_that_does_not_start_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://host/path")
    said: list[str] = []
    with pytest.raises(CycleGANError, match="MLflow server did not start"):
        ui.serve(0, said.append)
    assert said == [], "no address is promised that does not answer"


@pytest.mark.slow
def test_the_address_answers_once_it_is_printed_and_the_server_ends_with_the_command(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    words = [sys.executable, "-m", "cyclegan", "ui"]
    with subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().partition("/#/")[0]
        with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not ui._taken(int(address.rpartition(":")[2]))
