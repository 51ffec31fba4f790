"""What the pixels of an image are: how many channels, of how many bits each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Bits = Literal[8, 16]
LARGEST_CHANNELS = 64


def can_be_channels(count: object) -> bool:
    """Whether images can have so many channels: a whole number from 1 to `LARGEST_CHANNELS`."""
    return type(count) is int and 1 <= count <= LARGEST_CHANNELS


@dataclass(frozen=True)
class PixelKind:
    """Channels of a pixel and bits of each, as unsigned integers: uint8 or uint16."""

    channels: int = 3
    bits: int = 8

    @property
    def dtype(self) -> str:
        """The name of NumPy's and torch's type."""
        return f"uint{self.bits}"

    @property
    def is_rgb(self) -> bool:
        """Whether images are converted to RGB of 8 bits, as is usual, and not kept as they are."""
        return self == RGB

    def __str__(self) -> str:
        return f"{self.channels} {'channel' if self.channels == 1 else 'channels'} of {self.bits} bits"


RGB = PixelKind()

Kinds = Mapping[str, PixelKind]
"""By domain, A and B."""
ALL_RGB: Kinds = {"A": RGB, "B": RGB}


def all_rgb(kinds: Kinds) -> bool:
    """Whether the images of both domains are RGB of 8 bits."""
    return all(kind.is_rgb for kind in kinds.values())


def alike(kinds: Kinds) -> bool:
    """Whether an image of one domain could be one of the other."""
    return kinds["A"] == kinds["B"]


def in_words(kinds: Kinds) -> str:
    """'images have 4 channels of 16 bits', or 'A has 2 channels of 16 bits, B has 1 channel of 16 bits'."""
    a, b = kinds["A"], kinds["B"]
    return f"images have {a}" if a == b else f"A has {a}, B has {b}"


def generator_channels(kinds: Kinds, direction: str) -> dict[str, int]:
    """What `build_generator` must be told of a direction's channels: nothing where all have 3."""
    source, target = direction.split("to")
    found = {"in_channels": kinds[source].channels, "out_channels": kinds[target].channels}
    return {} if set(found.values()) == {3} else found


def discriminator_channels(kinds: Kinds, domain: str) -> dict[str, int]:
    """What `build_discriminator` must be told of a domain's channels: nothing where it has 3."""
    return {} if kinds[domain].channels == 3 else {"in_channels": kinds[domain].channels}
