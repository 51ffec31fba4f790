"""Decode images straight into a `.npy` file on the disk, one row an image."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan.data.channels.read import read_image
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.decode import fit
from cyclegan.data.deep import Levels
from cyclegan.data.duplicates import thumbnail
from cyclegan.data.errors import BadImage
from cyclegan.data.preprocess.reuse import Row
from cyclegan.errors import CycleGANError
from cyclegan.pixel_kind import RGB, PixelKind

HEADER = 128  # bytes; numpy pads a version 1 header to 64 and leaves room for 21 digits of N


@dataclass(frozen=True)
class Raster:
    """What each row of a `.npy` file holds."""

    size: tuple[int, int]
    """Height and width."""
    kind: PixelKind = RGB

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return (*self.size, self.kind.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or little-endian uint16, on every machine."""
        return np.dtype("|u1" if self.kind.bits == 8 else "<u2")

    @property
    def nbytes(self) -> int:
        """Bytes of a row."""
        return self.size[0] * self.size[1] * self.kind.channels * self.dtype.itemsize


@dataclass(frozen=True)
class Job:
    """One image and its row in a `.npy` file."""

    path: str
    npy: FileIO
    """Open for reading and writing; threads share it."""
    row: int
    raster: Raster
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


def _write_header(path: Path, count: int, raster: Raster) -> None:
    header = {"descr": raster.dtype.str, "fortran_order": False, "shape": (count, *raster.shape)}
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == HEADER


def create(path: Path, count: int, raster: Raster) -> None:
    """Make a `.npy` file for count×height×width×channels and reserve its place on the disk.

    Reserving first finds a full disk at once, and not after hours. Raises CycleGANError.
    """
    total = HEADER + count * raster.nbytes
    free = shutil.disk_usage(path.parent).free
    try:
        with path.open("wb") as file:
            if total > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, total)
            else:
                file.truncate(total)
        _write_header(path, count, raster)
    except OSError as error:
        path.unlink(missing_ok=True)
        height, width = raster.size
        need = f"{count} images of {width}x{height} take {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        raise CycleGANError(f"Cannot write {path.parent}: {error.strerror}; {need}.") from None


def keep_rows(path: Path, rows: Sequence[int], raster: Raster) -> None:
    """Keep only these rows (ascending) of a `.npy` file, in place: the bytes as if written so at once."""
    length = raster.nbytes
    with path.open("r+b") as file:
        for target, row in enumerate(rows):
            if target != row:
                file.seek(HEADER + row * length)
                data = file.read(length)
                file.seek(HEADER + target * length)
                file.write(data)
        file.truncate(HEADER + len(rows) * length)
    _write_header(path, len(rows), raster)


def row_digest(path: Path, row: int, raster: Raster) -> bytes:
    """The same 16 bytes for rows of `.npy` files that hold the same pixels."""
    with path.open("rb", buffering=0) as file:
        file.seek(HEADER + row * raster.nbytes)
        return hashlib.blake2b(file.read(raster.nbytes), digest_size=16).digest()


def own_size(
    paths: Iterable[tuple[str, PixelKind]], config: PreprocessConfig, levels: Levels
) -> tuple[int, int] | None:
    """Height and width, upright, of the first image that can be read; None where none can."""
    for path, kind in paths:
        try:
            data = Path(path).read_bytes()
            height, width, _ = read_image(data, kind, levels, config.min_size, config.max_pixels)[0].shape
        except (OSError, BadImage):
            continue
        return height, width
    return None


def pack_image(job: Job) -> Outcome:
    """Decode, resize and write one image into its row; copy it from where it is packed already."""
    raster = job.raster
    if job.former:
        with Path(job.former.npy).open("rb", buffering=0) as file:
            file.seek(HEADER + job.former.row * raster.nbytes)
            packed = np.frombuffer(file.read(raster.nbytes), raster.dtype).reshape(raster.shape)
        return _write(job, packed, job.former.deep)
    try:
        with Path(job.path).open("rb") as file:
            data = file.read()
    except OSError as error:
        return Outcome(reason=f"cannot be read: {error.strerror}")
    try:
        pixels, deep = read_image(data, raster.kind, job.levels, job.min_size, job.max_pixels)
        packed = np.ascontiguousarray(fit(pixels, raster.size, job.aspect), raster.dtype)
    except BadImage as error:
        return Outcome(reason=str(error))
    return _write(job, packed, deep)


def _write(job: Job, packed: NDArray[Any], deep: tuple[float, float, float] | None) -> Outcome:
    left, place = packed.data.cast("B"), HEADER + job.row * packed.nbytes
    try:
        while left:
            count = os.pwrite(job.npy.fileno(), left, place)
            left, place = left[count:], place + count
    except OSError as error:
        raise CycleGANError(f"Cannot write {job.npy.name}: {error.strerror}.") from None
    return Outcome("", thumbnail(packed).tobytes(), deep)
