"""Checkpoints: one safetensors object each, whose name carries its step and its checksum.

An object appears whole or not at all, in a folder by renaming and in S3 by its own rules, and there is no
second file that could disagree with it. So a process may be killed at any moment, while writing too.
Training continues while a checkpoint is hashed and written: disks and networks are slower than GPUs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import parse_json, refuse_newer
from cyclegan.io.storage import open_store
from cyclegan.io.store import NotFound
from cyclegan.io.uri import redact, reveal
from cyclegan.training.checkpoints.fingerprint import parse
from cyclegan.training.checkpoints.record import Progress
from cyclegan.training.updates.schedule import Schedule

if TYPE_CHECKING:
    from cyclegan.io.store import Store

logger = logging.getLogger(__name__)

FORMAT = 1
"""Of a checkpoint's content. Raise it when older code could no longer resume from what is written."""
KEEP = 2
CURVES = "curves"
"""The tensor that holds `Progress.curves`; earlier versions wrote them into the header."""
_NAME = re.compile(r"(?P<folder>[^/]+)/(?P<step>\d{10})-(?P<digest>[0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies and how far it is."""

    key: str
    folder: str
    step: int
    digest: str


class Checkpoints:
    """The checkpoints of one run, `<root>/<fingerprint>/…`, in a folder or under s3://.

    Kept are the newest two, and the newest of the first `full_rate` updates: once the learning rate has
    fallen, a run of more epochs can resume from that one alone.

    A context manager: at the end of its block all is written.
    """

    def __init__(self, store: Store, folder: str, *, full_rate: int = 0) -> None:
        self.store, self.folder, self.full_rate = store, folder, full_rate
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()
        if kind is None:
            self.finish()

    def save(self, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        """Begin to write a checkpoint, after which those not to be kept are removed.

        The tensors may change as soon as this returns. Waits for the checkpoint before this one.
        Raises CycleGANError where that could not be written or, keeping it, where a tensor is not finite.
        """
        self.finish()
        # The curves grow with the run, and a safetensors header may hold 100 MB: they are a tensor.
        if progress.curves:
            tensors = {**tensors, CURVES: torch.tensor(progress.curves, dtype=torch.float64)}
        record = replace(progress, curves=[]).to_json()
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise CycleGANError(
                    f"After update {progress.step} {name} is not finite. The previous checkpoint is intact: "
                    "restart with another seed, a lower lr or --precision fp32."
                )
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {"format": str(FORMAT), "progress": json.dumps(record)}
        data = save(tensors, metadata=metadata)
        self._writing = self._writer.submit(self._write, progress.step, data)

    def finish(self) -> None:
        """Wait for the checkpoint that is being written; raises CycleGANError if that fails."""
        if self._writing:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, step: int, data: bytes) -> None:
        key = f"{self.folder}/{step:010d}-{_digest(data)}.safetensors"
        self.store.write(key, data)
        others = [found for found in self.all() if found.key != key]
        # Checkpoints with a later step were rejected as damaged when the run resumed.
        damaged = [found for found in others if found.step >= step]
        older = [found for found in others if found.step < step]
        at_full_rate = next((found for found in older if found.step <= self.full_rate), None)
        for checkpoint in damaged + older[KEEP - 1 :]:
            if checkpoint != at_full_rate:
                self.store.delete(checkpoint.key)

    def all(self) -> list[Checkpoint]:
        """The checkpoints in this run's folder, the one with the most steps first."""
        return _newest_first(self.store, f"{self.folder}/")

    def others(self) -> bool:
        """Whether the store holds checkpoints of any other run."""
        return any(found.folder != self.folder for found in _newest_first(self.store, ""))

    def load(self, wanted: Schedule, steps_per_epoch: int) -> Iterator[tuple[dict[str, Tensor], Progress]]:
        """What the run can resume from, the furthest first: the content of undamaged checkpoints.

        These are its own and those of runs that differ in their schedule only, as far as both schedules
        agree. Damaged ones are skipped with a warning; a store that can't be read is an error, since
        starting from scratch because of a network failure would throw work away. Raises UsageError for a
        checkpoint of a newer format.
        """
        decisive = self.folder.partition("-")[0]
        usable = []
        for found in _newest_first(self.store, f"{decisive}-"):
            schedule = parse(found.folder)
            epochs = -(-found.step // steps_per_epoch)
            fits = schedule and epochs <= wanted.epochs and schedule[1].agrees(wanted, epochs)
            if fits or found.folder == self.folder:
                usable.append(found)
        for found in sorted(usable, key=lambda one: (one.step, one.folder == self.folder), reverse=True):
            try:
                tensors, progress = _read(self.store.read(found.key), found)
                if progress.step > wanted.epochs * steps_per_epoch:
                    raise ValueError("it is further than this run will go.")
            except NotFound:  # another process has removed it in the meantime
                continue
            except ValueError as error:
                logger.warning("Skipping checkpoint %s, which is damaged: %s", found.key, error)
                continue
            if found.folder != self.folder:
                logger.info("Resuming from %s, whose schedule was the same so far.", found.key)
            yield tensors, progress


def read_checkpoint(address: str) -> tuple[Checkpoint, dict[str, Tensor], Progress]:
    """The checkpoint at an address, a file or s3://…, and its content.

    Raises UsageError where there is none, or a damaged one.
    """
    folder, name = os.path.split(reveal(address))
    where = redact(address)
    if not (found := _named(f"{Path(folder).name or '.'}/{name}")):
        raise UsageError(
            f"{where} is not a checkpoint, whose name is like 0000039456-0123456789abcdef.safetensors: "
            "name one, or the folder of a model, which holds config.json."
        )
    store = open_store(folder or ".")
    try:
        return found, *_read(store.read(name), found)
    except NotFound:
        raise UsageError(f"There is no checkpoint {where}.") from None
    except ValueError as error:
        raise UsageError(f"Checkpoint {where} is damaged: {error}") from None


def _newest_first(store: Store, prefix: str) -> list[Checkpoint]:
    found = [checkpoint for entry in store.list(prefix) if (checkpoint := _named(entry.key))]
    return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)


def _named(key: str) -> Checkpoint | None:
    """What a key says of a checkpoint; None for anything else."""
    if not (parts := _NAME.fullmatch(key)):
        return None
    return Checkpoint(key, parts["folder"], int(parts["step"]), parts["digest"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _read(data: bytes, found: Checkpoint) -> tuple[dict[str, Tensor], Progress]:
    """The content of a checkpoint; raises ValueError where it is none or of another step."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if _digest(data) != found.digest:
        raise ValueError("its content does not have the checksum in its name.")
    try:
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
        metadata = header["__metadata__"]
        format = int(metadata["format"])
    except (KeyError, TypeError, ValueError):
        raise ValueError("it says neither its format nor how far it is.") from None
    refuse_newer({"format": format}, FORMAT, f"Checkpoint {found.key}", "train with other --checkpoints")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if broken := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        raise ValueError(f"{broken} is not finite.")
    if "progress" not in metadata:
        raise ValueError("it does not say how far it is.")
    progress = Progress.from_json(parse_json(metadata["progress"]))
    if (curves := tensors.pop(CURVES, None)) is not None:
        if curves.dim() != 2 or not curves.is_floating_point():
            raise ValueError(f"its curves are {curves.dtype} of the shape {tuple(curves.shape)}.")
        progress.curves = curves.tolist()
    if progress.step != found.step:
        raise ValueError(f"its name says update {found.step}, its content {progress.step}.")
    return tensors, progress
