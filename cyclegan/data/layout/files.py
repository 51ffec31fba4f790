"""The files of a folder, and which of them are images."""

from __future__ import annotations

import errno
import os
import posixpath
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Literal

from cyclegan.errors import CycleGANError

SUBSETS = ("trainA", "trainB", "testA", "testB")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"}
    | {".heic", ".heif", ".ppm", ".pgm", ".pnm"}
)


def is_image(name: str) -> bool:
    """Whether a relative POSIX path is an image by its suffix and lies below nothing hidden."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Hidden files and folders, and what macOS leaves in archives (`._1.jpg`, `__MACOSX`)."""
    return any(part.startswith(".") or part.upper() == "__MACOSX" for part in name.split("/"))


def list_files(folder: Path, leave_out: Path | None = None) -> list[str]:
    """All files below `folder` as sorted relative POSIX paths; linked folders are followed, once.

    Pipes, sockets and devices are none: reading one may never end. A link that leads nowhere is one, for
    whoever reads it to name. The folder `leave_out` is skipped where it is one of those below. Raises
    CycleGANError for a folder that cannot be read: its images would be missing without a word.
    """
    names: list[str] = []
    seen = {path.resolve() for path in (folder, leave_out) if path}
    waiting = [(folder, "")]
    while waiting:
        parent, below = waiting.pop()
        inside = []
        for entry in _entries(parent):
            kind = _kind(entry)
            if kind == "file":
                names.append(f"{below}{entry.name}")
            elif kind == "folder" and (real := Path(entry.path).resolve()) not in seen:
                seen.add(real)
                inside.append((Path(entry.path), f"{below}{entry.name}/"))
        waiting += reversed(inside)
    return sorted(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name: of several links to one folder, the same is followed on every machine."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        # disks have folders that root alone can read, and images are in none of them
        if is_hidden(folder.name) or folder.name in {"lost+found", "System Volume Information"}:
            return []
        raise CycleGANError(f"Cannot read {folder}: {error.strerror}.") from None


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "other"]:
    """What an entry is, or what it links to; a link that leads to itself is neither file nor folder."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError as error:
        return "other" if error.errno == errno.ELOOP else "file"
    return "other"


def count_suffixes(names: Collection[str]) -> str:
    """The five most frequent suffixes in words: `12 .txt, 1 .json`."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
