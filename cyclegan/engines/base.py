"""What every engine is: a function of pictures, with the few facts that its caller needs."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

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


def to_uint8(image: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] to uint8, rounded; the input is overwritten."""
    image += 1
    image *= 127.5
    np.round(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def planes(images: np.ndarray) -> np.ndarray:
    """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×3×H×W in [-1, 1]."""
    floats = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    if images.dtype == np.uint8:
        floats /= 127.5
        floats -= 1
    return floats


def pixels(images: Any) -> np.ndarray:
    """float N×3×H×W to float32 N×H×W×3."""
    return np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1), np.float32)
