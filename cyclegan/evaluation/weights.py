"""The weights of the FID Inception: found, checked by hash, and read without running anything in the file."""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.files import atomic_file, sha256

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
TIMEOUT = 20.0
"""Seconds without an answer after which a download has failed."""
LAST_LAYER = {64: "Conv2d_2b_3x3", 192: "Conv2d_4a_3x3", 768: "Mixed_6e", 2048: "Mixed_7c"}
"""The last layer that each feature set passes through."""


@dataclass(frozen=True)
class Weights:
    """A state dict of the FID Inception in torch-fidelity's names, and the hash of the file it came from."""

    state: dict[str, Tensor]
    sha256: str

    def features(self) -> tuple[int, ...]:
        """The feature sets that these weights can give: those whose layers are not all zero."""
        return tuple(d for d, layer in LAST_LAYER.items() if self._filled(layer))

    def _filled(self, layer: str) -> bool:
        return any(bool(v.any()) for k, v in self.state.items() if k.startswith(f"{layer}.") and "conv" in k)


def cached_file() -> Path | None:
    """torch-fidelity's file in torch's download cache, if it lies there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1]
    return path if path.is_file() else None


def load_weights(address: str = "", expected_sha256: str = "") -> Weights:
    """Load the weights at `address` (file, https:// or s3://; empty: torch-fidelity's download, cached).

    The file must have `expected_sha256`, or be a known one where that is empty. It is read by torch's
    restricted unpickler or as safetensors, so a hostile file can run nothing. Raises UsageError for a missing
    or unknown file, CycleGANError for a failed download or a file that is no FID Inception.
    """
    if not address:
        path = cached_file() or _download(URL, Path(torch.hub.get_dir()) / "checkpoints")
    elif "://" in address and not address.startswith("file://"):
        with tempfile.TemporaryDirectory() as folder:
            return _load(_download(address, Path(folder)), expected_sha256, address)
    else:
        path = Path(address.removeprefix("file://")).expanduser()
    return _load(path, expected_sha256, str(path))


def _load(path: Path, expected: str, name: str) -> Weights:
    if not path.is_file():
        raise UsageError(f"There is no Inception weights file {name}.")
    digest = sha256(path)
    if expected and digest != expected:
        raise CycleGANError(f"The Inception weights {name} have SHA-256 {digest}, not {expected}.")
    if not expected and digest not in KNOWN and not digest.startswith(PUBLISHED_PREFIX):
        raise UsageError(
            f"The Inception weights {name} are not a known file (SHA-256 {digest}); "
            f"if you trust them, say so by weights_sha256."
        )
    return Weights(_read_state(path, name), digest)


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    if Path(name).suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except SafetensorError as error:
            raise CycleGANError(
                f"The Inception weights {name} are not a safetensors file: {error}."
            ) from None
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError):
            raise CycleGANError(f"The Inception weights {name} are not a plain PyTorch state dict.") from None
    missing = [layer for layer in LAST_LAYER.values() if not any(k.startswith(f"{layer}.") for k in state)]
    if missing:
        raise CycleGANError(
            f"The Inception weights {name} are not in torch-fidelity's names: {missing[0]} is missing."
        )
    return state


def _download(address: str, folder: Path) -> Path:
    path = folder / address.rsplit("/", 1)[1]
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger(__name__).info("Downloading the Inception weights from %s", address)
    advice = "name a copy of the file by `weights`, or choose features=random"
    if address.startswith("s3://"):
        from cyclegan.storage import open_store

        bucket, _, key = address.rpartition("/")
        open_store(bucket).get(key, path)
        return path
    if not address.startswith(("https://", "http://")):
        raise UsageError(f"The address {address} is none of: a file, https://, s3://.")
    try:
        with atomic_file(path) as temporary:
            with urlopen(address, timeout=TIMEOUT) as answer, temporary.open("wb") as file:
                shutil.copyfileobj(answer, file)
            if address == URL and not sha256(temporary).startswith(PUBLISHED_PREFIX):
                raise CycleGANError(f"The download of {address} is damaged (wrong SHA-256): try again.")
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise CycleGANError(
            f"Cannot download the Inception weights {address} ({reason}): {advice}."
        ) from None
    return path
