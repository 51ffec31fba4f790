"""Commands killed at any moment of writing: a whole result, old or new, and nothing left in the end."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from cyclegan.cli.main import main
from cyclegan.io import files

pytestmark = pytest.mark.slow

IMPORT = "import-weights --AtoB net.pth --BtoA net.pth"
# What each command writes, a line that writes it, and what the former and the new result are made with.
COMMANDS = {
    "fetch": ("out", "fetch {} --out out", "raw", "raw2"),
    "preprocess": ("out", "preprocess raw --out out --workers 1 --load-size {}", "16", "24"),
    "import-weights": (
        "out",
        "import-weights --AtoB net.pth --BtoA net.pth --out out --image-size {}",
        "16",
        "32",
    ),
    "register": ("out.json", "register --model model --scores scores --out out.json --name {}", "old", "new"),
    "export": ("out", "export {} --out out --format pt2 --direction AtoB", "model", "model2"),
}


def start(line: str, here: Path, kill_at: int = 0) -> int:
    """Run a command in a process of its own, which kills itself at its n-th change of a file; returns its id.

    Without `kill_at` the number of changes is written to the file `changes`.
    """
    child = os.fork()
    if child:
        return child
    code, changes = 1, 0

    def note(event: str, args: tuple[object, ...]) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        changing = writes or event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}
        if changing and str(here) in os.path.abspath(str(args[0])):  # noqa: PTH100
            changes += 1
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        torch.set_num_threads(1)
        sys.addaudithook(note)
        code = main(line.split())
        total = changes
        if not kill_at:
            (here / "changes").write_text(str(total))
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """The exit code of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(path: Path) -> dict[str, str]:
    """Digest by path of a file, or of all files of a folder."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in found
        if one.is_file()
    }


def partial(here: Path) -> list[str]:
    return [path.name for path in here.rglob("*") if path.name.endswith(files.PARTIAL)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_leaves_the_former_result_or_the_new_one(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GRACE_SECONDS", 0.0)
    name, line, former_by, new_by = COMMANDS[command]
    shutil.copytree("model", "model2")
    shutil.copytree("raw", "raw2")
    (here / "raw2" / "trainA" / "0.png").unlink()
    assert ended(start(line.format(new_by), here)) == 0
    new, changes = content(here / name), int((here / "changes").read_text())
    assert changes >= 2
    assert ended(start(line.format(former_by), here)) == 0
    former = content(here / name)
    outcomes = []
    for share in (0.3, 1.0) if command == "export" else (0.05, 0.3, 0.6, 0.9, 1.0):
        outcomes.append(ended(start(line.format(new_by), here, kill_at=max(1, round(changes * share)))))
        found = content(here / name)
        if command == "export":  # each file is whole by itself, and says when it was made
            assert found.keys() == new.keys()
        else:
            assert found in (former, new)
    assert -signal.SIGKILL in outcomes
    assert ended(start(line.format(former_by), here)) == 0
    assert ended(start(line.format(new_by), here)) == 0
    assert command == "export" or content(here / name) == new
    assert not partial(here)


def test_of_two_writers_one_is_killed_and_the_other_writes_a_whole_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GRACE_SECONDS", 0.0)
    line = "preprocess raw --out out --load-size 24 --workers 1"
    assert ended(start(line, here)) == 0
    changes, whole = int((here / "changes").read_text()), content(here / "out")
    for at in (changes // 3, changes // 2, changes - 1):
        for path in (here / "out").iterdir():
            path.unlink()
        (here / "out").rmdir()
        killed = start(line, here, kill_at=at)
        time.sleep(0.05)
        other = start(line, here)
        assert ended(killed) in {-signal.SIGKILL, 0}
        assert ended(other) == 0
        assert content(here / "out") == whole
    assert ended(start(line, here)) == 0
