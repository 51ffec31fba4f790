"""Which checkpoints belong to a command: a hash of everything that decides the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast, get_args

from cyclegan.training.schedule import Decay, Schedule

# Fields of a training configuration that leave the weights after an update as they are (up to rounding).
INDIFFERENT = frozenset(
    {
        *("device", "compile", "deterministic", "threads", "gradient_checkpointing"),
        *("log_every", "sample_every", "samples", "checkpoint_minutes", "checkpoint_every", "image_size"),
        *("evaluate_every", "patience"),
        *("workers", "max_bad_share"),  # of preprocess
    }
)
SCHEDULE = frozenset({"epochs", "decay_epochs", "decay"})


def decisive(config: Mapping[str, Any], manifest: Mapping[str, Any], precision: str) -> str:
    """12 hexadecimal digits of all that decides a run but its schedule.

    `config` holds the fields of TrainConfig, `manifest` those of the prepared folder's; `precision` replaces
    the configuration's `auto`.
    """
    kept = {name: value for name, value in config.items() if name not in INDIFFERENT | SCHEDULE}
    counts = {name: domain["count"] for name, domain in manifest["domains"].items()}
    preparation = {name: value for name, value in manifest["config"].items() if name not in INDIFFERENT}
    data = {"version": manifest["version"], "counts": counts, "preparation": preparation}
    kept |= {"precision": precision, "data": data}
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(decisive: str, schedule: Schedule) -> str:
    """The name of the run's checkpoint folder: `<decisive>-<constant>-<decay>-<kind>`."""
    return f"{decisive}-{schedule.constant}-{schedule.decay}-{schedule.kind}"


def parse(name: str) -> tuple[str, Schedule] | None:
    """Split a fingerprint again; None for a folder of another name."""
    parts = name.split("-")
    if len(parts) != 4 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return None
    if parts[3] not in get_args(Decay):
        return None
    return parts[0], Schedule(int(parts[1]), int(parts[2]), cast(Decay, parts[3]))
