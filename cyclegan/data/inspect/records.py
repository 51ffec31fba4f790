"""What a look at a dataset finds, as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DomainSummary:
    """One domain in numbers; medians unless said otherwise."""

    count: int
    """Usable images."""
    bad: int
    sizes: list[tuple[str, int]]
    """The most frequent 'width x height' and how many have it."""
    short_side: float
    """In pixels."""
    aspect: float
    """Long side over short side."""
    modes: dict[str, int]
    formats: dict[str, int]
    quality: float
    """Estimated JPEG quality, 0 where there are no JPEGs."""
    kilobytes: float
    grey: int
    """Images without colour, whatever their mode."""
    flat: int
    """Images that show almost nothing."""
    turned: int
    animated: int
    wide: int
    """Images with a colour profile other than sRGB."""
    deep: tuple[int, float, float, float]
    """Images of more than 8 bits a channel: how many, lowest and largest value, largest that they declare."""
    unscaled: tuple[int, float, float, float]
    """The same of those, not counted there, with values that their files' scale does not cover."""
    brightness: float
    """Mean of all pixels, in [0, 255]."""
    colourless: list[str]
    """Files without colour: `grey` of them."""
    contrast: float
    """Mean standard deviation of an image's grey values."""
    colour: tuple[float, float, float]
    """Mean red, green and blue, in [0, 255]."""
    saturation: float
    """Mean difference between an image's largest and smallest channel, in [0, 255]."""


@dataclass(frozen=True)
class Duplicate:
    """Two files that show the same."""

    first: str
    second: str
    exact: bool
    kind: Literal["train and test", "A and B", "within"]


@dataclass(frozen=True)
class Finding:
    """One thing to know: 'bad' spoils results, 'warn' may, 'note' does not."""

    level: Literal["bad", "warn", "note"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a dataset."""

    folder: Path
    domains: dict[str, DomainSummary]
    findings: list[Finding]
    duplicates: list[Duplicate]
    flat: list[str] = field(default_factory=list)
    """Files that show almost nothing."""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """Unusable files and why."""
