"""The weights of the FID Inception: found, checked by hash, and read without running anything in the file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file, sha256
from cyclegan.io.uri import Address
from cyclegan.io.weights import local_copy, obtain, read_state_dict

logger = logging.getLogger(__name__)

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
PUBLISHED_PREFIX = "6726825d"
"""First digits of the SHA-256 of torch-fidelity's published file, which its name carries."""
KNOWN = frozenset(
    {
        # the same network with batch norm folded and zeros after Mixed_7a: features 64, 192 and 768 only
        "c19de9255af4c78e48c83fcc503784f4959feaf94822211ca099729c3bba5f63",
    }
)
LAST_LAYER = {64: "Conv2d_2b_3x3", 192: "Conv2d_4a_3x3", 768: "Mixed_6e", 2048: "Mixed_7c"}
"""The last layer that each feature set passes through."""


@dataclass(frozen=True)
class Weights:
    """A state dict of the FID Inception in torch-fidelity's names, and the hash of the file it came from."""

    state: dict[str, Tensor]
    sha256: str

    def features(self) -> tuple[int, ...]:
        """The feature sets that these weights provide: those whose layers are not all zero."""
        return tuple(d for d, layer in LAST_LAYER.items() if self._filled(layer))

    def _filled(self, layer: str) -> bool:
        return any(bool(v.any()) for k, v in self.state.items() if k.startswith(f"{layer}.") and "conv" in k)


def cached_file() -> Path | None:
    """torch-fidelity's file in torch's download cache, or None."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1]
    return path if path.is_file() else None


def load_weights(address: str = "", expected_sha256: str = "", *, prefix: str = "") -> Weights:
    """Load the weights at `address` (file, https:// or s3://; empty: torch-fidelity's download, cached).

    The file must have `expected_sha256`, or be a known one where that is empty. It is read by torch's
    restricted unpickler or as safetensors, so a hostile file can run nothing. `prefix` is what the names of
    the settings begin with in messages. Raises UsageError for a missing or unknown file, CycleGANError for a
    failed download or a file that is not FID Inception.
    """
    advice = _advice(prefix)
    address = Address(address)
    if not address:
        path = cached_file() or _published(
            Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1], advice
        )
        return _load(path, expected_sha256, URL, prefix)
    with local_copy(address, advice=advice) as path:
        return _load(path, expected_sha256, address, prefix)


def _advice(prefix: str) -> str:
    flag = prefix.replace("_", "-")
    return f"name a copy of the file by --{flag}weights, or choose --{flag}features random"


def _load(path: Path, expected: str, name: str, prefix: str) -> Weights:
    digest = sha256(path)
    if expected and digest != expected:
        raise CycleGANError(f"The Inception weights {name} have SHA-256 {digest}, not {expected}.")
    if not expected and digest not in KNOWN and not digest.startswith(PUBLISHED_PREFIX):
        raise UsageError(
            f"The Inception weights {name} are not a known file (SHA-256 {digest}); "
            f"if you trust them, set {prefix}weights_sha256."
        )
    return Weights(_read_state(path, name), digest)


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    state = read_state_dict(path, name)
    missing = [layer for layer in LAST_LAYER.values() if not any(k.startswith(f"{layer}.") for k in state)]
    if missing:
        raise CycleGANError(
            f"The Inception weights {name} are not in torch-fidelity's names: {missing[0]} is missing."
        )
    return state


def _published(path: Path, advice: str) -> Path:
    """torch-fidelity's file, downloaded to `path`."""
    logger.info("Downloading the Inception weights from %s", URL)
    with atomic_file(path) as temporary:
        obtain(URL, temporary, advice=advice)
        if not sha256(temporary).startswith(PUBLISHED_PREFIX):
            raise CycleGANError(f"The download of {URL} is damaged (wrong SHA-256): try again.")
    return path
