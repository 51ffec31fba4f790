"""Checkpoints: one safetensors object each, whose name carries its step and its checksum.

An object appears whole or not at all, in a folder by renaming and in S3 by its own rules, and there is no
second file that could disagree with it. So a process may be killed at any moment, while writing too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cyclegan.errors import CycleGANError
from cyclegan.storage import NotFound
from cyclegan.training.fingerprint import parse
from cyclegan.training.schedule import Schedule

if TYPE_CHECKING:
    from cyclegan.storage import Store

logger = logging.getLogger(__name__)

KEEP = 2
_NAME = re.compile(r"(?P<folder>[^/]+)/(?P<step>\d{10})-(?P<digest>[0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies and how far it is."""

    key: str
    folder: str
    step: int
    digest: str


class Checkpoints:
    """The checkpoints of one run, `<root>/<fingerprint>/…`, in a folder or under s3://."""

    def __init__(self, store: Store, folder: str) -> None:
        self.store, self.folder = store, folder

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
        """Write a checkpoint, then remove all but the last two; returns its key. `facts` must fit JSON.

        Raises CycleGANError, and keeps the former checkpoints, where a tensor is not finite.
        """
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise CycleGANError(
                    f"After update {step} {name} is not finite; the checkpoint before it is good. Start "
                    "again with another seed, a smaller lr, or precision fp32."
                )
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(tensors, metadata={"facts": json.dumps(facts)})
        key = f"{self.folder}/{step:010d}-{_digest(data)}.safetensors"
        self.store.write(key, data)
        others = [found for found in self.all() if found.key != key]
        # What claims to be further than this was passed over as damaged when the run went on.
        damaged = [found for found in others if found.step >= step]
        older = [found for found in others if found.step < step]
        for checkpoint in damaged + older[KEEP - 1 :]:
            self.store.delete(checkpoint.key)
        return key

    def all(self) -> list[Checkpoint]:
        """The checkpoints in this run's folder, the one with the most steps first."""
        return _newest_first(self.store, f"{self.folder}/")

    def others(self) -> bool:
        """Whether the store holds checkpoints of any other run."""
        return any(found.folder != self.folder for found in _newest_first(self.store, ""))

    def load(
        self, wanted: Schedule, steps_per_epoch: int
    ) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
        """What the run can go on from, best first: tensors and facts of undamaged checkpoints.

        These are its own, then those of runs that differ in their schedule only, as far as both schedules
        agree. Damaged ones are passed over with a warning; a store that can't be read is an error, since
        starting anew for want of a network would throw work away.
        """
        own, decisive = self.all(), self.folder.partition("-")[0]
        others = []
        for found in _newest_first(self.store, f"{decisive}-"):
            schedule = parse(found.folder)
            epochs = -(-found.step // steps_per_epoch)
            fits = schedule and epochs <= wanted.epochs and schedule[1].agrees(wanted, epochs)
            if fits and found.folder != self.folder:
                others.append(found)
        for found in [*own, *others]:
            try:
                content = _read(self.store.read(found.key), found.digest)
            except NotFound:  # another process has removed it in the meantime
                continue
            except ValueError as error:
                logger.warning("Checkpoint %s is damaged and passed over: %s", found.key, error)
                continue
            if found.folder != self.folder:
                logger.info("Going on from %s, whose schedule was the same so far.", found.key)
            yield content


def _newest_first(store: Store, prefix: str) -> list[Checkpoint]:
    found = []
    for entry in store.list(prefix):
        if name := _NAME.fullmatch(entry.key):
            found.append(Checkpoint(entry.key, name["folder"], int(name["step"]), name["digest"]))
    return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _read(data: bytes, digest: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors.torch import load

    if _digest(data) != digest:
        raise ValueError("its content does not have the checksum in its name.")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return load(data), json.loads(header["__metadata__"]["facts"])
