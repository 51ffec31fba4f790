"""The version of a data folder: the hash under which DVC knows it, computed without DVC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from cyclegan.data.ignored import ignoring
from cyclegan.data.layout.files import list_files
from cyclegan.errors import CycleGANError, UsageError

SOURCE_FILE = "source.json"


def version_of(md5s: Mapping[str, str]) -> str:
    """The version of a folder whose files (POSIX paths relative to it) have these MD5 sums.

    As DVC defines it: the MD5 of the JSON list of {md5, relpath}, sorted by relpath, with the ending `.dir`.
    """
    listing = [{"md5": md5s[name], "relpath": name} for name in sorted(md5s)]
    text = json.dumps(listing, sort_keys=True)
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest() + ".dir"


def versioned_files(folder: Path, at: Path | None = None) -> list[str]:
    """The files that the version covers, as sorted relative POSIX paths.

    That is all but `source.json` on the top and what DVC ignores; `at` is where the folder will be, if that
    is elsewhere.
    """
    ignored = ignoring(at or folder)
    return [name for name in list_files(folder) if name != SOURCE_FILE and not ignored(name)]


def file_md5(path: Path) -> str:
    """The file's MD5 as 32 hexadecimal digits. Raises CycleGANError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise CycleGANError(f"Cannot read {path}: {error.strerror}.") from None


def file_md5s(folder: Path, at: Path | None = None) -> dict[str, str]:
    """The MD5 of each of a folder's `versioned_files`. Raises UsageError if `folder` is not a folder."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    return {name: file_md5(folder / name) for name in versioned_files(folder, at)}


def directory_md5(folder: Path, at: Path | None = None) -> str:
    """DVC's MD5 of a folder, '<32 hex>.dir', of its `versioned_files`.

    Raises UsageError if `folder` is not a folder.
    """
    return version_of(file_md5s(folder, at))
