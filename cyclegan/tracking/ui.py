"""The MLflow UI on this machine: a port that is free, an address that answers, an error that shows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.uri import printable, redact
from cyclegan.tracking import view
from cyclegan.tracking.database import prepare_database

HOST = "127.0.0.1"
FIRST_PORT = 5000
PORTS = 50
START_SECONDS = 300.0
VIEWS = 5
"""Experiments that are named at the start."""
PAGE = "/#/experiments?workflowType=machine_learning"


def serve(port: int, say: Callable[[str], None]) -> None:
    """Run the MLflow UI on this machine until it is interrupted; `port` 0 takes 5000 or the next free one.

    `say` receives the address once the server answers there. Raises UsageError for a port that is taken and
    CycleGANError, with the server's last words, where it does not start or ends by itself.
    """
    port = _choose(port)
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        say(f"Runs are on the server {redact(uri).rstrip('/')}{PAGE}")
        return
    prepare_database()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", uri, "--no-serve-artifacts", "--default-artifact-root", "./mlruns"]
    # its seven job runners are for language models
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=variables, start_new_session=True)
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            _wait(server, port)
            say(f"http://{HOST}:{port}{PAGE}")
            for name, page in _views():
                say(f"Scores and pictures of {name}: http://{HOST}:{port}/{page}")
            server.wait()
            raise CycleGANError(f"The MLflow server ended: {_last_words(log)}")
        except _DidNotStart as reason:
            raise CycleGANError(f"The MLflow server {reason}: {_last_words(log)}") from None
        finally:
            signal.signal(signal.SIGTERM, before)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)


class _DidNotStart(Exception):
    pass


def _views() -> list[tuple[str, str]]:
    """Names of the experiments that were used last and have our view, each with where that is."""
    from mlflow import MlflowClient

    experiments = MlflowClient().search_experiments(
        max_results=VIEWS, order_by=["last_update_time DESC"], filter_string=f"tags.`{view.TAG}` != ''"
    )
    return [(printable(found.name), view.view_page(found.experiment_id)) for found in experiments]


def _choose(port: int) -> int:
    if port:
        if _taken(port):
            raise UsageError(f"Port {port} of {HOST} is taken: choose another, or leave it to the command.")
        return port
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS):
        if not _taken(candidate):
            return candidate
    raise CycleGANError(f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} of {HOST} are taken.")


def _taken(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True  # somebody answers, perhaps on all addresses, as AirPlay does
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        if server.poll() is not None:
            raise _DidNotStart(f"did not start (exit code {server.returncode})")
        with suppress(OSError), direct.open(f"http://{HOST}:{port}/health", timeout=5):
            return
        time.sleep(0.2)
    raise _DidNotStart(f"did not answer within {START_SECONDS:.0f} seconds")


def _last_words(log: IO[str]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing").rstrip(".") + "."
