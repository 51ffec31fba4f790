"""A model folder without its weights: its config.json, and what else it may hold. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypedDict, cast

from cyclegan.errors import UsageError, first_line
from cyclegan.io.files import guard_folder, is_file, read_json, refuse_newer
from cyclegan.pixel_kind import ALL_RGB, LARGEST_CHANNELS, Kinds, PixelKind, all_rgb, can_be_channels

CONFIG_FILE = "config.json"
FILES = frozenset(
    {
        *(f"{direction}.safetensors" for direction in ("AtoB", "BtoA")),
        *(
            f"{direction}{images}{precision}.{kind}"
            for direction in ("AtoB", "BtoA")
            for images in ("", "-uint8")
            for precision in ("", "-fp16")
            for kind in ("onnx", "xml", "bin", "pt2")
        ),
        *(CONFIG_FILE, "losses.csv", "README.md", "pictures"),
    }
)
"""What there may be in a model folder, with what `export` and `push` make of it."""
FORMAT = 1
"""Of the model folder. Raise it when older code could no longer read what is written."""
LARGEST = 2048
"""Of numbers in a generator's architecture: a config.json with more is refused before anything is built."""
LARGEST_SIDE = 65_536
"""Of test images, in pixels."""
WORDS = {"norm": ("instance", "layer"), "upsample": ("transposed", "resize")}
"""What these options of a generator may be."""


class ModelConfig(TypedDict, total=False):
    """The config.json of a model folder. All but `generator` may be missing, in older models most of it."""

    format: int
    """0 where it is missing: before formats were counted."""
    generator: Required[dict[str, Any]]
    """`name` and the arguments it was built with."""
    pixels: dict[str, Any]
    """Where images are not RGB of 8 bits: `channels` by domain, `bits`, and which values are `black` and
    `white` in files of more bits, or from which `percentile`."""
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


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("format", "seed", "epochs"), int),
    **dict.fromkeys(("generator", "data", "train", "versions", "pixels"), dict),
    **dict.fromkeys(("git_commit", "mlflow_run_id"), str | None),
    "image_size": list | int | None,
    "finished": bool,
}
_DATA: dict[str, Any] = {"uri": str, "version": str, "names": dict, "paired": bool}


def guard_model(folder: Path) -> None:
    """Raise UsageError where a model written to `folder` would replace other files."""
    guard_folder(folder, "the model", FILES)


def read_config(folder: Path, where: str = "") -> ModelConfig:
    """The config.json of a model folder; `where` is what messages call the folder.

    Raises UsageError where there is none, it is damaged, or it has a newer format than this version knows.
    """
    where = where or str(folder)
    if not is_file(folder / CONFIG_FILE):
        raise UsageError(f"There is no model in {where}: it has no {CONFIG_FILE}; train one first.")
    try:
        values = read_json(folder / CONFIG_FILE)
    except (ValueError, OSError, RecursionError) as error:
        raise UsageError(f"The model in {where} is damaged: {first_line(error)}.") from None
    return check_config(values, where)


def check_config(values: Any, where: str) -> ModelConfig:
    """The values as a config.json; raises UsageError as `read_config` does."""
    if not isinstance(values, dict):
        raise UsageError(f"The model in {where} is damaged: {CONFIG_FILE} is not a mapping.")
    refuse_newer(values, FORMAT, f"The model in {where}")
    if reason := _wrong(values):
        raise UsageError(f"The model in {where} is damaged: {CONFIG_FILE}: {reason}.")
    return cast(ModelConfig, values)


def _wrong(values: dict[str, Any]) -> str:
    """What is wrong about a config.json; empty where nothing is."""
    if "generator" not in values:
        return "generator is missing"
    data = values.get("data")
    sections = (("", _KINDS, values), ("data.", _DATA, data if isinstance(data, dict) else {}))
    for prefix, kinds, section in sections:
        for name, kind in kinds.items():
            if name in section and not _is_of(section[name], kind):
                return f"{prefix}{name} is of the wrong kind"
    texts = [("data.names", (data or {}).get("names") or {}), ("versions", values.get("versions") or {})]
    for name, section in texts:
        if not all(isinstance(value, str) for value in section.values()):
            return f"{name} does not hold names only"
    for name in ("seed", "epochs"):
        if not 0 <= values.get(name, 0) < 1 << 63:
            return f"{name} is not a number that fits"
    return (
        _wrong_generator(values["generator"])
        or _wrong_size(values.get("image_size"))
        or _wrong_pixels(values.get("pixels"))
    )


def _is_of(value: object, kind: Any) -> bool:
    """Whether it is of this kind; True and False are numbers to Python, but not here."""
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)


def _wrong_generator(generator: dict[str, Any]) -> str:
    if not isinstance(generator.get("name"), str):
        return "generator has no name"
    for name, value in generator.items():
        if not isinstance(value, int | str) or isinstance(value, bool):
            return f"generator.{name[:40]} is neither a number nor a word"
        if isinstance(value, int) and not 1 <= value <= LARGEST:
            return f"generator.{name[:40]} = {_shown(value)} must be between 1 and {LARGEST}"
        if name in WORDS and value not in WORDS[name]:
            return f"generator.{name} = {str(value)[:40]!r} is not one of {', '.join(WORDS[name])}"
    return ""


def _wrong_size(size: Any) -> str:
    if size is None:
        return ""
    sides = size if isinstance(size, list) else [size] * 2
    if len(sides) == 2 and all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
        return ""
    return "image_size is not a height and width"


def _wrong_pixels(pixels: Any) -> str:
    if pixels is None:
        return ""
    channels = pixels.get("channels")
    if not isinstance(channels, dict) or set(channels) != {"A", "B"}:
        return "pixels.channels are not those of A and B"
    if not all(map(can_be_channels, channels.values())):
        return f"pixels.channels are not numbers from 1 to {LARGEST_CHANNELS}"
    if type(pixels.get("bits")) is not int or pixels["bits"] not in (8, 16):
        return "pixels.bits is neither 8 nor 16"
    for name in ("black", "white", "percentile"):
        value = pixels.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"pixels.{name} is not a number"
    return ""


def kinds_of(config: Mapping[str, Any]) -> Kinds:
    """Channels and bits of what a model translates, by domain."""
    if not (pixels := config.get("pixels")):
        return ALL_RGB
    return {domain: PixelKind(pixels["channels"][domain], pixels["bits"]) for domain in "AB"}


def pixels_section(kinds: Kinds, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `pixels` of a config.json, from the recorded settings of preprocess; empty for RGB."""
    if all_rgb(kinds):
        return {}
    levels = {name: float(preprocess.get(name) or 0.0) for name in ("black", "white", "percentile")}
    channels = {domain: kind.channels for domain, kind in kinds.items()}
    return {"channels": channels, "bits": kinds["A"].bits, **levels}


def _shown(number: int) -> str:
    return str(number) if abs(number) < 10**12 else "a huge number"
