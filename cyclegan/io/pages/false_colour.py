"""How images of any channels and bits are shown to people: as RGB of 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILE = 0.5
VALUES = 1_000_000
"""About how many values of a channel the percentiles are taken of."""
_SHOWN = {1: (0, 0, 0), 2: (0, 1, 0)}
"""Which channels are red, green and blue: grey, magenta and green, else the first three."""


@dataclass(frozen=True)
class View:
    """Which values are black and white in each channel, the same for all images that are to be compared."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, images: NDArray[Any]) -> View:
        """For images N×H×W×C like these: the whole range of uint8, of uint16 all but the outermost values."""
        channels = images.shape[3]
        if images.dtype == np.uint8:
            return cls((0.0,) * channels, (255.0,) * channels)
        step = max(1, -(-images[..., 0].size // VALUES))
        values = np.concatenate([image.reshape(-1, channels)[::step] for image in images])
        low, high = np.percentile(values, (PERCENTILE, 100 - PERCENTILE), axis=0)
        return cls(tuple(map(float, low)), tuple(map(float, np.maximum(high, low + 1))))

    def __call__(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Images …×C as uint8 …×3; RGB of 8 bits is returned as it is."""
        channels = images.shape[-1]
        if images.dtype == np.uint8 and channels == 3:
            return images
        shown = list(_SHOWN.get(channels, (0, 1, 2)))
        if images.dtype == np.uint8:
            return np.ascontiguousarray(images[..., shown])
        low, high = (np.array(ends, np.float32)[shown] for ends in (self.low, self.high))
        scaled = (images[..., shown].astype(np.float32) - low) * (255 / (high - low))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def shown_alone(image: NDArray[Any]) -> NDArray[np.uint8]:
    """One image H×W×C as uint8 H×W×3, by its own values."""
    return View.of(image[None])(image)
