"""Whether a generator in another form or by another library still draws the same picture."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.errors import CycleGANError

if TYPE_CHECKING:
    import torch

    from cyclegan.networks import Generator

TOLERANCE = 1e-3  # of [-1, 1]; one grey level of 8 bits is 8e-3
GATE = 1.0  # grey levels on average, for arithmetic of 16 bits


def check_export(
    run: Callable[[torch.Tensor], torch.Tensor],
    generator: Generator,
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Compare `run` with the generator on noise of three sizes and two batch sizes; returns the difference.

    Both take and return float32 N×3×H×W in [-1, 1]. The difference is the largest of all values. Raises
    CycleGANError where it exceeds `tolerance` or is not a number.
    """
    import torch

    multiple = generator.multiple
    worst = 0.0
    for columns, batch in ((0, 1), (1, 2), (3, 1)):
        images = example_batch(multiple, columns, batch)
        with torch.inference_mode():
            difference = (run(images) - generator(images)).abs().max().item()
        if not difference <= tolerance:
            raise CycleGANError(f"The exported generator differs from the trained one by {difference:.2g}.")
        worst = max(worst, difference)
    return worst


def example_batch(multiple: int, columns: int, batch: int) -> torch.Tensor:
    """Noise, float32 N×3×H×W in [-1, 1], at least two multiples high and `columns` multiples wider."""
    import torch

    rows = max(2, -(-16 // multiple)) * multiple
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, rows, rows + columns * multiple, generator=generator) * 2 - 1


def example_picture(multiple: int) -> np.ndarray:
    """A picture of coloured squares, uint8 1×S×S×3, which every engine draws before it is used."""
    side = max(2, -(-32 // multiple)) * multiple
    cells = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    index = np.arange(side) * 8 // side
    return cells[:, index][:, :, index]


def pack(picture: np.ndarray) -> str:
    """A uint8 array as text, to be stored in an ONNX file's metadata."""
    return base64.b64encode(zlib.compress(picture.tobytes(), 9)).decode()


def grey_levels_apart(picture: np.ndarray, packed: str) -> float:
    """Mean difference in grey levels of a uint8 picture from one that `pack` wrote; inf for another size."""
    expected = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    if expected.size != picture.size:
        return float("inf")
    return float(np.abs(expected.astype(np.int16) - picture.ravel()).mean())
