"""The networks: three generators and the PatchGAN discriminator, built by name from plain options."""

from __future__ import annotations

from typing import Any

from torch import nn

from cyclegan.errors import UsageError
from cyclegan.networks.patchgan import AuthorDiscriminator, PatchGAN
from cyclegan.networks.resnet import ResnetGenerator
from cyclegan.networks.unet import UnetGenerator
from cyclegan.networks.vgg_unet import VggUnet

GENERATORS: dict[str, type[nn.Module]] = {
    "vgg_unet": VggUnet,
    "resnet": ResnetGenerator,
    "unet": UnetGenerator,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {"patchgan": PatchGAN, "strided": AuthorDiscriminator}

__all__ = [
    "AuthorDiscriminator",
    "PatchGAN",
    "ResnetGenerator",
    "UnetGenerator",
    "VggUnet",
    "build_discriminator",
    "build_generator",
]


def build_generator(name: str, **options: Any) -> nn.Module:
    """An initialised generator: N×3×H×W in [-1, 1] to the same shape and range.

    H and W must be multiples of its `.multiple`; `padding.at_any_size` takes others. The options are the
    constructor's arguments of the class that `name` stands for.
    Raises UsageError for an unknown name or option.
    """
    return _build("generator", GENERATORS, name, options)


def build_discriminator(name: str, **options: Any) -> nn.Module:
    """An initialised discriminator: N×3×H×W in [-1, 1] to an N×1×h×w map of scores, real towards 1.

    Raises UsageError for an unknown name or option.
    """
    return _build("discriminator", DISCRIMINATORS, name, options)


def _build(kind: str, known: dict[str, type[nn.Module]], name: str, options: dict[str, Any]) -> nn.Module:
    if name not in known:
        raise UsageError(f"There is no {kind} '{name}'; choose one of {', '.join(known)}.")
    try:
        return known[name](**options)
    except TypeError as error:
        raise UsageError(f"The {kind} '{name}' cannot be built: {error}.") from None
