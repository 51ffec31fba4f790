"""The two scales of a picture: integers from 0 to 255 or 65535, and what the networks take, in [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


LEVELS = 127.5
"""Grey levels of 8 bits of a difference of 1 on the scale of the networks."""


def levels(bits: int) -> float:
    """Levels of a difference of 1 on the scale of the networks: 127.5, or 32767.5 of 16 bits."""
    return ((1 << bits) - 1) / 2


def to_unit(pixels: Tensor, bits: int = 0) -> Tensor:
    """uint8 or uint16 of any shape → float32 in [-1, 1], laid out as it was.

    Floats that hold such integers, of so many `bits`, are changed in place.
    """
    return pixels.float().div_(levels(bits or 8 * pixels.dtype.itemsize)).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float N×3×H×W in [-1, 1] → uint8 N×H×W×3, rounded to nearest as in a saved file, and clamped."""
    return to_integers(images, 8)


def to_integers(images: Tensor, bits: int) -> NDArray[Any]:
    """float N×C×H×W in [-1, 1] → uint8 or uint16 N×H×W×C, rounded to nearest and clamped."""
    return _round(images, bits).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def round_to_bytes(images: Tensor) -> Tensor:
    """The rounding of `to_uint8`, as a uint8 tensor laid out as it was."""
    return _round(images, 8)


def _round(images: Tensor, bits: int) -> Tensor:
    rounded = images.float().add(1).mul(levels(bits)).round_().clamp_(0, (1 << bits) - 1)
    if bits == 8:
        return rounded.byte()
    import torch

    return rounded.to(torch.uint16)


def to_unit_array(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """`to_unit` of integers without torch."""
    floats = pixels.astype(np.float32)
    floats /= levels(8 * pixels.itemsize)
    floats -= 1
    return floats


def to_uint8_array(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rounding of `to_uint8` without torch, of any shape; `image` is overwritten."""
    return to_integer_array(image, 8)


def to_integer_array(image: NDArray[np.float32], bits: int) -> NDArray[Any]:
    """The rounding of `to_integers` without torch, of any shape; `image` is overwritten."""
    image += 1
    image *= levels(bits)
    np.round(image, out=image)
    return np.clip(image, 0, (1 << bits) - 1, out=image).astype(f"uint{bits}")
