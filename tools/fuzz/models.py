"""Attacks on model folders and files of weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any, cast

from tools.fuzz.common import Attack, damaged, encodable, require
from tools.fuzz.mutate import as_json, mutate_bytes, mutate_text, mutate_value

MODEL_CONFIG: dict[str, Any] = {
    "format": 1,
    "generator": {"name": "resnet", "norm": "instance", "blocks": 1, "width": 4, "upsample": "resize"},
    "image_size": [32, 32],
    "data": {
        "uri": "synthetic:city",
        "names": {"A": "photos", "B": "maps"},
        "version": "x.dir",
        "paired": False,
    },
    "train": {"generator": "resnet", "lr": 2e-4, "flip": True, "epochs": 3, "weights": "none"},
    "seed": 0,
    "versions": {"torch": "2.9"},
    "epochs": 3,
    "finished": True,
    "git_commit": None,
    "mlflow_run_id": "0" * 32,
}


def model_folders(here: Path) -> Attack:
    """config.json and weights of a model folder, by each of their readers."""
    from cyclegan.engines.pytorch import read_generator
    from cyclegan.inference.write_card import write_card
    from cyclegan.model import Model, ModelConfig, load_model, read_config, save_model
    from cyclegan.networks import build_generator
    from cyclegan.registry.config import dataset_name
    from cyclegan.registry.versions import describe
    from cyclegan.tracking.base import flatten

    architectures = [MODEL_CONFIG["generator"], {"name": "unet", "norm": "layer", "depth": 2, "width": 4}]
    sound: list[tuple[dict[str, Any], bytes]] = []
    for number, options in enumerate(architectures):
        folder, config = here / f"sound{number}", {**MODEL_CONFIG, "generator": options}
        save_model(
            folder,
            {"AtoB": build_generator(**options), "BtoA": build_generator(**options)},
            cast(ModelConfig, config),
        )
        sound.append((config, (folder / "AtoB.safetensors").read_bytes()))
        (here / f"BtoA{number}").write_bytes((folder / "BtoA.safetensors").read_bytes())
    folder = here / "model"
    folder.mkdir()

    def attack(rng: Random) -> None:
        number = rng.randrange(2)
        config, weights = sound[number]
        text = json.dumps(config)
        kind = rng.randrange(10)
        if kind < 5:
            text = as_json(mutate_value(config, rng), rng)
        elif kind == 5:
            text = mutate_text(text, rng)
        else:
            weights = mutate_safetensors(weights, rng)
        (folder / "config.json").write_bytes(damaged(text))
        (folder / "AtoB.safetensors").write_bytes(weights)
        (folder / "BtoA.safetensors").write_bytes((here / f"BtoA{number}").read_bytes())
        reader = rng.randrange(3)
        if reader == 0:
            require(
                encodable(write_card(str(folder), here / "no scores", "", None)),
                "a card that cannot be written",
            )
            return
        if reader == 1:
            generator, _ = read_generator(folder, "AtoB", "model")
            require(all(bool(t.isfinite().all()) for t in generator.state_dict().values()), "not finite")
            return
        model: Model = load_model(folder)
        require(encodable(read_config(folder)), "what it holds cannot be written again")
        height, width = model.test_size(64, 64)
        require(0 < height <= 1 << 16 and 0 < width <= 1 << 16, f"test images of {height}×{width}")
        data = model.config.get("data") or {}
        dataset_name(data.get("uri", ""), data.get("names") or {})
        describe(model, "version", "verdict").encode()
        flatten(model.config.get("train") or {}, "train")

    return attack


def mutate_safetensors(data: bytes, rng: Random) -> bytes:
    """Damage bytes, or write another header of the right length before the same tensors."""
    if rng.randrange(2):
        return mutate_bytes(data, rng)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(mutate_value(json.loads(data[8 : 8 + length]), rng)).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def weight_files(here: Path) -> Attack:
    """Files of weights, as PyTorch's two formats and as safetensors, by everything that takes weights."""
    import torch
    from safetensors.torch import save_file

    from cyclegan.evaluation.extractors.inception_weights import _read_state
    from cyclegan.inference.import_reference import reference_resnet
    from cyclegan.io.weights import read_state_dict
    from cyclegan.networks import VggUnet

    sound = _reference_state()
    vgg = VggUnet()
    path = here / "weights.pth"
    whole: list[tuple[str, bytes]] = []
    for name, zipped in (("zip.pth", True), ("old.pth", False)):
        torch.save(sound, here / name, _use_new_zipfile_serialization=zipped)
        whole.append((name, (here / name).read_bytes()))
    save_file(sound, here / "new.safetensors")
    whole.append(("new.safetensors", (here / "new.safetensors").read_bytes()))

    def attack(rng: Random) -> None:
        name = "weights.pth"
        if rng.randrange(2):
            name, data = rng.choice(whole)
            path.write_bytes(mutate_safetensors(data, rng) if "safe" in name else mutate_bytes(data, rng))
        else:
            torch.save(mutate_state(sound, rng), path)
        state = read_state_dict(path, name)
        for key, tensor in state.items():
            require(isinstance(key, str) and encodable(key), "a name that cannot be written")
            require(bool(tensor.isfinite().all()), "values that are not finite")
        reader = rng.randrange(3)
        if reader == 0:
            generator = reference_resnet(state)
            require(all(bool(t.isfinite().all()) for t in generator.state_dict().values()), "not finite")
        elif reader == 1:
            vgg.load_vgg_(state, partial=True)
        else:
            _read_state(path, name)

    return attack


def _reference_state() -> dict[str, Any]:
    """A generator of two blocks in the reference implementation's names, and one layer of VGG-16."""
    import torch

    shapes = {"model.1": (2, 3, 7, 7), "model.4": (4, 2, 3, 3), "model.7": (8, 4, 3, 3)}
    for block in (10, 11):
        shapes |= {f"model.{block}.conv_block.{layer}": (8, 8, 3, 3) for layer in (1, 5)}
    shapes |= {"model.12": (8, 4, 3, 3), "model.15": (4, 2, 3, 3), "model.19": (3, 2, 7, 7)}
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.rand(shape)
        state[f"{name}.bias"] = torch.rand(shape[1] if name in {"model.12", "model.15"} else shape[0])
    state["features.0.weight"], state["features.0.bias"] = torch.rand(64, 3, 3, 3), torch.rand(64)
    return state


def mutate_state(state: dict[str, Any], rng: Random) -> Any:
    """A state dict with names, shapes, types or values changed, or something else in its place."""
    import torch

    state = {name: tensor.clone() for name, tensor in state.items()}
    for _ in range(rng.choice([1, 1, 2, 4])):
        name = rng.choice(sorted(map(str, state)) or ["x"])
        if not isinstance(state.get(name), torch.Tensor) or not _ordinary(state[name]):
            continue
        tensor = state[name]
        dtypes = (torch.int8, torch.bool, torch.float16, torch.bfloat16, torch.float64, torch.complex64)
        kind = rng.randrange(12)
        if kind == 0:
            del state[name]
        elif kind == 1:
            state[mutate_text(name, rng).encode("utf-8", "replace").decode()] = state.pop(name)
        elif kind == 2:
            state[name] = tensor.reshape(-1)
        elif kind == 3:
            state[name] = tensor.to(rng.choice(dtypes))
        elif kind == 4:
            state[name] = torch.zeros(rng.choice([(), (0,), (1,), (2, 0, 3), (1, 1, 1, 1, 1)]))
        elif kind == 5:
            state[name] = tensor.clone().fill_(rng.choice([math.nan, math.inf, -math.inf, 1e38]))
        elif kind == 6:
            state[name] = tensor.to_sparse()
        elif kind == 7:
            state[name] = rng.choice([None, 1, "x", [tensor], {"a": tensor}, (), tensor.size(), b"x"])
        elif kind == 8:
            state[rng.choice([0, None, (1, 2), 1.5, True])] = state.pop(name)  # type: ignore[index]
        elif kind == 9:
            state[name] = torch.cat([tensor, tensor]) if tensor.dim() else tensor
        elif kind == 10:
            state[name] = rng.choice([tensor.to(torch.float8_e4m3fn), torch.empty(3, device="meta")])
        else:
            state[name] = torch.zeros(1).expand(1 << 20, 1 << 10)  # 4 GB that take four bytes
    if rng.randrange(12) == 0:
        other: Any = [list(state.items()), [], 3, None, "x", {"state_dict": state}, {}]
        return rng.choice(other)
    return state


def _ordinary(tensor: Any) -> bool:
    """Whether a tensor has its numbers in memory, and few."""
    return not (tensor.is_sparse or tensor.is_meta) and tensor.numel() < 1 << 20
