"""Parameters of serving; imports nothing heavy, so that the command line stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclegan.engines.base import EngineName, Precision
from cyclegan.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The web page on which people try models."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: every network interface."""
    port: int = 7860
    """Port to listen on; 0: the first free one from 7860."""
    open_browser: bool = False
    """Open the page in this machine's browser."""
    share: bool = False
    """Also publish the page through Gradio's tunnel on the internet."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:1, mps."""
    precision: Precision = "auto"
    """Arithmetic; auto: bf16 where the CPU or GPU supports it natively, else fp32."""
    engine: EngineName = "auto"
    """torch, onnx or openvino; auto as in translate."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UsageError(f"port = {self.port} is out of range: use 1 to 65535, or 0.")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A server that translates pictures for other programs, and its limits."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: every network interface."""
    port: int = 8080
    """Port to listen on; 0: any free one."""
    direction: Literal["auto", "AtoB", "BtoA"] = "auto"
    """Which generators; auto: both, or the one that a model's address names."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:1, mps."""
    precision: Precision = "auto"
    """Arithmetic; auto: bf16 where the CPU or GPU supports it natively, else fp32."""
    engine: EngineName = "auto"
    """torch, onnx or openvino; auto: the fastest that is installed, exporting the model to ONNX once."""
    tile: int = 1024
    """Side of the largest tile that a request may ask for; it limits the memory that a translation takes."""
    max_pixels: int = 25_000_000
    """Maximum number of pixels in all pictures of a request."""
    max_bytes: int = 20_000_000
    """Maximum size of a request's body, in bytes."""
    concurrency: int = 1
    """Translations at a time; one already uses all threads, so more are hardly faster on a CPU."""
    queue: int = 32
    """Requests that may wait for their turn; any more are answered with 503."""
    upload_seconds: float = 30.0
    """How long a request's body may take to arrive."""
    grace_seconds: int = 30
    """How long open requests may take to finish after SIGTERM or Ctrl-C."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UsageError(f"port = {self.port} is out of range: use 1 to 65535, or 0 for any free one.")
        if not 64 <= self.tile <= 4096:
            raise UsageError(f"tile = {self.tile} is out of range: use 64 to 4096.")
        for name in ("max_pixels", "max_bytes", "concurrency", "upload_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} = {getattr(self, name)} must be positive.")
        for name in ("queue", "grace_seconds"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} = {getattr(self, name)} must not be negative.")
