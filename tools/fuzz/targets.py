"""What is attacked, and how often `make fuzz` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.fuzz.common import Attack
from tools.fuzz.data import addresses, parameter_files, prepared_folders
from tools.fuzz.models import model_folders, weight_files
from tools.fuzz.runs import checkpoints, notes, scores

CLASSES: dict[str, tuple[Callable[[Path], Attack], int]] = {
    "model folders": (model_folders, 4000),
    "prepared folders": (prepared_folders, 4000),
    "parameter files": (parameter_files, 3000),
    "addresses": (addresses, 4000),
    "weight files": (weight_files, 3500),
    "checkpoints": (checkpoints, 2000),
    "scores": (scores, 4000),
    "notes": (notes, 2000),
}
"""Each class and how many mutations of it `make fuzz` tries."""
