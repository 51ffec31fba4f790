"""Parameters of serving; imports nothing heavy, so that the command line stays quick."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Arithmetic; auto: bf16 where the CPU or GPU computes in it, else fp32."""
    engine: EngineName = "auto"
    """torch, onnx or openvino; auto as in translate."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UsageError(f"port = {self.port} is out of range: use 1 to 65535, or 0.")
