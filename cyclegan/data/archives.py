"""zip and tar archives: unpack the images of one without trusting it, and pack a folder into one."""

from __future__ import annotations

import logging
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from cyclegan.data.layout import is_image, list_files
from cyclegan.data.version import file_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.files import atomic_file

logger = logging.getLogger(__name__)

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BLOCK = 1 << 20
# Encoded images hardly shrink; an archive that grows more than this, after a first allowance, is a bomb.
MAX_RATIO = 200
ALLOWANCE = 256 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may become."""

    max_bytes: int = 100 << 30
    max_files: int = 2_000_000


def is_archive(name: str) -> bool:
    """Whether a path or URI ends as a zip or tar archive does."""
    return name.lower().endswith(SUFFIXES)


def safe_name(name: str) -> str | None:
    """A member's name as a relative POSIX path that stays below the target, or None if it points elsewhere.

    Bytes that are no UTF-8 are read as Latin-1; control characters become '_'.
    """
    text = name.replace("\\", "/")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogateescape").decode("latin-1")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "_", text)
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", text):
        return None
    return path.as_posix()


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None) -> list[str]:
    """Unpack the regular files of an archive that are images by name into `folder`, an existing empty one.

    Returns the names of all regular members. Nothing is ever written outside `folder`, and links are not
    made. Raises CycleGANError, naming the archive and the member, for names that lead outside, two different
    files of one name, more than `limits` allows or than the archive's size makes credible, an encrypted or
    damaged archive.
    """
    limits = limits or Limits()
    names: list[str] = []
    budget = _Budget(archive, limits)
    try:
        with _members(archive) as members:
            for name, size, content in tqdm(
                members, desc=f"unpack {archive.name}", unit="file", disable=None
            ):
                budget.member()
                safe = safe_name(name)
                if safe is None:
                    raise CycleGANError(f"{archive}: the member {name!r} leads outside its folder.")
                if content is None:
                    logger.info("%s: %r is a link or device and left aside", archive.name, name)
                    continue
                names.append(safe)
                if is_image(safe):
                    budget.declare(size)
                    _write(content, folder / safe, f"{archive}: {name!r}", budget)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise CycleGANError(f"{archive} is damaged or incomplete: {_short(error)}.") from None
    except (ValueError, IndexError, KeyError, OverflowError, AttributeError, TypeError) as error:
        raise CycleGANError(f"{archive} is damaged: {_short(error)}.") from None
    except OSError as error:
        if error.errno is None:  # lzma, bz2 and gzip report damage so
            raise CycleGANError(f"{archive} is damaged or incomplete: {_short(error)}.") from None
        raise CycleGANError(f"Cannot unpack {archive}: {error.strerror}.") from None
    return names


class _Budget:
    """Counts members and bytes, both as declared and as they really come."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self.archive, self.limits = archive, limits
        self.credible = ALLOWANCE + MAX_RATIO * archive.stat().st_size
        self.files = self.declared = self.written = 0

    def member(self) -> None:
        self.files += 1
        if self.files > self.limits.max_files:
            raise CycleGANError(f"{self.archive} has more than {self.limits.max_files} members.")

    def declare(self, size: int) -> None:
        self.declared += size
        self._check(self.declared)

    def wrote(self, size: int) -> None:
        self.written += size
        self._check(self.written)

    def _check(self, size: int) -> None:
        if size > self.limits.max_bytes:
            raise CycleGANError(f"{self.archive} unpacks to more than {self.limits.max_bytes} bytes.")
        if size > self.credible:
            raise CycleGANError(f"{self.archive} unpacks to over {MAX_RATIO} times its size: a bomb?")


Member = tuple[str, int, "IO[bytes] | None"]


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    """Each member but folders: name, declared size, and its content (None for links and devices)."""
    with archive.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
        return
    try:
        with tarfile.open(archive, "r:*", errors="surrogateescape") as opened_tar:
            yield _tar_members(opened_tar)
    except tarfile.ReadError as error:
        raise CycleGANError(f"{archive} is no whole zip or tar archive: {_short(error)}.") from None


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        if info.is_dir():
            continue
        if mode and not (stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0):
            yield info.filename, 0, None
            continue
        with opened.open(info) as content:
            yield info.filename, info.file_size, content


def _tar_members(opened: tarfile.TarFile) -> Iterator[Member]:
    for member in opened:
        if member.isdir():
            continue
        content = opened.extractfile(member) if member.isreg() else None
        yield member.name, member.size, content


def _write(content: IO[bytes], path: Path, what: str, budget: _Budget) -> None:
    """Copy a member to `path`; the same file twice is fine, another of the same name is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise CycleGANError(f"{what} is a file and a folder at once.")
    again = path.exists()
    target = path.with_name(f".again.{os.getpid()}") if again else path
    with target.open("wb") as file:
        while block := content.read(BLOCK):
            budget.wrote(len(block))
            file.write(block)
    if again:
        same = file_md5(target) == file_md5(path)
        target.unlink()
        if not same:
            raise CycleGANError(f"{what} is there twice with different content.")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def pack_zip(folder: Path, path: Path) -> None:
    """Write all files below `folder` into one stored (uncompressed) zip; the same files give the same bytes.

    Raises UsageError if `folder` is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in list_files(folder):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.create_system = 3
            with (folder / name).open("rb") as source:
                info.file_size = os.fstat(source.fileno()).st_size
                with archive.open(info, "w") as target:
                    while block := source.read(BLOCK):
                        target.write(block)


def unpack_zip(path: Path, folder: Path) -> None:
    """Unpack what `pack_zip` wrote: every regular file, source.json included, into the new folder `folder`.

    Raises CycleGANError as `unpack` does.
    """
    unpack_all = Limits()
    folder.mkdir(parents=True, exist_ok=True)
    budget = _Budget(path, unpack_all)
    try:
        with zipfile.ZipFile(path) as opened:
            for name, size, content in _zip_members(opened):
                budget.member()
                safe = safe_name(name)
                if safe is None or content is None:
                    raise CycleGANError(f"{path}: the member {name!r} is no plain file below the folder.")
                budget.declare(size)
                _write(content, folder / safe, f"{path}: {name!r}", budget)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CycleGANError(f"{path} is damaged or incomplete: {_short(error)}.") from None
