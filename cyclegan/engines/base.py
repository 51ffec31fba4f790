"""What every engine is: a function of pictures, with the few facts that its caller needs."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from cyclegan.pixels import to_unit_array

EngineName = Literal["auto", "torch", "onnx", "openvino"]
Precision = Literal["auto", "fp32", "bf16"]


class Engine(Protocol):
    """A generator ready to run."""

    name: str
    """Library, precision and device, for people: 'torch bf16 on cpu'."""
    multiple: int
    """The sides of images must be multiples of this, and at least two of them."""
    batch: int
    """How many images of equal size are best computed at once."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×H×W×3 in [-1, 1]."""


def planes(images: np.ndarray) -> np.ndarray:
    """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×3×H×W in [-1, 1]."""
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return to_unit_array(channels_first) if images.dtype == np.uint8 else channels_first.astype(np.float32)


def pixels(images: Any) -> np.ndarray:
    """float N×3×H×W to float32 N×H×W×3."""
    return np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1), np.float32)
