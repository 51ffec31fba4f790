"""ImageNet weights for the encoder of `vgg_unet`: from torchvision, a file or a URI."""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.networks import VggUnet

logger = logging.getLogger(__name__)

TIMEOUT = 20.0
"""Seconds without an answer after which a download has failed."""


def load_encoder(generators: list[VggUnet], weights: str, *, partial: bool = False) -> None:
    """Give the encoders the weights named: imagenet, none, a file (.pth, .safetensors), https:// or s3://.

    Raises UsageError for a file that is missing or is no VGG-16, CycleGANError for a failed download.
    """
    if weights == "none":
        return
    state = _imagenet() if weights == "imagenet" else read_state(weights)
    for generator in generators:
        try:
            missing = generator.load_vgg_(state, partial=partial)
        except UsageError as error:
            hint = "" if partial else " Set weights_partial to start the missing layers at random."
            raise UsageError(f"weights = {weights}: {error}{hint}") from None
    if missing:
        logger.warning("%s lacks these layers of VGG-16, which start at random: %s", weights, missing)


def read_state(address: str) -> dict[str, Tensor]:
    """A state dict from a file, https:// or s3://, read so that nothing in it can run."""
    if "://" not in address or address.startswith("file://"):
        path = Path(address.removeprefix("file://")).expanduser()
        if not path.is_file():
            raise UsageError(f"There is no weights file {path}.")
        return _parse(path, address)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        if address.startswith("s3://"):
            from cyclegan.storage import open_store

            bucket, _, key = address.rpartition("/")
            open_store(bucket).get(key, path)
        elif address.startswith(("https://", "http://")):
            try:
                with urlopen(address, timeout=TIMEOUT) as answer, path.open("wb") as file:
                    shutil.copyfileobj(answer, file)
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                raise CycleGANError(f"Cannot download the weights {address}: {reason}.") from None
        else:
            raise UsageError(f"The address {address} is none of: a file, https://, s3://.")
        return _parse(path, address)


def _parse(path: Path, address: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if address.endswith(".safetensors"):
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise UsageError(f"{address} is no file of weights (a state dict as .pth or .safetensors).") from None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"{address} holds something else than a state dict of tensors.")
    return dict(state)


def _imagenet() -> Mapping[str, Tensor]:
    from torchvision.models import VGG16_Weights

    try:
        return VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise CycleGANError(
            f"The ImageNet weights of VGG-16 can't be downloaded ({reason}): name a copy of the file or its "
            "URI by weights, or start from random weights with weights none."
        ) from None
