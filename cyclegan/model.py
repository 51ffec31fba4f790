"""The model artifact: `AtoB.safetensors`, `BtoA.safetensors` and a `config.json` that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from cyclegan.errors import UsageError, first_line
from cyclegan.io.files import atomic_dir, sha256, write_json
from cyclegan.io.weights import write_weights
from cyclegan.model_config import CONFIG_FILE, FORMAT, ModelConfig, kinds_of, read_config
from cyclegan.networks import Generator, build_generator, generator_shapes
from cyclegan.pixel_kind import Kinds, generator_channels

Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[Direction, Direction] = ("AtoB", "BtoA")
__all__ = [
    "DIRECTIONS",
    "FORMAT",
    "Direction",
    "Model",
    "ModelConfig",
    "library_versions",
    "load_generator",
    "load_model",
    "read_config",
    "save_model",
    "weights_digest",
]

FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
"""What weights may be, in safetensors' names."""


@dataclass(frozen=True)
class Model:
    """Both generators in eval mode: float32 N×C×H×W in [-1, 1] to the same; H, W multiples of `multiple`."""

    AtoB: Generator
    BtoA: Generator
    config: ModelConfig

    @property
    def kinds(self) -> Kinds:
        """Channels and bits of the images of A and B."""
        return kinds_of(self.config)

    def __getitem__(self, direction: Direction) -> Generator:
        return self.AtoB if direction == "AtoB" else self.BtoA

    @property
    def multiple(self) -> int:
        """The sides of images must be multiples of this."""
        return self.AtoB.multiple

    def test_size(self, height: int, width: int) -> tuple[int, int]:
        """At which height and width to evaluate the model on prepared images of height×width.

        That is the scale of training; for a model that does not say it (imported weights), as prepared.
        """
        size = self.config.get("image_size")
        if not size:
            return height, width
        return (size, size) if isinstance(size, int) else (size[0], size[1])


def save_model(
    folder: Path,
    generators: Mapping[Direction, nn.Module],
    config: ModelConfig,
    *,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write the model folder atomically, replacing an existing one.

    A model of one direction has that generator alone. `config` needs at least `generator`: {"name": …, and
    the arguments it was built with}. `texts` are files to write next to it, content by name. The
    folder is replaced as a whole: `guard_model` says whether it may be.
    """
    with atomic_dir(folder.resolve(), durable=True) as temporary:  # a link to a larger disk stays one
        for direction in generators:
            state = generators[direction].state_dict()
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            write_weights(temporary / f"{direction}.safetensors", tensors, f"the model to {folder}")
        write_json(temporary / CONFIG_FILE, {"format": FORMAT, **config})
        for name, text in (texts or {}).items():
            (temporary / name).write_text(text, encoding="utf-8", newline="")


def load_generator(
    folder: Path, direction: Direction, device: str | torch.device = "cpu", *, where: str = ""
) -> tuple[Generator, ModelConfig]:
    """One generator of a model folder, in eval mode, and the model's config; only that file need be there.

    The weights' names and shapes are compared with the architecture before that is built. Raises UsageError
    where the folder holds no such model, one that is damaged, or weights that are not finite.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    folder, where = Path(folder), where or str(folder)
    config = read_config(folder, where)
    others = [d for d in DIRECTIONS if d != direction and (folder / f"{d}.safetensors").is_file()]
    if others and not (folder / f"{direction}.safetensors").is_file():
        raise UsageError(f"The model in {where} has no generator {direction}, only {others[0]}.")
    options = config["generator"] | generator_channels(kinds_of(config), direction)
    name, file = options.pop("name"), folder / f"{direction}.safetensors"
    try:
        wanted = {key: list(shape) for key, shape in generator_shapes(name, **options).items()}
        with safe_open(file, "pt") as opened:
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
            found = {key: list(part.get_shape()) for key, part in slices.items()}
            kinds = {part.get_dtype() for part in slices.values()}
        if found != wanted:
            wrong = min(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
            raise ValueError(f"{file.name} does not fit its architecture (see {wrong})")
        if not kinds <= FLOATS:
            raise ValueError(f"{file.name} holds numbers whose type is not F32")
        generator = build_generator(name, **options)
        generator.load_state_dict(load_file(file))
    except UsageError as error:
        raise UsageError(f"The model in {where} cannot be built: {error}") from None
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"The model in {where} is damaged: {first_line(error)}.") from None
    for key, tensor in generator.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise UsageError(f"The model in {where} has weights that are not finite ({direction}, {key}).")
    return generator.to(device).eval().requires_grad_(False), config


def load_model(folder: Path, device: str | torch.device = "cpu") -> Model:
    """Read a model folder; no flag is needed, since the folder says what it is.

    Raises UsageError as `load_generator`.
    """
    AtoB, config = load_generator(folder, "AtoB", device)
    BtoA, _ = load_generator(folder, "BtoA", device)
    return Model(AtoB, BtoA, config)


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
