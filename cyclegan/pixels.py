"""The two scales of a picture: bytes in [0, 255] and what the networks take, in [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


LEVELS = 127.5
"""Grey levels of a difference of 1 on the scale of the networks."""


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 of any shape in [0, 255] → float32 in [-1, 1], laid out as it was; floats in place."""
    return pixels.float().div_(LEVELS).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float N×3×H×W in [-1, 1] → uint8 N×H×W×3, rounded to nearest as in a saved file, and clamped."""
    return round_to_bytes(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def round_to_bytes(images: Tensor) -> Tensor:
    """The rounding of `to_uint8`, as a uint8 tensor laid out as it was."""
    return images.float().add(1).mul(LEVELS).round_().clamp_(0, 255).byte()


def to_unit_array(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`to_unit` without torch."""
    floats = pixels.astype(np.float32)
    floats /= LEVELS
    floats -= 1
    return floats


def to_uint8_array(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rounding of `to_uint8` without torch, of any shape; `image` is overwritten."""
    image += 1
    image *= LEVELS
    np.round(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
