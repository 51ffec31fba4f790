"""ImageNet weights for the encoder of `vgg_unet`: from torchvision, a file or a URI."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file, sha256
from cyclegan.io.uri import Address
from cyclegan.io.weights import load_state_dict, obtain, read_state_dict
from cyclegan.networks import VggUnet

logger = logging.getLogger(__name__)

ADVICE = "name a copy of the file or its URI by --weights, or start from random weights with --weights none"


def load_encoder(generators: list[VggUnet], weights: str, *, partial: bool = False) -> None:
    """Give the encoders the weights named: imagenet, none, a file (.pth, .safetensors), https:// or s3://.

    Raises UsageError for a file that is missing or is not VGG-16, CycleGANError for a failed download.
    """
    weights = Address(weights)
    if weights == "none":
        return
    state = _imagenet() if weights == "imagenet" else load_state_dict(weights, advice=ADVICE)
    for generator in generators:
        try:
            missing = generator.load_vgg_(state, partial=partial)
        except UsageError as error:
            hint = "" if partial else " Set weights_partial to start the missing layers at random."
            raise UsageError(f"weights = {weights}: {error}{hint}") from None
    if missing:
        logger.warning("%s lacks these layers of VGG-16, which start at random: %s", weights, missing)


def _imagenet() -> Mapping[str, Tensor]:
    """torchvision's file, from torch's cache or by our own download, with its timeouts and limits."""
    from torchvision.models import VGG16_Weights

    url = str(VGG16_Weights.IMAGENET1K_V1.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        logger.info("Downloading the ImageNet weights of VGG-16 from %s", url)
        prefix = path.stem.rsplit("-", 1)[1]  # of the SHA-256, which the file's name carries
        with atomic_file(path) as temporary:
            obtain(url, temporary, advice=ADVICE)
            if not sha256(temporary).startswith(prefix):
                raise CycleGANError(f"The download of {url} is damaged (wrong SHA-256): {ADVICE}.")
    return read_state_dict(path, str(path))
