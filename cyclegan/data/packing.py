"""Decode images in parallel straight into a `.npy` file on the disk, one row an image."""

from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from cyclegan.data.duplicates import thumbnail
from cyclegan.data.images import BadImage, fit, open_image, to_rgb
from cyclegan.errors import CycleGANError

logger = logging.getLogger(__name__)

CHUNK = 16
WORTH_A_PROCESS = 128
HEADER = 128  # bytes; numpy pads a version 1 header to 64 and leaves room for 21 digits of N


@dataclass(frozen=True)
class Job:
    """One image and its row in a `.npy` file."""

    path: str
    npy: str
    row: int
    size: int
    aspect: Literal["squash", "crop"]
    min_size: int
    max_pixels: int


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the reason of a refusal, or a digest of the pixels and the thumbnail's bytes."""

    reason: str = ""
    digest: bytes = b""
    thumbnail: bytes = b""


def _write_header(path: Path, count: int, size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == HEADER


def create(path: Path, count: int, size: int) -> None:
    """Make a `.npy` file for uint8 count×size×size×3 and reserve its place on the disk.

    Reserving first finds a full disk at once, and not after hours. Raises CycleGANError.
    """
    total = HEADER + count * size * size * 3
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
        need = f"{count} images of {size}x{size} take {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        raise CycleGANError(f"Cannot write {path.parent}: {error.strerror}; {need}.") from None


def keep_rows(path: Path, rows: Sequence[int], size: int) -> None:
    """Keep only these rows (ascending) of a `.npy` file, in place: the bytes as if written so at once."""
    row_bytes = size * size * 3
    with path.open("r+b") as file:
        for target, row in enumerate(rows):
            if target != row:
                file.seek(HEADER + row * row_bytes)
                data = file.read(row_bytes)
                file.seek(HEADER + target * row_bytes)
                file.write(data)
        file.truncate(HEADER + len(rows) * row_bytes)
    _write_header(path, len(rows), size)


def pack_image(job: Job) -> Outcome:
    """Decode, resize and write one image into its row."""
    try:
        with Path(job.path).open("rb") as file:
            data = file.read()
    except OSError as error:
        return Outcome(reason=f"cannot be read: {error.strerror}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF and the like that cost no pixel
            image = to_rgb(open_image(data, min_size=job.min_size, max_pixels=job.max_pixels))
        pixels = fit(image, job.size, job.aspect)
        small = thumbnail(image)
    except BadImage as error:
        return Outcome(reason=str(error))
    raw = pixels.tobytes()
    try:
        with Path(job.npy).open("r+b") as file:
            file.seek(HEADER + job.row * len(raw))
            file.write(raw)
    except OSError as error:
        raise CycleGANError(f"Cannot write {job.npy}: {error.strerror}.") from None
    return Outcome(digest=hashlib.blake2b(raw, digest_size=16).digest(), thumbnail=small.tobytes())


def _pack_chunk(jobs: list[Job]) -> list[Outcome]:
    return [pack_image(job) for job in jobs]


def pack(jobs: Sequence[Job], workers: int, what: str) -> Iterator[Outcome]:
    """Run the jobs in up to `workers` processes and yield the outcomes in order.

    Small sets are done in this process. The bytes written do not depend on the number of workers. Raises
    CycleGANError when a row cannot be written or a worker dies.
    """
    workers = min(workers, len(jobs) // WORTH_A_PROCESS)
    with tqdm(total=len(jobs), desc=what, unit="image", disable=None) as bar:
        for outcome in _in_processes(jobs, workers) if workers > 1 else map(pack_image, jobs):
            bar.update()
            yield outcome


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    chunks: Iterable[list[Job]] = [list(jobs[i : i + CHUNK]) for i in range(0, len(jobs), CHUNK)]
    # spawn: forking a process in which torch or MLflow already runs threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        for outcomes in pool.map(_pack_chunk, chunks):
            yield from outcomes
    except BrokenProcessPool:
        raise CycleGANError(
            "A worker process of preprocess died (out of memory, or the calling script has no "
            "`if __name__ == '__main__':`); try with workers = 1."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
