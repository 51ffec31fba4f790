"""The command in processes of its own, forked from one that has it loaded: 20 ms each instead of 1.5 s."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Each line of standard input is a job. A forked child leaves the loop and becomes `python -m cyclegan`; what
# it imports beyond the command line's own modules it imports itself, from the job's PYTHONPATH.
SERVER = """
import json, os, runpy, sys
import cyclegan.cli.commands, cyclegan.cli.main, cyclegan.data.prepared
assert "torch" not in sys.modules, "the command line imports torch"
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.chdir(job["cwd"])
os.environ.clear()
os.environ.update(job["env"])
for descriptor, name in enumerate((os.devnull, job["out"], job["err"])):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), descriptor)
sys.path[:0] = job["env"].get("PYTHONPATH", "").split(os.pathsep)
sys.argv[1:] = job["args"]
runpy.run_module("cyclegan", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def _server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def cyclegan(
    _server: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`cyclegan("train", "--help", cwd=folder, NAME="value")` runs `python -m cyclegan …`."""

    def call(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("said")
        words = [str(word) for word in args]
        variables = {**os.environ, "CYCLEGAN_TRACKING": "off", "COLUMNS": "200", **env}
        job = {"args": words, "cwd": str(cwd), "env": variables}
        assert _server.stdin and _server.stdout
        print(
            json.dumps(job | {name: str(folder / name) for name in ("out", "err")}),
            file=_server.stdin,
            flush=True,
        )
        code = int(_server.stdout.readline())
        return subprocess.CompletedProcess(
            words, code, (folder / "out").read_text(), (folder / "err").read_text()
        )

    return call
