"""The models that a server offers: their names, and what the protocol's tensors become."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cyclegan.errors import UsageError, enough_memory
from cyclegan.inference.media.pictures import Unreadable, check_sides, size_of
from cyclegan.inference.translator import Translator, directions_of, load
from cyclegan.io.uri import in_file_name, redact
from cyclegan.serving.config import ServeConfig
from cyclegan.serving.options import FORMATS, PictureOptions
from cyclegan.serving.protocol import Request

NAMED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)=(?P<address>.+)")
PARAMETERS: dict[str, type] = {"format": str, "quality": int, "size": int, "tile": int}
MANY = 1000  # pictures: a server will get so many that exporting to a faster engine pays off
SLACK = 1e-3  # beyond [-1, 1], for the rounding of whoever scaled the values


@dataclass(frozen=True)
class Served:
    """One generator under the name that clients use."""

    name: str
    translator: Translator
    config: ServeConfig

    def picture(self, data: bytes, options: PictureOptions) -> bytes:
        """An encoded picture to its encoded translation; UsageError says what is wrong with it."""
        return options.translate(self.translator, data, max_pixels=self.config.max_pixels)

    def infer(self, request: Request) -> dict[str, Sequence[bytes] | np.ndarray]:
        """The outputs of a v2 request: `image` to `image` as BYTES, or `images` to `translated` as FP32.

        Raises UsageError for other tensors, shapes, values and parameters.
        """
        answers = {"image": "image", "images": "translated"}
        if len(request.tensors) != 1 or not set(request.tensors) <= set(answers):
            raise UsageError(
                f"The inputs are {', '.join(request.tensors) or 'none'}: send either `image` (BYTES: encoded "
                "pictures) or `images` (FP32 N×3×H×W in [-1, 1])."
            )
        (name,) = request.tensors
        for output in request.header.outputs:
            if output.name != answers[name]:
                raise UsageError(
                    f"There is no output {output.name} for {name}: its output is {answers[name]}."
                )
        options, values = self.options(request.header.parameters), request.tensors[name]
        if isinstance(values, np.ndarray) != (name == "images"):
            raise UsageError(f"Input {name} must be {'FP32' if name == 'images' else 'BYTES'}.")
        if isinstance(values, np.ndarray):
            return {"translated": self._tensor(values, options)}
        return {"image": self._batch(values, options)}

    def options(self, parameters: dict[str, Any]) -> PictureOptions:
        """The parameters of a v2 request as options; UsageError names a wrong one."""
        known: dict[str, Any] = {"tile": self.config.tile}
        for name, value in parameters.items():
            if name in PARAMETERS:
                if type(value) is not PARAMETERS[name]:
                    raise UsageError(f"{name} = {value!r} must be {PARAMETERS[name].__name__}.")
                known[name] = value
            elif not name.startswith(("binary_", "sequence_", "triton_")) and name not in {
                "priority",
                "timeout",
            }:
                raise UsageError(f"There is no parameter {name!r}: use {', '.join(PARAMETERS)}.")
        return self.limited(PictureOptions(**known))

    def limited(self, options: PictureOptions) -> PictureOptions:
        """The options themselves; UsageError for a tile above the server's, which bounds its memory."""
        if options.tile > self.config.tile:
            raise UsageError(f"tile = {options.tile} is out of range: use up to {self.config.tile}.")
        return options

    def _batch(self, pictures: list[bytes], options: PictureOptions) -> list[bytes]:
        most, whole = self.config.max_pixels, 0
        for i, data in enumerate(pictures, start=1):
            try:
                width, height = size_of(data, options.size)
            except Unreadable as error:
                raise UsageError(f"Image {i} of {len(pictures)} cannot be read: {error}.") from None
            check_sides(width, height, FORMATS[options.format])
            whole += width * height
        if whole > most:
            raise UsageError(f"The pictures have {whole} pixels together: at most {most} in one request.")
        return [
            options.translate(self.translator, data, f"Image {i} of {len(pictures)}", max_pixels=most)
            for i, data in enumerate(pictures, start=1)
        ]

    def _tensor(self, images: np.ndarray, options: PictureOptions) -> np.ndarray:
        channels = self.translator.source.channels
        if images.ndim != 4 or images.shape[1] != channels:
            raise UsageError(f"Input images has shape {list(images.shape)}: it must be N×{channels}×H×W.")
        if options != PictureOptions(tile=options.tile):
            raise UsageError("format, quality and size are for pictures: tensors keep their type and size.")
        if (whole := images.size // channels) > self.config.max_pixels:
            raise UsageError(
                f"Input images has {whole} pixels: at most {self.config.max_pixels} in one request."
            )
        if not np.isfinite(images).all():
            raise UsageError("Input images holds values that are not finite numbers.")
        low, high = float(images.min()), float(images.max())
        if low < -1 - SLACK or high > 1 + SLACK:
            raise UsageError(
                f"Input images has values from {low:g} to {high:g}: scale them to [-1, 1], such as "
                "x / 127.5 - 1."
            )
        out = np.empty((len(images), self.translator.target.channels, *images.shape[2:]), images.dtype)
        with enough_memory(f"use a tile smaller than {options.tile}"):
            for i, image in enumerate(images):
                pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
                out[i] = self.translator.floats(pixels, tile=options.tile).transpose(2, 0, 1)
        return out

    def metadata(self) -> dict[str, Any]:
        """As the protocol describes a model: both inputs are listed, and a request holds one of them."""
        ends = (self.translator.source, self.translator.target)
        takes, gives = ([-1, kind.channels, -1, -1] for kind in ends)
        return {
            "name": self.name,
            "platform": self.translator.engine.name,
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [-1]},
                {"name": "images", "datatype": "FP32", "shape": takes},
            ],
            "outputs": [
                {"name": "image", "datatype": "BYTES", "shape": [-1]},
                {"name": "translated", "datatype": "FP32", "shape": gives},
            ],
        }


def load_all(models: Sequence[str], config: ServeConfig) -> dict[str, Served]:
    """Every generator of every model by its name.

    Raises UsageError where one cannot be loaded or two share a name.
    """
    served: dict[str, Served] = {}
    for model in models:
        named = NAMED.fullmatch(model)
        address = named["address"] if named else model
        translators = [
            load(
                address,
                direction,
                device=config.device,
                precision=config.precision,
                engine=config.engine,
                tile=config.tile,
                pictures=MANY,
            )
            for direction in _directions(address, config)
        ]
        for translator in translators:
            name = named["name"] if named else short_name(address)
            if not named or len(translators) > 1:
                name = f"{name}-{translator.direction}"
            if name in served:
                raise UsageError(
                    f"Two models would be called {name}: name them, as in NAME={redact(address)}."
                )
            served[name] = Served(name, translator, config)
    return served


def _directions(address: str, config: ServeConfig) -> list[Any]:
    if address.endswith((".onnx", ".xml")):
        return [None if config.direction == "auto" else config.direction]
    return directions_of(address, config.direction)


def short_name(address: str) -> str:
    """The name a model gets from its address, without a direction: maps for runs/maps/model."""
    path = address.split("?")[0].rstrip("/")
    if address.startswith("models:/"):
        name = path.removeprefix("models:/").split("@")[0].split("/")[0]
        return name.removesuffix("-AtoB").removesuffix("-BtoA")
    parts = PurePosixPath(path if "://" in path else Path(path).resolve().as_posix()).parts
    if parts[-1].endswith((".onnx", ".xml")):
        parts = parts[:-1]
    generic = {"model", "export", "/"}
    name = next((part for part in reversed(parts) if part not in generic), "model")
    return in_file_name(name) or "model"
