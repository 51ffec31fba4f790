"""Where a benchmark's results go: one JSON file each, with the machine they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan.io.files import write_json
from cyclegan.runtime.cpu import available_cores

RESULTS = Path(__file__).resolve().parent / "results"


def record(path: Path, values: dict[str, Any]) -> None:
    """Write the values and what they depend on; call it on the machine and in the state that was measured."""
    write_json(path, {**values, "measured": circumstances()})


def circumstances() -> dict[str, Any]:
    """The machine, what else ran on it, and the versions."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": available_cores(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _processor() -> str:
    """As Linux names it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
