"""The model artifact: `AtoB.safetensors`, `BtoA.safetensors` and a `config.json` that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from cyclegan.errors import UsageError
from cyclegan.io.files import atomic_dir, read_json, sha256, write_json
from cyclegan.networks import build_generator

Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[Direction, Direction] = ("AtoB", "BtoA")


@dataclass(frozen=True)
class Model:
    """Both generators in eval mode: float32 N×3×H×W in [-1, 1] to the same; H, W multiples of `multiple`."""

    AtoB: nn.Module
    BtoA: nn.Module
    config: dict[str, Any]

    def __getitem__(self, direction: Direction) -> nn.Module:
        return self.AtoB if direction == "AtoB" else self.BtoA

    @property
    def multiple(self) -> int:
        """The sides of images must be multiples of this."""
        return int(self.AtoB.multiple)  # type: ignore[arg-type]

    def test_size(self, height: int, width: int) -> tuple[int, int]:
        """At which height and width to judge the model on prepared images of height×width.

        That is the scale of training; for a model that does not say it (imported weights), as prepared.
        """
        size = self.config.get("image_size")
        if not size:
            return height, width
        return (size, size) if isinstance(size, int) else (size[0], size[1])


def save_model(
    folder: Path,
    generators: Mapping[Direction, nn.Module],
    config: Mapping[str, Any],
    *,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write the model folder in one piece, replacing a former one.

    `config` needs at least `generator`: {"name": …, and the arguments it was built with}. `texts` are files
    to lie beside it, content by name.
    """
    from safetensors.torch import save_file

    with atomic_dir(folder) as temporary:
        for direction in DIRECTIONS:
            state = generators[direction].state_dict()
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            save_file(tensors, temporary / f"{direction}.safetensors")
            (temporary / f"{direction}.safetensors").chmod(0o644)
        write_json(temporary / "config.json", dict(config))
        for name, text in (texts or {}).items():
            (temporary / name).write_text(text, encoding="utf-8", newline="")


def load_model(folder: Path, device: str | torch.device = "cpu") -> Model:
    """Read a model folder; no flag is needed, since the folder says what it is.

    Raises UsageError where the folder holds no model, or one that is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UsageError(f"There is no model in {folder}: it has no config.json; train one first.")
    generators: dict[Direction, nn.Module] = {}
    try:
        config = read_json(folder / "config.json")
        options = dict(config["generator"])
        name = options.pop("name")
        for direction in DIRECTIONS:
            generator = build_generator(name, **options)
            generator.load_state_dict(load_file(folder / f"{direction}.safetensors"))
            generators[direction] = generator.to(device).eval().requires_grad_(False)
    except (KeyError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"The model in {folder} is damaged: {str(error).splitlines()[0]}.") from None
    return Model(generators["AtoB"], generators["BtoA"], config)


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weights of both generators of a model folder: which model scores are about."""
    both = "".join(sha256(folder / f"{direction}.safetensors") for direction in DIRECTIONS)
    return hashlib.sha256(both.encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """The versions of what decides a result: this package, torch, torchvision, numpy, Pillow."""
    found = {}
    for name in ("cyclegan-pipeline", "torch", "torchvision", "numpy", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
