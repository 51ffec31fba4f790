"""A real S3 server for tests: versitygw over a folder, built from its Go module where there is a compiler."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.ports import free_port

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cyclegan" / "test-tools" / "v1.8.0"
)
BUILD_SECONDS = 600
START_SECONDS = 20


def build() -> Path:
    """The server's program, built once a machine; skips the test where it can't be."""
    program = CACHE / "versitygw"
    if not shutil.which("go"):
        pytest.skip("no Go here to build an S3 server with")
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        if not program.is_file():
            made = subprocess.run(
                ["go", "install", MODULE],
                env={**os.environ, "GOBIN": str(CACHE), "GOFLAGS": "-mod=mod"},
                cwd=CACHE,
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
                check=False,
            )
            if made.returncode:
                pytest.skip(f"Go could not build {MODULE}: {made.stderr.strip()[-200:]}")
    return program


@contextlib.contextmanager
def running(folder: Path, key: str, secret: str) -> Iterator[str]:
    """The address of a server whose buckets are the folders in `folder`."""
    program = build()
    port = free_port()
    command = [program, "--quiet", "--access", key, "--secret", secret, "--port", f"127.0.0.1:{port}"]
    with (folder.parent / "versitygw.log").open("w") as log:
        server = subprocess.Popen([*command, "posix", folder], stdout=log, stderr=log)
        try:
            for _ in range(START_SECONDS * 10):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(Path(log.name).read_text())
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)
