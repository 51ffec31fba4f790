"""The trained generator itself, by torch, on any device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan.model import Direction, load_generator
from cyclegan.networks import Generator
from cyclegan.pixels import to_unit


class TorchEngine:
    """A generator of ours in float32 or bfloat16; the input is normalised on its device."""

    def __init__(self, generator: Generator, dtype: torch.dtype = torch.float32) -> None:
        self.generator = generator.to(dtype) if dtype != torch.float32 else generator
        self.dtype = dtype
        self.device = next(generator.parameters()).device
        self.multiple = generator.multiple
        # on CPUs one image at a time is the fastest
        self.batch = 4 if self.device.type == "cuda" else 1
        self.name = f"torch {'bf16' if dtype == torch.bfloat16 else 'fp32'} on {self.device}"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 or uint16 N×H×W×C, or float32 in [-1, 1], to float32 N×H×W×C' in [-1, 1]."""
        with torch.inference_mode():
            batch = (
                torch.from_numpy(np.require(images, requirements=["C", "W"]))
                .to(self.device)
                .permute(0, 3, 1, 2)
            )
            # torch's instance norm on CPUs wants planes
            planes = batch.contiguous()
            x = to_unit(planes) if images.dtype.kind == "u" else planes.float()
            output: torch.Tensor = self.generator(x.to(self.dtype))
            return output.permute(0, 2, 3, 1).to(torch.float32).contiguous().cpu().numpy()


def read_generator(folder: Path, direction: Direction, where: str) -> tuple[Generator, dict[str, Any]]:
    """One generator of a model folder, float32, in eval mode, and the model's config.

    `where` names the folder in messages. Raises UsageError where there is no model or it is damaged.
    """
    generator, config = load_generator(folder, direction, where=where)
    return generator, {**config}
