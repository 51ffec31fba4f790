"""The model artifact: `AtoB.safetensors`, `BtoA.safetensors` and a `config.json` that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, cast, get_args

import torch
from torch import nn

from cyclegan.errors import UsageError
from cyclegan.io.files import atomic_dir, read_json, sha256, write_json
from cyclegan.networks import Generator, build_generator, generator_shapes
from cyclegan.networks.norm import Norm
from cyclegan.networks.resnet import Upsample

Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[Direction, Direction] = ("AtoB", "BtoA")


CONFIG_FILE = "config.json"
FORMAT = 1
"""Of the model folder. Raise it when older code could no longer read what is written."""
LARGEST = 2048
"""Of numbers in a generator's architecture: a config.json with more is refused before anything is built."""


class ModelConfig(TypedDict, total=False):
    """The config.json of a model folder. All but `generator` may be missing, in older models most of it."""

    format: int
    """0 where it is missing: before formats were counted."""
    generator: Required[dict[str, Any]]
    """`name` and the arguments it was built with."""
    image_size: list[int] | int
    """Height and width of whole test images at the scale of training; before format 1 the crop's side."""
    data: dict[str, Any]
    """Which data it was trained on: uri, version, paired."""
    train: dict[str, Any]
    """The fields of TrainConfig, or where imported weights came from."""
    seed: int
    epochs: int
    """How many epochs the generators were trained."""
    finished: bool
    """Whether the run that made them has ended; before format 1, where it is missing, every one had."""
    versions: dict[str, str]
    """Of the libraries, by name."""
    git_commit: str | None
    mlflow_run_id: str | None


_WORDS = {"norm": get_args(Norm), "upsample": get_args(Upsample)}
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("format", "seed", "epochs"), int),
    **dict.fromkeys(("generator", "data", "train", "versions"), dict),
    **dict.fromkeys(("git_commit", "mlflow_run_id"), str | None),
    "image_size": list | int | None,
    "finished": bool,
}


@dataclass(frozen=True)
class Model:
    """Both generators in eval mode: float32 N×3×H×W in [-1, 1] to the same; H, W multiples of `multiple`."""

    AtoB: Generator
    BtoA: Generator
    config: ModelConfig

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

    `config` needs at least `generator`: {"name": …, and the arguments it was built with}. `texts` are files
    to write next to it, content by name.
    """
    from safetensors.torch import save_file

    with atomic_dir(folder) as temporary:
        for direction in DIRECTIONS:
            state = generators[direction].state_dict()
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            save_file(tensors, temporary / f"{direction}.safetensors")
            (temporary / f"{direction}.safetensors").chmod(0o644)
        write_json(temporary / CONFIG_FILE, {"format": FORMAT, **config})
        for name, text in (texts or {}).items():
            (temporary / name).write_text(text, encoding="utf-8", newline="")


def read_config(folder: Path, where: str = "") -> ModelConfig:
    """The config.json of a model folder; `where` is what messages call the folder.

    Raises UsageError where there is none, it is damaged, or it has a newer format than this version knows.
    """
    where = where or str(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(f"There is no model in {where}: it has no {CONFIG_FILE}; train one first.")
    try:
        values = read_json(folder / CONFIG_FILE)
    except (ValueError, OSError, RecursionError) as error:
        raise UsageError(f"The model in {where} is damaged: {_line(error)}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"The model in {where} is damaged: {CONFIG_FILE} is not a mapping.")
    format = values.get("format", 0)
    if isinstance(format, int) and format > FORMAT:
        raise UsageError(
            f"The model in {where} has format {format} and this version reads up to {FORMAT}: update "
            "cyclegan-pipeline."
        )
    if reason := _wrong(values):
        raise UsageError(f"The model in {where} is damaged: {CONFIG_FILE}: {reason}.")
    return cast(ModelConfig, values)


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
    options = dict(config["generator"])
    name, file = options.pop("name"), folder / f"{direction}.safetensors"
    try:
        wanted = {key: list(shape) for key, shape in generator_shapes(name, **options).items()}
        with safe_open(file, "pt") as opened:
            found = {key: list(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
        if found != wanted:
            wrong = min(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
            raise ValueError(f"{file.name} does not fit its architecture (see {wrong})")
        generator = build_generator(name, **options)
        generator.load_state_dict(load_file(file))
    except UsageError as error:
        raise UsageError(f"The model in {where} cannot be built: {error}") from None
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"The model in {where} is damaged: {_line(error)}.") from None
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


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _wrong(values: dict[str, Any]) -> str:
    """What is wrong about a config.json; empty where nothing is."""
    if "generator" not in values:
        return "generator is missing"
    for name, kinds in _KINDS.items():
        if name in values and (
            not isinstance(values[name], kinds) or isinstance(values[name], bool) != (kinds is bool)
        ):
            return f"{name} is of the wrong kind"
    generator = values["generator"]
    if not isinstance(generator.get("name"), str):
        return "generator has no name"
    for name, value in generator.items():
        if not isinstance(value, int | str) or isinstance(value, bool):
            return f"generator.{name} is neither a number nor a word"
        if isinstance(value, int) and not 1 <= value <= LARGEST:
            return f"generator.{name} = {value} must be between 1 and {LARGEST}"
        if name in _WORDS and value not in _WORDS[name]:
            return f"generator.{name} = {str(value)[:40]!r} is not one of {', '.join(_WORDS[name])}"
    size = values.get("image_size")
    sides = size if isinstance(size, list) else [size] * 2
    if size is not None and not (len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)):
        return "image_size is not a height and width"
    return ""


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
