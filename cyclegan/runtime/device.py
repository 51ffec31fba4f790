"""Which device, which arithmetic, how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from cyclegan.errors import UsageError
from cyclegan.runtime.cpu import resolve_threads


def resolve_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU; in a distributed run the local GPU.

    Raises UsageError for a device that is not there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        wanted = "cuda" if cuda else "mps" if mps else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"device = {wanted} is unknown: use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type not in {"cpu", "cuda", "mps"}:
        raise UsageError(f"device = {wanted} is not supported: use auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda":
        if not cuda:
            raise UsageError(f"device = {wanted}, but torch finds no CUDA device: use auto or cpu.")
        index = int(os.environ.get("LOCAL_RANK", 0)) if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise UsageError(f"There is no GPU {index}: this machine has {torch.cuda.device_count()}.")
        return torch.device("cuda", index)
    if device.type == "mps" and not mps:
        raise UsageError("device = mps, but torch finds none here: use auto or cpu.")
    return device


def resolve_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype of the networks' arithmetic; `auto` is bfloat16 where the hardware computes in it.

    That is on GPUs from Ampere on, and on CPUs with AVX-512 BF16 or AMX, where it is 1.3 to 1.7 times faster.
    """
    if wanted == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def memory_format(device: torch.device, *, compiled: bool) -> torch.memory_format:
    """How images are laid out in memory: channels last on GPUs and in compiled networks.

    Plain on CPUs otherwise, where torch's instance norm wants planes and would copy there and back.
    """
    return torch.channels_last if device.type == "cuda" or compiled else torch.contiguous_format


def limit_threads() -> None:
    """Lower torch's threads to the container's limit, for by default torch counts the node's cores."""
    allowed = resolve_threads(0)
    if torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free on a CUDA device, or on Linux for the CPU; None elsewhere.

    On a CPU the container's limit applies if it is lower than what the machine has free.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    found = []
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # "max" means no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=None)


@contextmanager
def machine(device: torch.device, *, threads: int, deterministic: bool) -> Iterator[None]:
    """Set the process-wide switches of torch for a training run and restore the previous ones."""
    former = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn
    choice, tf32 = cudnn.benchmark, cudnn.allow_tf32
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        cudnn.benchmark = not deterministic
        cudnn.allow_tf32 = False  # torch's default rounds to TF32, which is not what fp32 says
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(former[0])
        torch.use_deterministic_algorithms(former[1])
        cudnn.benchmark, cudnn.allow_tf32 = choice, tf32
