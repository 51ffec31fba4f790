"""Pictures of what the generators do: a grid for each direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cyclegan.data.packed import PackedImages, scale
from cyclegan.io.pages.false_colour import View
from cyclegan.io.pages.pictures import sheet
from cyclegan.networks import Generator
from cyclegan.networks.padding import at_any_size
from cyclegan.pixels import to_integers

Grid = np.ndarray


def sample_images(images: PackedImages, count: int, size: tuple[int, int]) -> Tensor:
    """`count` whole images spread evenly over a test set, N×C×H×W in [-1, 1], resized to `size`."""
    index = torch.linspace(0, len(images) - 1, min(count, len(images))).long()
    chosen = scale(images.images[index.to(images.images.device)].to(images.device))
    if chosen.shape[2:] != size:
        chosen = nn.functional.interpolate(chosen, size, mode="bilinear", antialias=True).clamp(-1, 1)
    return chosen


@torch.no_grad()
def translate_and_back(there: Generator, back: Generator, images: Tensor) -> tuple[Tensor, Tensor]:
    """Translations and reconstructions of N×C×H×W in [-1, 1], float32 of the same shape.

    One image at a time, so that memory stays what training needs.
    """
    translated = torch.cat([at_any_size(there, image[None]).float() for image in images])
    reconstructed = torch.cat([at_any_size(back, image[None]).float() for image in translated])
    return translated, reconstructed


def labelled(
    images: Tensor,
    translated: Tensor,
    reconstructed: Tensor,
    names: Sequence[str],
    *,
    views: Sequence[View] = (),
    bits: int = 8,
) -> Grid:
    """The three, each N×C×H×W in [-1, 1], as columns with labels: uint8, 1200 pixels wide, a row an image.

    `names` and `views` are those of the domain that the images are of, and of the one they are translated to;
    RGB of 8 bits needs no views.
    """
    source, target = names
    columns = {
        f"{source} (input)": (images, 0),
        f"{target} (translation)": (translated, 1),
        f"{source} (and back)": (reconstructed, 0),
    }
    shown = {}
    for label, (pictures, end) in columns.items():
        values = to_integers(pictures, bits)
        shown[label] = views[end](values) if views else values
    return sheet(shown)
