"""What a run starts from: a model, a checkpoint, and the weights of VGG-16."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.import_reference import read_reference
from cyclegan.inference.translator import directions_of, model_folder
from cyclegan.io.files import atomic_file, sha256
from cyclegan.io.uri import Address, redact
from cyclegan.io.weights import load_state_dict, obtain, read_state_dict
from cyclegan.model import DIRECTIONS, Direction, load_generator
from cyclegan.networks import Generator, PerceptualDiscriminator, VggUnet
from cyclegan.training.checkpoints.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig
    from cyclegan.training.state import State

logger = logging.getLogger(__name__)

ADVICE = "name a copy of the file or its URI by --weights"
OR_RANDOM = f"{ADVICE}, or start from random weights with --weights none"


@dataclass(frozen=True)
class Initial:
    """What a run continues from: trained generators, or the whole networks of a checkpoint."""

    weights: dict[Direction, dict[str, Tensor]]
    """Of each direction that there is a generator of."""
    digest: str
    """Of the content, whatever its address: part of what decides the run."""
    where: str
    """The address, without credentials."""
    checkpoint: dict[str, Tensor] = field(default_factory=dict)
    """Tensors of a checkpoint, by their names there."""


def read_initial(config: TrainConfig) -> tuple[TrainConfig, Initial | None]:
    """What `config.init` names, and the configuration with its generators' architecture.

    Raises UsageError where there is no model or checkpoint, or one whose architecture is not the
    configuration's, CycleGANError where a server does not answer.
    """
    if not config.init:
        return config, None
    where = redact(config.init)
    if config.from_checkpoint():
        checkpoint, tensors, progress = read_checkpoint(config.init)
        where += f" (update {checkpoint.step})"
        if progress.networks:  # one of an earlier version does not say
            config = config.with_networks(progress.networks, where)
        return config, Initial({}, checkpoint.digest, where, tensors)
    generators: dict[Direction, Generator] = {}
    options: dict[str, Any] = {}
    if files := config.reference_files():
        found, options, _ = read_reference(files)
        generators |= found
        where = " and ".join(map(redact, files.values()))
    else:
        for direction in directions_of(config.init):
            with model_folder(config.init, direction) as (folder, known):
                generators[known], described = load_generator(folder, known, where=where)
            options = described["generator"]
    config = config.with_generator(options, where)
    weights = {direction: one.state_dict() for direction, one in sorted(generators.items())}
    return config, Initial(weights, _digest(weights), where)


def continue_from(initial: Initial, state: State) -> None:
    """Give all networks their weights and the optimisers their moments, and say what starts from scratch.

    Raises UsageError where they don't fit.
    """
    try:
        state.continue_from(initial.checkpoint)
    except ValueError as error:
        raise UsageError(
            f"train: init = {initial.where} is of other networks ({error}): set the parameters of generator "
            "and discriminator that it was trained with, or name a model, whose generators alone continue."
        ) from None
    logger.info(
        "Continuing all networks and both optimisers from %s; averages and image pools start from scratch.",
        initial.where,
    )


def start_from(initial: Initial, generators: Mapping[Direction, nn.Module]) -> None:
    """Give the generators their weights, and say what does not come from there.

    Raises UsageError where they don't fit.
    """
    for direction, weights in initial.weights.items():
        try:
            generators[direction].load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"train: init = {initial.where} does not fit: {reason}.") from None
    new = [direction for direction in DIRECTIONS if direction not in initial.weights]
    logger.info(
        "Continuing from %s of %s; %s start from scratch.",
        " and ".join(initial.weights),
        initial.where,
        " and ".join([*new, "both discriminators"]),
    )


def _digest(weights: Mapping[Direction, Mapping[str, Tensor]]) -> str:
    """16 hexadecimal digits of the SHA-256 over names, shapes and float32 values."""
    digest = hashlib.sha256()
    for direction, tensors in weights.items():
        for name in sorted(tensors):
            values = tensors[name].detach().to("cpu", torch.float32).contiguous()
            digest.update(f"{direction}.{name} {list(values.shape)}\n".encode())
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]


def load_encoder(generators: list[VggUnet], weights: str, *, partial: bool = False) -> None:
    """Give the encoders the weights named: imagenet, none, a file (.pth, .safetensors), https:// or s3://.

    Raises UsageError for a file that is missing or is not VGG-16, CycleGANError for a failed download.
    """
    if weights == "none":
        return
    state = _vgg(weights, OR_RANDOM)
    for generator in generators:
        try:
            missing = generator.load_vgg_(state, partial=partial)
        except UsageError as error:
            hint = "" if partial else " Set weights_partial to start the missing layers at random."
            raise UsageError(f"weights = {redact(weights)}: {error}{hint}") from None
    if missing:
        what = "%s lacks these layers of VGG-16, which start at random: %s"
        logger.warning(what, redact(weights), missing)


def load_features(judges: list[PerceptualDiscriminator], weights: str) -> None:
    """Give the discriminators VGG-16's first three blocks, from imagenet, a file, https:// or s3://.

    Raises UsageError for a file that is missing or lacks one of them, CycleGANError for a failed download.
    """
    state = _vgg(weights, ADVICE)
    for judge in judges:
        try:
            judge.vgg.load_vgg_(state)
        except UsageError as error:
            raise UsageError(f"weights = {redact(weights)}: {error}") from None


def _vgg(weights: str, advice: str) -> Mapping[str, Tensor]:
    return _imagenet(advice) if weights == "imagenet" else load_state_dict(Address(weights), advice=advice)


def _imagenet(advice: str) -> Mapping[str, Tensor]:
    """torchvision's file, from torch's cache or by our own download, with its timeouts and limits."""
    from torchvision.models import VGG16_Weights

    url = str(VGG16_Weights.IMAGENET1K_V1.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        logger.info("Downloading the ImageNet weights of VGG-16 from %s", url)
        prefix = path.stem.rsplit("-", 1)[1]  # of the SHA-256, which the file's name carries
        with atomic_file(path) as temporary:
            obtain(url, temporary, advice=advice)
            if not sha256(temporary).startswith(prefix):
                raise CycleGANError(f"The download of {url} is damaged (wrong SHA-256): {advice}.")
    return read_state_dict(path, str(path))
