"""Decode images straight into a `.npy` file on the disk, one row an image."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.decode import fit, open_image, to_pixels
from cyclegan.data.deep import Levels
from cyclegan.data.duplicates import thumbnail
from cyclegan.data.errors import BadImage
from cyclegan.data.preprocess.reuse import Row
from cyclegan.errors import CycleGANError

HEADER = 128  # bytes; numpy pads a version 1 header to 64 and leaves room for 21 digits of N


@dataclass(frozen=True)
class Job:
    """One image and its row in a `.npy` file."""

    path: str
    npy: str
    row: int
    size: tuple[int, int]
    """Height and width."""
    aspect: Literal["squash", "crop", "keep"]
    min_size: int
    max_pixels: int
    levels: Levels = Levels()  # noqa: RUF009
    former: Row | None = None
    """Where the same image is packed already."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the reason of a refusal, or the thumbnail's bytes."""

    reason: str = ""
    thumbnail: bytes = b""
    deep: tuple[float, float, float] | None = None
    """Of images of more than 8 bits a channel: lowest and largest value, and the largest that it declares."""


def _write_header(path: Path, count: int, size: tuple[int, int]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *size, 3)}
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == HEADER


def create(path: Path, count: int, size: tuple[int, int]) -> None:
    """Make a `.npy` file for uint8 count×height×width×3 and reserve its place on the disk.

    Reserving first finds a full disk at once, and not after hours. Raises CycleGANError.
    """
    total = HEADER + count * row_bytes(size)
    free = shutil.disk_usage(path.parent).free
    try:
        with path.open("wb") as file:
            if total > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, total)
            else:
                file.truncate(total)
        _write_header(path, count, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        need = (
            f"{count} images of {size[1]}x{size[0]} take {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        )
        raise CycleGANError(f"Cannot write {path.parent}: {error.strerror}; {need}.") from None


def row_bytes(size: tuple[int, int]) -> int:
    """Bytes of an RGB image of this height and width."""
    return size[0] * size[1] * 3


def keep_rows(path: Path, rows: Sequence[int], size: tuple[int, int]) -> None:
    """Keep only these rows (ascending) of a `.npy` file, in place: the bytes as if written so at once."""
    length = row_bytes(size)
    with path.open("r+b") as file:
        for target, row in enumerate(rows):
            if target != row:
                file.seek(HEADER + row * length)
                data = file.read(length)
                file.seek(HEADER + target * length)
                file.write(data)
        file.truncate(HEADER + len(rows) * length)
    _write_header(path, len(rows), size)


def row_digest(path: Path, row: int, size: tuple[int, int]) -> bytes:
    """The same 16 bytes for rows of `.npy` files that hold the same pixels."""
    with path.open("rb", buffering=0) as file:
        file.seek(HEADER + row * row_bytes(size))
        return hashlib.blake2b(file.read(row_bytes(size)), digest_size=16).digest()


def own_size(paths: Iterable[str], config: PreprocessConfig) -> tuple[int, int] | None:
    """Height and width, upright, of the first image that can be read; None where none can."""
    for path in paths:
        try:
            data = Path(path).read_bytes()
            image = open_image(data, min_size=config.min_size, max_pixels=config.max_pixels)
            height, width, _ = to_pixels(image, data)[0].shape
        except (OSError, BadImage):
            continue
        return height, width
    return None


def pack_image(job: Job) -> Outcome:
    """Decode, resize and write one image into its row; copy it from where it is packed already."""
    if job.former:
        with Path(job.former.npy).open("rb", buffering=0) as file:
            file.seek(HEADER + job.former.row * row_bytes(job.size))
            packed = np.frombuffer(file.read(row_bytes(job.size)), np.uint8).reshape(*job.size, 3)
        return _write(job, packed, job.former.deep)
    try:
        with Path(job.path).open("rb") as file:
            data = file.read()
    except OSError as error:
        return Outcome(reason=f"cannot be read: {error.strerror}")
    try:
        image = open_image(data, min_size=job.min_size, max_pixels=job.max_pixels)
        pixels, deep = to_pixels(image, data, job.levels)
        packed = np.ascontiguousarray(fit(pixels, job.size, job.aspect))
    except BadImage as error:
        return Outcome(reason=str(error))
    return _write(job, packed, deep)


def _write(job: Job, packed: NDArray[np.uint8], deep: tuple[float, float, float] | None) -> Outcome:
    try:
        with Path(job.npy).open("r+b", buffering=0) as file:
            file.seek(HEADER + job.row * packed.nbytes)
            file.write(packed.data)
    except OSError as error:
        raise CycleGANError(f"Cannot write {job.npy}: {error.strerror}.") from None
    return Outcome("", thumbnail(packed).tobytes(), deep)
