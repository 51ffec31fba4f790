"""Whether a generator in another form or by another library still draws the same picture."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.errors import CycleGANError
from cyclegan.pixels import LEVELS

if TYPE_CHECKING:
    import torch

    from cyclegan.engines.pixel_graph import Form
    from cyclegan.networks import Generator

TOLERANCE = 1e-3  # of [-1, 1]; one grey level of 8 bits is 8e-3
GATE = 1.0  # grey levels on average, for arithmetic of 16 bits


def check_export(
    run: Callable[[torch.Tensor], torch.Tensor], generator: Generator, form: Form | None = None
) -> float:
    """Compare `run`, which takes and returns what `form` says, with the generator on noise of three sizes.

    Returns the mean difference in grey levels. Raises CycleGANError where that is above GATE for float16, and
    for float32 where a single value is off by more than rounding.
    """
    import torch

    from cyclegan.engines.pixel_graph import PLAIN, Form

    form = form or PLAIN
    exact = Form(form.images).wrap(generator)
    uint8 = form.images == "uint8"
    worst, means = 0.0, list[float]()
    for images in example_inputs(generator.multiple, form):
        with torch.inference_mode():
            apart = (run(images).float() - exact(images).float()).abs() * (1 if uint8 else LEVELS)
        worst = max(worst, apart.max().item())
        means.append(apart.mean().item())
    mean = max(means)
    if form.precision == "fp16":
        if not mean <= GATE:
            raise CycleGANError(
                f"The generator in fp16 is {mean:.1f} grey levels off on average, above {GATE:g}: use fp32."
            )
    elif not worst <= (1 if uint8 else TOLERANCE * LEVELS):
        raise CycleGANError(
            f"The exported generator differs from the trained one by {worst:.2g} grey levels."
        )
    return mean


def example_inputs(multiple: int, form: Form) -> list[torch.Tensor]:
    """Noise of three sizes, as `form` says: sides that the network takes, or odd ones where it takes any."""
    import torch

    generator = torch.Generator().manual_seed(0)
    side = max(2, -(-16 // multiple)) * multiple
    if form.images == "uint8":
        sizes = [(side, side), (side + 3, side + multiple - 1), (max(side // 2 - 1, 3), side + 1)]
        return [torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8) for size in sizes]
    shapes = [(batch, 3, side, side + columns * multiple) for columns, batch in ((0, 1), (1, 2), (3, 1))]
    return [torch.rand(shape, generator=generator) * 2 - 1 for shape in shapes]


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
