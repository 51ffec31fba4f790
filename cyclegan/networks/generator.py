"""What all generators are: networks from images to images that say which sizes they take."""

from __future__ import annotations

from cyclegan.networks.checkpointing import Recomputable


class Generator(Recomputable):
    """N×C×H×W in [-1, 1] to N×C'×H×W in that range, of 3 channels each unless built with others.

    H and W are multiples of `multiple`.
    """

    multiple: int
    smallest: int = 1
    """The least H and W, where that is more than `multiple`."""
