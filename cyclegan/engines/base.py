"""What every engine is: a function of pictures, with the few facts that its caller needs. Loads no numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
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
