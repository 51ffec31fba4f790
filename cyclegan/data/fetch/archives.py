"""zip and tar archives: unpack the images of one without trusting it, and pack a folder into one."""

from __future__ import annotations

import errno
import logging
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from tqdm import tqdm

from cyclegan.data.layout.files import is_image, list_files
from cyclegan.data.version import file_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file

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

    Bytes that are not UTF-8 are read as Latin-1; control characters become '_'.
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


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None, where: str = "") -> list[str]:
    """Unpack the regular files of an archive that are images by name into `folder`, an existing empty one.

    Returns the names of all regular members. Nothing is ever written outside `folder`, and links are not
    made. Raises CycleGANError, naming `where` (by default the archive) and the member, for names that lead
    outside, two different files of one name, more than `limits` allows or than the archive's size makes
    credible, an encrypted or damaged archive, and a full disk.
    """
    where = where or str(archive)
    names: list[str] = []
    links = 0
    with _failing(where):
        budget = _Budget(where, archive.stat().st_size, limits or Limits())
        with _members(archive, folder, where) as members:
            bar = tqdm(members, desc=f"unpack {where.rpartition('/')[2]}", unit="file", disable=None)
            for name, size, content in bar:
                budget.member()
                safe = safe_name(name)
                if safe is None:
                    raise CycleGANError(f"{where}: the member {name!r} leads outside its folder.")
                budget.declare(size)  # a compressed tar is unpacked as a whole, whatever is taken out of it
                if content is None:
                    links += 1
                    continue
                names.append(safe)
                if is_image(safe):
                    _write(content, folder / safe, f"{where}: {name!r}", budget)
    if links:
        logger.info("%s: ignored %d links or devices", where, links)
    return names


@contextmanager
def _failing(where: str) -> Iterator[None]:
    """Turn what zipfile, tarfile and the decompressors raise on damaged input into one sentence."""
    damage = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error)
    confused = (NotImplementedError, RuntimeError, ValueError, LookupError, ArithmeticError, AttributeError)
    try:
        yield
    except (*damage, *confused, TypeError, MemoryError) as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise CycleGANError(f"{where} is damaged or incomplete ({text}).") from None
    except OSError as error:
        if error.errno in {None, errno.EINVAL}:  # gzip and bz2 report damage so; seeking before the start too
            raise CycleGANError(f"{where} is damaged or incomplete ({error}).") from None
        raise CycleGANError(f"Cannot unpack {where}: {error.strerror}.") from None


class _Budget:
    """Counts members and bytes, both as declared and as they really come."""

    def __init__(self, where: str, packed: int, limits: Limits) -> None:
        self.where, self.limits = where, limits
        self.credible = ALLOWANCE + MAX_RATIO * packed
        self.files = self.declared = self.written = 0

    def member(self) -> None:
        self.files += 1
        if self.files > self.limits.max_files:
            raise CycleGANError(f"{self.where} has more than {self.limits.max_files} members.")

    def declare(self, size: int) -> None:
        self.declared += size
        self._check(self.declared)

    def wrote(self, size: int) -> None:
        self.written += size
        self._check(self.written)

    def _check(self, size: int) -> None:
        if size > self.limits.max_bytes:
            raise CycleGANError(f"{self.where} unpacks to more than {self.limits.max_bytes} bytes.")
        if size > self.credible:
            raise CycleGANError(
                f"{self.where} unpacks to more than {MAX_RATIO} times its size: "
                "refused as a decompression bomb."
            )


_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}

Member = tuple[str, int, "IO[bytes] | None"]


@contextmanager
def _members(archive: Path, folder: Path, where: str) -> Iterator[Iterator[Member]]:
    """Each member but folders: name, declared size, and its content (None for links and devices)."""
    with archive.open("rb") as file:
        start = file.read(8)
    for magic, kind in _FOREIGN.items():
        if start.startswith(magic):
            raise CycleGANError(f"{where} is a {kind} archive: unpack it and pass the folder.")
    if start[:2] == b"PK" or (start[:2] in {b"MZ", b"\x7fE", b"#!"} and zipfile.is_zipfile(archive)):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened, where)
        return
    with tarfile.open(archive, "r:*", errors="surrogateescape", tarinfo=_TarInfo) as opened_tar:
        yield _tar_members(opened_tar, folder, where)
        # to the end, where a compressed archive keeps its checksum
        while opened_tar.fileobj and opened_tar.fileobj.read(BLOCK):
            pass


class _TarInfo(tarfile.TarInfo):
    """Headers that are taken seriously.

    tarfile takes a damaged or missing header for the end of the archive, and says nothing; and it reads long
    names and extended headers into memory whatever their size.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends too early")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # a block of zeros is the true end
                raise tarfile.ReadError("a damaged header") from error
            raise
        if header.type in _HEADERS and header.size > BLOCK:
            raise tarfile.ReadError("a header of more than 1 MiB")
        return header


_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def _zip_members(opened: zipfile.ZipFile, where: str) -> Iterator[Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        if info.is_dir():
            continue
        if mode and not (stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0):
            yield info.filename, 0, None
            continue
        if info.flag_bits & 1:
            raise CycleGANError(f"{where} is encrypted: unpack it with its password and pass the folder.")
        if info.compress_type not in _METHODS:
            method = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 99: "AES"}.get(
                info.compress_type, f"method {info.compress_type}"
            )
            raise CycleGANError(f"{where} is compressed by {method}: unpack it and pass the folder.")
        with opened.open(info) as content:
            yield info.filename, info.file_size, content


def _tar_members(opened: tarfile.TarFile, folder: Path, where: str) -> Iterator[Member]:
    for member in opened:
        if member.isdir():
            continue
        if not member.isreg():
            yield member.name, member.size, None
            continue
        _filter(member, folder, where)
        yield member.name, member.size, opened.extractfile(member)


def _filter(member: tarfile.TarInfo, folder: Path, where: str) -> None:
    """Let tarfile refuse a file that would be written outside `folder`, also through a link that is there.

    The filter only strips what makes a name absolute, so names are checked by `safe_name` before it. Python
    before 3.11.4 has no filter.
    """
    safe = safe_name(member.name)
    if safe is None or not hasattr(tarfile, "data_filter"):
        return
    try:
        tarfile.data_filter(member.replace(name=safe, deep=False), os.fspath(folder))
    except tarfile.FilterError:
        raise CycleGANError(f"{where}: the member {member.name!r} leads outside its folder.") from None
    except OSError:  # a name too long, which only matters where the file is written
        pass


def _write(content: IO[bytes], path: Path, what: str, budget: _Budget) -> None:
    """Copy a member to `path`; the same file twice is fine, another of the same name is an error."""
    again = path.is_file()
    target = path.with_name(".again") if again else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("wb")
    except OSError as error:  # a name too long, or one that is a file here and a folder there
        raise CycleGANError(f"{what} cannot be written: {error.strerror}.") from None
    with file:
        while block := content.read(BLOCK):
            budget.wrote(len(block))
            file.write(block)
    if again:
        same = file_md5(target) == file_md5(path)
        target.unlink()
        if not same:
            raise CycleGANError(f"{what} occurs twice with different content.")


def pack_zip(folder: Path, path: Path) -> None:
    """Write all files below `folder` into one stored (uncompressed) zip; the same files give the same bytes.

    Raises UsageError if `folder` is not a folder.
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
    folder.mkdir(parents=True, exist_ok=True)
    with _failing(str(path)):
        budget = _Budget(str(path), path.stat().st_size, Limits())
        with zipfile.ZipFile(path) as opened:
            for name, size, content in _zip_members(opened, str(path)):
                budget.member()
                safe = safe_name(name)
                if safe is None or content is None:
                    raise CycleGANError(f"{path}: the member {name!r} is not a plain file below the folder.")
                budget.declare(size)
                _write(content, folder / safe, f"{path}: {name!r}", budget)
