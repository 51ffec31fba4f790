"""Which checkpoints belong to a command: a hash of everything that decides the weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from cyclegan.fields import deciding
from cyclegan.training.config import TrainConfig
from cyclegan.training.updates.schedule import Decay, Schedule

# Raise it when a default that decides the weights changes, or when the same parameters come to give other
# weights: then old checkpoints are those of another run.
KEY_FORMAT = 2  # since `norm: layer` adds its ε to the deviation


def decisive(config: Mapping[str, Any], manifest: Mapping[str, Any], precision: str) -> str:
    """12 hexadecimal digits of all that decides a run but its schedule.

    `config` holds the fields of TrainConfig, `manifest` those of the prepared folder's; `precision` replaces
    the configuration's `auto`. Only what differs from the defaults is hashed, and the data.
    """
    from cyclegan.data.config import PreprocessConfig  # with it the command line's parser is loaded

    text = json.dumps(
        {
            "format": KEY_FORMAT,
            "train": {**deciding(TrainConfig, config), "precision": precision},
            "preprocess": deciding(PreprocessConfig, manifest["config"]),
            "pixels": [manifest.get("filter"), manifest.get("decoding")],
            "version": manifest["version"],
            "size": [manifest["height"], manifest["width"]],
            "counts": {name: domain["count"] for name, domain in manifest["domains"].items()},
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(decisive: str, schedule: Schedule) -> str:
    """The name of the run's checkpoint folder: `<decisive>-<constant>-<decay>-<kind>`."""
    return f"{decisive}-{schedule.constant}-{schedule.decay}-{schedule.kind}"


def parse(name: str) -> tuple[str, Schedule] | None:
    """Split a fingerprint again; None for a folder of another name."""
    parts = name.split("-")
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts[1:3]):
        return None
    if parts[3] not in get_args(Decay):
        return None
    return parts[0], Schedule(int(parts[1]), int(parts[2]), cast(Decay, parts[3]))
