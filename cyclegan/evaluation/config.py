"""Parameters of an evaluation; imports nothing heavy, so that the command line stays quick."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.io.uri import hide_secrets
from cyclegan.pixel_kind import Kinds, all_rgb, in_words

Features = Literal["auto", "inception2048", "inception768", "inception192", "inception64", "random"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How the generators are evaluated on the test split."""

    features: Features = "auto"
    """Feature extractor of the distribution distances. Only inception2048 gives FID and KID; any other gives
    distances that carry its name. auto: the Inception of `weights`, or one already in torch's download cache,
    else the fixed random network (nothing is downloaded)."""
    weights: str = ""
    """FID Inception weights: a file, https:// or s3:// address (.pth or .safetensors); empty:
    torch-fidelity's own download, kept in torch's cache."""
    weights_sha256: str = ""
    """SHA-256 that the weights file must have; empty: only known files of the FID Inception are accepted."""
    batch_size: int = 16
    """Images per batch, in translation and feature extraction."""
    max_images: int = 0
    """Test images to use from each domain, drawn by `seed`; 0: all."""
    resamples: int = 100
    """Bootstrap resamples behind the 95 % intervals of the distances; 0: no intervals.
    With more than 2000 test images of a domain they come from a jackknife instead."""
    map_threshold: int = 10
    """Map accuracy counts a pixel as correct if each channel is off by less than this (of 255)."""
    examples: int = 12
    """Images of each direction shown in the report."""
    champion: str = ""
    """Model to compare with in the report: a scores folder, or models:/NAME for the champion registered under
    that name; empty: none."""
    seed: int = 0
    """Seed of the bootstrap and of the choice of `max_images`."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        hide_secrets(self, "weights", "champion")
        if self.batch_size < 1:
            raise UsageError(f"batch_size = {self.batch_size}: at least 1 is needed.")
        if self.max_images < 0 or self.max_images == 1:
            raise UsageError(f"max_images = {self.max_images}: 0 (all) or at least 2 is needed.")
        if self.resamples < 0:
            raise UsageError(f"resamples = {self.resamples}: 0 or more is needed.")
        if not 1 <= self.map_threshold <= 255:
            raise UsageError(f"map_threshold = {self.map_threshold}: 1 to 255 is needed.")
        if self.examples < 1:
            raise UsageError(f"examples = {self.examples}: at least 1 is needed.")
        check_features(self.features, self.weights, self.weights_sha256)


def check_features(features: Features, weights: str, weights_sha256: str, prefix: str = "") -> None:
    """Raise UsageError for settings that contradict one another; `prefix` is what their names begin with."""
    if weights_sha256 and not re.fullmatch(r"[0-9a-f]{64}", weights_sha256):
        raise UsageError(f"{prefix}weights_sha256 must be 64 lower-case hexadecimal digits.")
    if features == "random" and weights:
        raise UsageError(f"{prefix}features = random takes no weights; leave {prefix}weights empty.")


def check_features_of(kinds: Kinds, features: Features, weights: str, prefix: str = "") -> None:
    """Raise UsageError where images of these kinds have no such features: Inception takes RGB of 8 bits."""
    if not all_rgb(kinds) and (weights or features not in ("auto", "random")):
        asked = f"{prefix}features = {features}" if features != "auto" else f"{prefix}weights"
        raise UsageError(
            f"{asked}: Inception takes RGB of 8 bits, but here {in_words(kinds)}: set {prefix}features = "
            "random, which gives distances that rank models on the same data and are not FID or KID."
        )
