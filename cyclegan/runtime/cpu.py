"""What the processor offers this process: cores, threads, arithmetic. Loads no torch."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_cores() -> int:
    """Cores that the affinity mask and the container's CPU limit (cgroup v2 or v1) leave; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_limit())))


def _cgroup_limit() -> float:
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max" means no limit
        return math.inf


def resolve_threads(wanted: int) -> int:
    """CPU threads: as asked, else OMP_NUM_THREADS, else what affinity and the container's limit leave."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return wanted or (int(asked) if asked.isdecimal() and int(asked) else available_cores())


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 (AVX-512 BF16 or AMX); on Linux alone, elsewhere False."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text
