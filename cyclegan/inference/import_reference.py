"""Generators trained by the reference implementation (pytorch-CycleGAN-and-pix2pix), as models of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.inference.card import model_card
from cyclegan.inference.config import ImportConfig
from cyclegan.io.weights import load_state_dict
from cyclegan.model import DIRECTIONS, Direction, ModelConfig, library_versions, save_model
from cyclegan.networks import ResnetGenerator


def import_weights(out: Path, config: ImportConfig) -> None:
    """Write a model folder from the reference implementation's files of both generators.

    Raises UsageError where a file is missing or is not such a generator.
    """
    sources: dict[Direction, str] = {"AtoB": config.AtoB, "BtoA": config.BtoA}
    generators = {
        direction: reference_resnet(load_state_dict(sources[direction], advice="name a copy of the file"))
        for direction in DIRECTIONS
    }
    blocks = {len(generator.blocks) for generator in generators.values()}
    if len(blocks) != 1:
        raise UsageError("The two files are of generators with different numbers of blocks.")
    options = {"name": "resnet", "norm": "instance", "blocks": blocks.pop(), "upsample": "transposed"}
    width = {generator.down[1].out_channels for generator in generators.values()}
    described: ModelConfig = {
        "generator": {**options, "width": width.pop()},
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


def reference_resnet(state: Mapping[str, Tensor]) -> ResnetGenerator:
    """Our generator with the weights of a reference `resnet_9blocks` or `resnet_6blocks`, same outputs.

    Prefixes `module.` and the statistics that older versions kept for instance norm are dropped.
    Raises UsageError where the state dict is of another architecture.
    """
    state = {re.sub(r"^(module\.)+", "", name): tensor for name, tensor in state.items()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    state = {name: tensor for name, tensor in state.items() if not name.endswith(statistics)}
    numbers = {int(m[1]) for name in state if (m := re.match(r"model\.(\d+)\.conv_block\.", name))}
    if not numbers or numbers != set(range(10, 10 + len(numbers))) or "model.1.weight" not in state:
        raise UsageError("These are not the weights of a reference ResNet generator (model.1.weight, …).")
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
            raise UsageError(f"The weights have a layer {place} that a reference ResNet generator has not.")
        renamed[f"{places[place]}.{kind}"] = tensor
    generator = ResnetGenerator(blocks=blocks, width=width)
    try:
        generator.load_state_dict(renamed)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"The weights do not fit a reference ResNet generator: {reason}") from None
    return generator.eval()
