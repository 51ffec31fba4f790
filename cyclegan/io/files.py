"""Writing so that no reader ever sees half a result: write to a temporary name, then rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from cyclegan.errors import UsageError

PARTIAL = ".partial"  # how the names of what is still being written end
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in folders that they show."""
NOBODYS = (".nfs", ".ipynb_checkpoints")
"""How names begin of what NFS leaves of deleted files that were open, and notebooks beside themselves."""
GRACE_SECONDS = 2.0  # between making a temporary name and locking it
RENAME_EXCHANGE = 2
ATTEMPTS = 20
# What a write to an open file can fail with.
_OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})

_cleaned: set[Path] = set()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes `path`'s place, on failure it vanishes.

    What a killed process left there is removed by the next one that writes in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    temporary = Path(name)
    try:
        _lock(descriptor)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        _name(error, temporary, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def atomic_dir(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it takes `path`'s place.

    On Linux the two folders are exchanged in one system call: a reader always finds one of them, whole, and
    of several writers the last one wins. Elsewhere, and on file systems that cannot exchange, the former
    folder is moved aside first: between the two renames a reader finds none.

    `durable` waits until all files are on the disk, so that after a power cut one of the folders is whole
    too. That takes about a millisecond a file, too much for thousands that can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL))
    descriptor = _open_folder(temporary)
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if durable:
            for entry in sorted(temporary.rglob("*"), reverse=True):  # what is in a folder before itself
                _flush(entry)
            _flush(temporary)
        _take_place(temporary, path)
    except OSError as error:
        _name(error, temporary, path)
        raise
    finally:
        _remove(temporary)
        if descriptor is not None:
            os.close(descriptor)


def _flush(path: Path) -> None:
    """Wait until a file is on the disk, or the names in a folder where the system can do that."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(error: OSError, temporary: Path, path: Path) -> None:
    """Say which file or folder could not be written, by the name that it was to have in the end."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | Path) else ""
    if named.startswith(str(temporary)):
        error.filename, error.filename2 = str(path) + named.removeprefix(str(temporary)), None
    elif error.errno in _OF_DISKS and error.filename is None:  # the system names none where a disk is full
        error.filename = str(path)


def _take_place(temporary: Path, path: Path) -> None:
    """Make `temporary` be `path`; what was there before is removed, or is `temporary` afterwards."""
    for attempt in range(ATTEMPTS):
        try:
            if not os.path.lexists(path):
                temporary.rename(path)
            elif not _exchange(temporary, path):
                former = temporary.with_name(temporary.name.removesuffix(PARTIAL) + ".former" + PARTIAL)
                path.rename(former)
                try:
                    temporary.rename(path)
                except OSError:
                    if not os.path.lexists(path):
                        former.rename(path)
                    raise
                finally:
                    _remove(former)
            return
        except OSError as error:  # another writer has made or taken away the folder meanwhile
            raced = error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}
            if not raced or attempt == ATTEMPTS - 1 or not temporary.exists():
                raise


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step; False where system or file system can't."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here = -100  # AT_FDCWD
    if renameat2(here, os.fsencode(a), here, os.fsencode(b), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.ENOENT:
        raise OSError(code, os.strerror(code), str(b))
    return False


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed were writing in `folder`; looked for once a process and folder.

    Whoever writes holds a lock, which ends with the process however that ends. Where there are no locks,
    nothing is removed.
    """
    folder = folder.absolute()  # a relative path means another folder once the process has moved
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    for left in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < GRACE_SECONDS:
                continue
            descriptor = os.open(left, os.O_RDONLY)
            try:
                if _lock(descriptor):
                    _remove(left)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # Windows; another process's; a file system without locks
        return False
    return True


def _open_folder(folder: Path) -> int | None:
    """The folder opened and locked; None where folders can't be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    _lock(descriptor)
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask; where the system tells it, without changing it under other threads."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; nan and infinity raise ValueError."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file whose content `write_json` can write again.

    Numbers that are not finite, which Python's parser takes, raise ValueError, as do a deep nest and text
    that is not Unicode (half of a surrogate pair).
    """
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """The value of a JSON text; raises ValueError as `read_json` does."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # 1e999 is infinity to the parser
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def refuse_newer(content: Any, known: int, what: str, remedy: str = "") -> None:
    """Raise UsageError if the `format` in the content of `what` is newer than `known`.

    Content without that number is for its reader to judge. `remedy` is what helps besides an update.
    """
    format = content.get("format") if isinstance(content, dict) else None
    if isinstance(format, int) and format > known:
        raise UsageError(
            f"{what} has format {format} and this version reads up to {known}: update "
            f"cyclegan-pipeline{remedy and ', or '}{remedy}."
        )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def is_file(path: Path) -> bool:
    """Whether there is a file; False also for what cannot be a file's name, such as one too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_dir(path: Path) -> bool:
    """Whether there is a folder; False also for what cannot be a folder's name."""
    try:
        return path.is_dir()
    except OSError:
        return False


def guard_folder(out: Path, what: str, ours: Collection[str], *, mark: str = "") -> None:
    """Refuse to replace anything but a former result, an empty folder or nothing.

    A former result holds only files and folders named in `ours`, or also the file `mark`, which nobody else
    writes. Raises UsageError otherwise; `what` names the result in it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a folder for {what}.")
    found = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    others = found - {*ours, ".gitignore", *LITTER}  # DVC writes a .gitignore beside its outputs
    others = {name for name in others if not name.startswith(NOBODYS)}
    if others and mark not in found:
        raise UsageError(
            f"{out} holds other files ('{min(others)}') and would be replaced: name a new folder for {what}."
        )


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
