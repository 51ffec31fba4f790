"""A data version out of a DVC remote by its MD5 alone: no git, no repository, no DVC installed.

A remote holds every file under its MD5, `files/md5/ab/cdef…` (DVC 3) or `ab/cdef…` (DVC 2), and for a folder
the object `….dir`, the JSON list of its files' paths and MD5 sums.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from cyclegan.data.fetch.archives import safe_name
from cyclegan.data.version import file_md5
from cyclegan.errors import CycleGANError
from cyclegan.io.download import RetryPolicy, download
from cyclegan.io.files import read_json
from cyclegan.io.storage import open_store
from cyclegan.io.store import NotFound
from cyclegan.io.uri import redact

DVC_2 = ""
PREFIXES = ("files/md5/", DVC_2)
TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"


class NoSuchVersion(CycleGANError):
    """A remote that holds no such version."""


class Reader(Protocol):
    """Where objects come from: a store, or a web server."""

    def get(self, key: str, path: Path) -> None:
        """Write the object `key` to `path`; raises NotFound where the remote has none."""


class _WebReader:
    def __init__(self, url: str, patience: RetryPolicy) -> None:
        self.url, self.patience = url.rstrip("/"), patience

    def get(self, key: str, path: Path) -> None:
        download(f"{self.url}/{key}", path, self.patience)


def open_remote(uri: str, patience: RetryPolicy) -> Reader:
    """A DVC remote in a folder, under s3:// or behind http(s)://."""
    if uri.startswith(("http://", "https://")):
        return _WebReader(uri, patience)
    return open_store(uri)


def has_version(folder: Path, version: str) -> bool:
    """Whether a local folder is a DVC remote that holds this version."""
    return any((folder / (prefix + _key(version))).is_file() for prefix in PREFIXES)


def get_version(
    uri: str, version: str, folder: Path, *, workers: int, patience: RetryPolicy
) -> tuple[list[str], bool]:
    """Write the files of a folder's version below `folder`, every one checked against its MD5.

    Returns their relative POSIX paths, and whether all have that MD5 byte by byte: DVC 2 took it of text
    files as if their lines ended as on Unix. Raises CycleGANError, naming the remote, when the version is
    damaged or names a file outside the folder, NoSuchVersion when it is not there.
    """
    reader, name = open_remote(uri, patience), redact(uri)
    listing_file = folder / ".listing"
    prefix = _find(reader, name, version, listing_file)
    entries = _read_listing(listing_file, f"{name}: version {version}")
    listing_file.unlink()
    # the same content under several names is one object
    by_md5: dict[str, list[Path]] = {}
    for path, md5 in entries.items():
        by_md5.setdefault(md5, []).append(folder / path)

    inexact: list[str] = []

    def get(md5: str) -> None:
        for path in by_md5[md5]:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _get_checked(reader, name, prefix, md5, path):
                inexact.append(md5)

    in_parallel(get, list(by_md5), workers, f"version {version[:8]}")
    return list(entries), not inexact


def get_file(uri: str, version: str, path: Path, *, patience: RetryPolicy) -> None:
    """Write the single file of this MD5 to `path`. Raises CycleGANError as `get_version` does."""
    _find(open_remote(uri, patience), redact(uri), version, path)


def in_parallel(action: Callable[[Any], None], items: Sequence[Any], workers: int, what: str) -> None:
    """Do `action` for every item in threads; the first failure ends it and is raised."""
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(items), desc=what, unit="file", disable=None) as bar,
    ):
        futures: list[Future[None]] = [pool.submit(action, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _key(md5: str) -> str:
    return f"{md5[:2]}/{md5[2:]}"


def _find(reader: Reader, name: str, version: str, path: Path) -> str:
    """Get the version's own object, and learn under which prefix this remote keeps its objects."""
    for prefix in PREFIXES:
        try:
            _get_checked(reader, name, prefix, version, path)
            return prefix
        except NotFound:
            continue
    raise NoSuchVersion(
        f"{name} does not hold the data version {version}: is it the right remote, and was `dvc push` run?"
    )


def _get_checked(reader: Reader, name: str, prefix: str, md5: str, path: Path) -> bool:
    """Get an object; returns whether it has its MD5 as it is, and not only with the line ends of Unix."""
    key = prefix + _key(md5)
    for _ in range(2):  # a transfer can go wrong once; an object that is wrong twice is wrong in the remote
        reader.get(key, path)
        if file_md5(path) == md5.removesuffix(".dir"):
            return True
        if prefix == DVC_2 and md5_of_text(path) == md5:
            return False
    raise CycleGANError(f"{name}: the object {key} is damaged, its content has another MD5.")


def md5_of_text(path: Path) -> str:
    """DVC 2's MD5 of a file: of what looks like text, with every CR LF read as LF."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            start = chunk[:512]
            text = b"\0" not in start and len(start.translate(None, TEXT)) <= 0.3 * len(start)
            digest.update(chunk.replace(b"\r\n", b"\n") if text else chunk)
    return digest.hexdigest()


def _read_listing(path: Path, what: str) -> dict[str, str]:
    """{relative path: MD5} of a `.dir` object."""
    try:
        listing = read_json(path)
        entries = {str(entry["relpath"]): str(entry["md5"]) for entry in listing}
    except (ValueError, KeyError, TypeError):
        raise CycleGANError(f"{what} is not a folder listing.") from None
    for relative, md5 in entries.items():
        if safe_name(relative) != relative or not re.fullmatch(r"[0-9a-f]{32}", md5):
            raise CycleGANError(f"{what} names the file {relative!r}, which leads outside the folder.")
    return entries
