from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cyclegan.errors import UsageError
from cyclegan.io import files
from cyclegan.io.files import atomic_dir, atomic_file, guard_folder, read_json, sha256, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_a_folder_replaces_a_filled_folder(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for content in ("former", "new"):
        with atomic_dir(target) as temporary:
            (temporary / content).touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), atomic_dir(target) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_durable_folder_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a file that was renamed and not flushed is there, and empty."""
    target, flushed = tmp_path / "d", []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        assert not target.exists()
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_dir(target, durable=True) as temporary:
        (temporary / "within").mkdir()
        for name in ("a", "within/b"):
            (temporary / name).write_text(name)
    inodes = {name: (target / name).stat().st_ino for name in ("a", "within/b", "within", "")}
    assert sorted(flushed) == sorted(inodes.values())
    assert flushed.index(inodes["within/b"]) < flushed.index(inodes["within"]) < flushed.index(inodes[""])
    with atomic_dir(tmp_path / "other") as temporary:
        (temporary / "a").touch()
    assert len(flushed) == 4


def test_a_file_system_that_cannot_flush_folders_takes_durable_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unable)
    with atomic_dir(tmp_path / "d", durable=True) as temporary:
        (temporary / "a").touch()
    assert (tmp_path / "d" / "a").exists()


def test_the_former_folder_returns_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "d"
    with atomic_dir(target) as temporary:
        (temporary / "former").touch()
    real = Path.rename

    def fail_once(self: Path, to: Path) -> Path:
        if Path(to) == target and not self.name.endswith(".former.partial"):
            raise OSError(errno.EIO, "broken disk")
        return real(self, to)

    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="broken disk"), atomic_dir(target) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in target.iterdir()] == ["former"]


@pytest.mark.parametrize("write", [atomic_file, atomic_dir])
def test_a_full_disk_is_reported_with_the_name_of_what_was_written(tmp_path: Path, write) -> None:
    with pytest.raises(OSError, match="No space") as full, write(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "x")
    with pytest.raises(OSError, match="elsewhere") as named, write(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")
    assert named.value.filename == "elsewhere"
    with pytest.raises(ConnectionError) as other, write(tmp_path / "x"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    assert other.value.filename is None


@pytest.mark.parametrize("write", [atomic_file, atomic_dir])
def test_what_could_not_be_written_is_called_by_its_own_name(tmp_path: Path, write) -> None:
    with pytest.raises(OSError, match="not allowed") as inside, write(tmp_path / "x") as temporary:
        raise PermissionError(errno.EPERM, "not allowed", str(temporary / "AtoB.safetensors"))
    assert inside.value.filename == str(tmp_path / "x" / "AtoB.safetensors")
    (tmp_path / "folder" / "filled").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as taken, atomic_file(tmp_path / "folder") as temporary:
        temporary.touch()
    assert taken.value.filename == str(tmp_path / "folder") and taken.value.filename2 is None
    with pytest.raises(OSError, match="bad") as numbered, write(tmp_path / "x"):
        raise OSError(errno.EBADF, "bad", 7)  # an open file's number
    assert numbered.value.filename == 7


@pytest.mark.parametrize("text", ["1e999", "[NaN]", '"\\ud800"', "[" * 100_000, "9" * 5000, "\x00"])
def test_json_that_cannot_be_written_again_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "x.json")


def test_json_refuses_what_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    write_json(path, {"fid": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"fid": float("nan")})
    assert read_json(path) == {"fid": 1.5}


@pytest.mark.parametrize(
    ("there", "ours", "mark", "named"),
    [
        ([], (), "", ""),
        (["scores.json", ".gitignore"], ("scores.json",), "", ""),
        (["scores.json", ".DS_Store", "Thumbs.db"], ("scores.json",), "", ""),
        (["scores.json", "thesis.tex", "letter.tex"], ("scores.json",), "", "letter.tex"),
        ([".git"], ("scores.json",), "", ".git"),
        (["trainA.npy", "manifest.json"], (), "manifest.json", ""),
        (["trainA.npy"], (), "manifest.json", "trainA.npy"),
    ],
)
def test_only_a_former_result_is_replaced(
    tmp_path: Path, there: list[str], ours: tuple[str, ...], mark: str, named: str
) -> None:
    for name in there:
        (tmp_path / name).touch()
    if not named:
        guard_folder(tmp_path, "the scores", ours, mark=mark)
        return
    with pytest.raises(UsageError, match=f"other files \\('{named}'\\) .* a new folder for the scores"):
        guard_folder(tmp_path, "the scores", ours, mark=mark)
    with pytest.raises(UsageError, match="is a file"):
        guard_folder(tmp_path / there[0], "the scores", ours, mark=mark)


def test_sha256_of_the_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_two_writers_and_a_reader_always_have_a_whole_folder(tmp_path):
    """Writers of the same folder win one after the other; no reader ever finds it missing or mixed."""
    place, stop, torn = tmp_path / "model", threading.Event(), []

    def write(mark: str) -> None:
        for _ in range(150):
            with atomic_dir(place) as folder:
                (folder / "a").write_text(mark)
                (folder / "b").write_text(mark)

    def read() -> None:
        while not stop.is_set():
            try:
                descriptor = os.open(place, os.O_RDONLY)
            except FileNotFoundError as error:
                torn.append(error)
                continue
            os.close(descriptor)

    write("first")
    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["x", "y"]))
    stop.set()
    reader.join()
    assert (place / "a").read_text() == (place / "b").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    if sys.platform == "linux":
        assert not torn


def test_writers_do_not_collide_where_folders_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)

    def write(mark: str) -> None:
        for _ in range(100):
            with atomic_dir(tmp_path / "model") as folder:
                (folder / "a").write_text(mark)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, "xyz"))
    assert (tmp_path / "model" / "a").read_text() in "xyz"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


KILLED = """
import os, signal, sys
from pathlib import Path
from cyclegan.io.files import atomic_dir, atomic_file
with atomic_dir(Path(sys.argv[1])) as folder, atomic_file(Path(sys.argv[2])) as file:
    (folder / "half").write_text("x")
    file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_writers_left_is_removed_by_the_next_and_what_others_write_is_not(tmp_path, monkeypatch):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path / "model", tmp_path / "file.json"])
    mine = tmp_path / ".notes.partially.txt"
    mine.write_text("not ours")
    assert len(list(tmp_path.iterdir())) == 5
    monkeypatch.setattr(files, "GRACE_SECONDS", 0.0)
    files._cleaned.discard(tmp_path)
    with atomic_dir(tmp_path / "other") as busy:
        files._cleaned.discard(tmp_path)
        with atomic_file(tmp_path / "file.json") as file:
            file.write_text("{}")
        assert busy.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"file.json", "other", mine.name}


def test_leftovers_are_looked_for_in_each_folder_that_a_relative_path_means(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GRACE_SECONDS", 0.0)
    for name in ("one", "two"):
        here = tmp_path / name
        here.mkdir()
        monkeypatch.chdir(here)
        subprocess.run([sys.executable, "-c", KILLED, "model", "file.json"])
        assert len(list(here.iterdir())) == 2
        with atomic_file(Path("file.json")) as file:
            file.write_text("{}")
        assert [path.name for path in here.iterdir()] == ["file.json"]
