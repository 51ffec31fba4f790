"""The networks: generators and discriminators, built by name from plain options."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cyclegan.errors import UsageError
from cyclegan.networks.discriminators.patchgan import AuthorDiscriminator, PatchGAN
from cyclegan.networks.discriminators.perceptual import PerceptualDiscriminator
from cyclegan.networks.generator import Generator
from cyclegan.networks.resnet import ResnetGenerator
from cyclegan.networks.unet import UnetGenerator
from cyclegan.networks.vgg_unet import VggUnet

GENERATORS: dict[str, type[Generator]] = {
    "vgg_unet": VggUnet,
    "resnet": ResnetGenerator,
    "unet": UnetGenerator,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "patchgan": PatchGAN,
    "strided": AuthorDiscriminator,
    "perceptual": PerceptualDiscriminator,
}

Network = TypeVar("Network", bound=nn.Module)

__all__ = [
    "AuthorDiscriminator",
    "Generator",
    "PatchGAN",
    "PerceptualDiscriminator",
    "ResnetGenerator",
    "UnetGenerator",
    "VggUnet",
    "build_discriminator",
    "build_generator",
    "generator_shapes",
]


def build_generator(name: str, **options: Any) -> Generator:
    """An initialised generator: N×3×H×W in [-1, 1] to the same shape and range, or with other channels.

    H and W must be multiples of its `.multiple`; `padding.at_any_size` takes others. The options are the
    constructor's arguments of the class that `name` stands for.
    Raises UsageError for an unknown name or option.
    """
    return _build("generator", GENERATORS, name, options)


def generator_shapes(name: str, **options: Any) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that `build_generator` would make, without making any.

    Raises UsageError for an unknown name or option.
    """
    with torch.device("meta"), _WithoutInitialisation():
        state = build_generator(name, **options).state_dict(keep_vars=True)
    return {key: tuple(value.shape) for key, value in state.items()}


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves tensors as they are: on the meta device the first random number costs six seconds of imports."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _INITIALISERS:
            return args[0] if args else given["tensor"]  # torch.nn.init passes its tensor by name
        return func(*args, **given)


_INITIALISERS = frozenset(
    {"normal_", "uniform_", "fill_", "zero_", "kaiming_uniform_", "xavier_uniform_", "constant_", "zeros_"}
)


def build_discriminator(name: str, **options: Any) -> nn.Module:
    """An initialised discriminator: N×3×H×W in [-1, 1] to an N×c×h×w map of scores, real towards 1.

    c is 4 for `perceptual`, whose VGG-16 has no weights yet, and else 1.

    Raises UsageError for an unknown name or option.
    """
    return _build("discriminator", DISCRIMINATORS, name, options)


def _build(kind: str, known: dict[str, type[Network]], name: str, options: dict[str, Any]) -> Network:
    if name not in known:
        raise UsageError(f"There is no {kind} '{name}'; choose one of {', '.join(known)}.")
    try:
        return known[name](**options)
    except TypeError as error:
        raise UsageError(f"The {kind} '{name}' cannot be built: {error}.") from None
