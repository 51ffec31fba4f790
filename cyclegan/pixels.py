"""The two scales of a picture: bytes in [0, 255] and what the networks take, in [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 of any shape in [0, 255] → float32 in [-1, 1], laid out as it was; floats in place."""
    return pixels.float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float N×3×H×W in [-1, 1] → uint8 N×H×W×3, rounded to nearest as in a saved file, and clamped."""
    pixels = images.float().add(1).mul(127.5).round_().clamp_(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_unit_array(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`to_unit` without torch."""
    floats = pixels.astype(np.float32)
    floats /= 127.5
    floats -= 1
    return floats


def to_uint8_array(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rounding of `to_uint8` without torch, of any shape; `image` is overwritten."""
    image += 1
    image *= 127.5
    np.round(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
