"""Parameters of translating and of importing foreign generators; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclegan.engines.base import EngineName, Precision
from cyclegan.errors import UsageError
from cyclegan.io.uri import hide_secrets

MAX_PIXELS = 100_000_000


@dataclass(frozen=True, kw_only=True)
class TranslateConfig:
    """How pictures are translated."""

    direction: Literal["AtoB", "BtoA", "auto"] = "auto"
    """Which generator; auto: the one that the model's address names, else AtoB."""
    size: int = 0
    """Scale pictures so that their shorter side has this many pixels; 0: keep their size.
    A model works best at the scale it was trained at."""
    tile: int = 1024
    """Pictures with a longer side are translated in overlapping squares of this side; 0: in one piece."""
    overlap: int = 128
    """Pixels over which neighbouring tiles blend into each other."""
    overwrite: bool = False
    """Translate again what already exists."""
    shard: int = 0
    """Which part of the pictures to translate, counted from 0."""
    shards: int = 1
    """Number of parts the pictures are divided into, one per process or pod."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:1, mps."""
    precision: Precision = "auto"
    """Arithmetic; auto: bf16 where the CPU or GPU supports it natively, else fp32. bf16 is 0.2 grey levels
    off on average; models of 16 bits use fp32."""
    engine: EngineName = "auto"
    """torch, or onnx and openvino on CPUs where their extras are installed; auto: the fastest one available,
    which exports the model to ONNX once, if there are enough pictures for that to pay off."""
    max_pixels: int = MAX_PIXELS
    """Skip pictures with more pixels than this, before or after scaling. Those above 32 million are
    streamed, a row of tiles at a time."""
    metadata: Literal["drop", "keep"] = "drop"
    """keep: EXIF (place and time included), resolution and, where there was a profile, one of sRGB; where a
    GeoTIFF lies, for models of other channels or 16 bits."""
    alpha: Literal["drop", "keep"] = "drop"
    """keep: transparency goes into the translation as it was; drop: transparent parts count as white."""
    summary: str = ""
    """JSON file to write: the engine, how many pictures were written and already there, and every unreadable
    one with its reason; empty: none."""

    def __post_init__(self) -> None:
        if self.size < 0 or self.tile < 0 or self.overlap < 0:
            raise UsageError("translate: size, tile and overlap must not be negative.")
        if self.max_pixels < 1:
            raise UsageError(f"translate: max_pixels = {self.max_pixels} must be positive.")
        if self.tile and not self.overlap < self.tile:
            raise UsageError(f"translate: overlap = {self.overlap} must be smaller than tile = {self.tile}.")
        if not 0 <= self.shard < self.shards:
            raise UsageError(f"translate: shard = {self.shard} is not one of 0 to {self.shards - 1}.")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Generators that the reference implementation saved: latest_net_G_A.pth, latest_net_G_B.pth, or one."""

    AtoB: str = ""
    """File or URI of the generator A→B: latest_net_G_A.pth."""
    BtoA: str = ""
    """File or URI of the generator B→A: latest_net_G_B.pth."""
    image_size: int = 256
    """Side of the images that they were trained on."""

    def __post_init__(self) -> None:
        hide_secrets(self, "AtoB", "BtoA")
        if self.image_size < 4 or self.image_size % 4:
            raise UsageError(f"image_size = {self.image_size} must be a multiple of 4.")
