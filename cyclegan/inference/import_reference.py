"""Generators trained by the reference implementation (pytorch-CycleGAN-and-pix2pix), as models of ours."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.inference.config import ImportConfig
from cyclegan.io.uri import redact
from cyclegan.io.weights import load_state_dict
from cyclegan.model import DIRECTIONS, Direction, ModelConfig, library_versions, save_model
from cyclegan.networks import ResnetGenerator
from cyclegan.registry.pages.card import model_card

logger = logging.getLogger(__name__)

OPTIONS = "trained with --norm instance on colour images, can be imported"


def import_weights(out: Path, config: ImportConfig) -> None:
    """Write a model folder from the reference implementation's files of both generators, or of one.

    Raises UsageError where a file is missing or is not such a generator.
    """
    given: dict[Direction, str] = {"AtoB": config.AtoB, "BtoA": config.BtoA}
    sources = {direction: given[direction] for direction in DIRECTIONS if given[direction]}
    generators, options, dropout = read_reference(sources)
    described: ModelConfig = {
        "generator": options,
        "image_size": config.image_size,
        "data": {"uri": "", "version": "", "paired": False},
        "train": {"imported_AtoB": config.AtoB, "imported_BtoA": config.BtoA},
        "git_commit": None,
        "mlflow_run_id": None,
        "versions": library_versions(),
        "epochs": 0,
        "seed": 0,
    }
    save_model(out, generators, described, texts={"README.md": model_card(described)})
    logger.info(
        "%s: resnet_%dblocks, ngf %d, norm instance; a model for images of %d pixels.",
        " and ".join(f"{direction} is {redact(source)}" for direction, source in sources.items()),
        *(options["blocks"], options["width"], config.image_size),
    )
    if len(sources) == 1:
        logger.info("It translates in this direction only, and can't be evaluated: that needs the way back.")
    if dropout:
        logger.info(
            "Trained with dropout, which is off here; the reference implementation leaves it on unless it is "
            "called with --eval, so its pictures differ from these and from one another."
        )


def read_reference(
    sources: Mapping[Direction, str],
) -> tuple[dict[Direction, ResnetGenerator], dict[str, Any], bool]:
    """The generators in the reference implementation's files.

    Also returns the options they are built with, and whether one was trained with dropout. Raises UsageError
    where a file is missing or is not such a generator, or where two are unlike.
    """
    states = {d: load_state_dict(source, advice="name a copy of the file") for d, source in sources.items()}
    generators = {d: reference_resnet(states[d], redact(source)) for d, source in sources.items()}
    blocks = {len(generator.blocks) for generator in generators.values()}
    if len(blocks) != 1:
        raise UsageError("The two files are of generators with different numbers of blocks.")
    width = {generator.down[1].out_channels for generator in generators.values()}
    if len(width) != 1:
        raise UsageError("The two files are of generators with different widths (--ngf).")
    options: dict[str, Any] = {"name": "resnet", "norm": "instance", "upsample": "transposed"}
    options |= {"blocks": blocks.pop(), "width": width.pop()}
    return generators, options, any(map(with_dropout, states.values()))


def reference_resnet(state: Mapping[str, Tensor], where: str = "The file") -> ResnetGenerator:
    """Our generator with the weights of a reference `resnet_9blocks` or `resnet_6blocks`, same outputs.

    Prefixes `module.` and the statistics that older versions kept for instance norm are dropped.
    `where` is what messages call the file. Raises UsageError where the state dict is of another architecture,
    naming the option that made it.
    """
    state = {re.sub(r"^(module\.)+", "", name): tensor for name, tensor in state.items()}
    if other := _other_option(state):
        raise UsageError(f"{where} {other}: only generators of resnet_6blocks and resnet_9blocks, {OPTIONS}.")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {name: tensor for name, tensor in state.items() if not name.endswith(statistics)}
    numbers = {int(m[1]) for name in state if (m := re.match(r"model\.(\d{1,4})\.conv_block\.", name))}
    if not numbers or numbers != set(range(10, 10 + len(numbers))) or state["model.1.weight"].ndim != 4:
        raise UsageError(f"{where} is not a reference ResNet generator (model.1.weight, …).")
    blocks, width = len(numbers), state["model.1.weight"].shape[0]
    after = 10 + blocks
    places = {f"model.{i}": f"down.{i}" for i in (1, 4, 7)}
    for block in range(blocks):
        # With dropout a layer more stands between the two convolutions.
        second = 6 if f"model.{10 + block}.conv_block.6.weight" in state else 5
        places[f"model.{10 + block}.conv_block.1"] = f"blocks.{block}.body.1"
        places[f"model.{10 + block}.conv_block.{second}"] = f"blocks.{block}.body.5"
    places |= {f"model.{after}": "up.0", f"model.{after + 3}": "up.3", f"model.{after + 7}": "up.7"}

    renamed = {}
    for name, tensor in state.items():
        place, _, kind = name.rpartition(".")
        if place not in places:
            raise UsageError(f"{where} has a layer {place} that a reference ResNet generator does not have.")
        if not tensor.is_floating_point():
            raise UsageError(f"{where}: {name} holds whole numbers, not weights.")
        renamed[f"{places[place]}.{kind}"] = tensor
    generator = ResnetGenerator(blocks=blocks, width=width)
    try:
        generator.load_state_dict(renamed)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{where} does not fit a reference ResNet generator: {reason}.") from None
    return generator.eval()


def _other_option(state: Mapping[str, Tensor]) -> str:
    """Which option of the reference implementation made a file that is not ours to import; empty if none."""
    if any(name.startswith("model.model.") for name in state):
        return "was made with --netG unet_128 or unet_256"
    first = state.get("model.0.weight", state.get("net.0.weight"))
    if first is not None and first.ndim == 4 and not any("conv_block" in name for name in state):
        return "is a discriminator (latest_net_D_…), or was made with another --netG"
    if "model.1.weight" not in state:
        return "does not come from this implementation's --netG resnet_…"
    if "model.2.running_var" in state and "model.2.weight" in state:
        return "was made with --norm batch"
    if "model.2.weight" in state:
        return "has a scale and shift in its normalisation (affine)"
    if "model.1.bias" not in state:
        return "was made with --norm none"
    shape = state["model.1.weight"].shape
    if len(shape) == 4 and shape[1] != 3:
        return f"was made with --input_nc {shape[1]}"
    last = [tensor for name, tensor in state.items() if re.fullmatch(r"model\.\d+\.bias", name)]
    if last and len(last[-1]) != 3:
        return f"was made with --output_nc {len(last[-1])}"
    return ""


def with_dropout(state: Mapping[str, Tensor]) -> bool:
    """Whether the file was made without --no_dropout: each residual block has one more layer."""
    return any(".conv_block.6." in name for name in state)
