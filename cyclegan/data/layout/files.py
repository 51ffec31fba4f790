"""The files of a folder, and which of them are images."""

from __future__ import annotations

import errno
import os
import posixpath
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

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

    The folder `leave_out` is passed over where it is one of those below. Raises CycleGANError for a folder
    that cannot be read: its images would be missing without a word.
    """
    names: list[str] = []
    seen = {path.resolve() for path in (folder, leave_out) if path}
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        kept = []
        for name in sorted(folders):
            try:
                real = (Path(parent) / name).resolve()
            except (OSError, RuntimeError):  # a link that leads to itself
                continue
            if real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        below = "" if parent == str(folder) else f"{Path(parent).relative_to(folder).as_posix()}/"
        names += [f"{below}{file}" for file in files if not _loops(f"{parent}/{file}")]
    return sorted(names)


def _refuse(error: OSError) -> None:
    # the root of a disk has a folder that root alone can read, and it never holds images
    if Path(error.filename).name != "lost+found":
        raise CycleGANError(f"Cannot read {error.filename}: {error.strerror}.") from None


def _loops(path: str) -> bool:
    """Whether this is a link that leads to itself, which can be neither read nor named as missing."""
    if not os.path.islink(path):  # noqa: PTH114 - a Path of every file takes longer than reading it
        return False
    try:
        Path(path).stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def count_suffixes(names: Collection[str]) -> str:
    """The five most frequent suffixes in words: `12 .txt, 1 .json`."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
