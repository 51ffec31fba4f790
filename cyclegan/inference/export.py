"""Generators as ONNX files or torch.export programs with free batch, height and width, checked after."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file

if TYPE_CHECKING:
    import torch

    from cyclegan.inference.translator import Translator

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of [-1, 1]; a grey level of 8 bits is 8e-3


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Into what a model is exported."""

    format: Literal["onnx", "pt2"] = "onnx"
    """onnx: for ONNX Runtime and others; pt2: a torch.export program, bound to this version of torch."""
    direction: Literal["auto", "AtoB", "BtoA"] = "auto"
    """Which generator; auto: both, or the one that the model's address names."""


def export(model: str, out: Path, config: ExportConfig) -> list[Path]:
    """Write `<direction>.<format>` into the folder `out` for a model's folder or address; returns the files.

    Input `images` and output `translated` are float32 N×3×H×W in [-1, 1]; H and W must be multiples of
    `multiple`, which stands in the file's metadata beside the model's config. Each file is read back and
    compared with the generator at two sizes. Raises UsageError where there is no model, CycleGANError where
    the file computes something else.
    """
    from cyclegan.inference.translator import load

    if config.format == "onnx" and not (find_spec("onnxscript") and find_spec("onnxruntime")):
        raise UsageError("Exporting to ONNX needs more packages: pip install 'cyclegan-pipeline[onnx]'.")
    directions: list[Any] = ["AtoB", "BtoA"] if config.direction == "auto" else [config.direction]
    name = model.removeprefix("models:/").split("@")[0].split("/")[0]
    if config.direction == "auto" and model.startswith("models:/") and name.endswith(("-AtoB", "-BtoA")):
        directions = [name[-4:]]
    written = []
    for direction in directions:
        translator = load(model, direction, device="cpu")
        path = out / f"{direction}.{config.format}"
        with atomic_file(path) as temporary:
            if config.format == "onnx":
                _to_onnx(translator, temporary)
            else:
                _to_pt2(translator, temporary)
        logger.info(
            "%s, %.1f MB: images N×3×H×W in [-1, 1], sides a multiple of %d.", path, *_facts(path, translator)
        )
        written.append(path)
    return written


def _facts(path: Path, translator: Translator) -> tuple[float, int]:
    return path.stat().st_size / 1e6, translator.multiple


def _metadata(translator: Translator) -> dict[str, str]:
    facts = {"direction": translator.direction, "multiple": str(translator.multiple)}
    return facts | {"config": json.dumps(translator.config)}


def _example(translator: Translator, columns: int, batch: int) -> torch.Tensor:
    """Noise in [-1, 1] of at least two multiples a side, the sides differing."""
    import torch

    rows = max(2, -(-16 // translator.multiple)) * translator.multiple
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, rows, rows + columns * translator.multiple, generator=generator) * 2 - 1


def _to_pt2(translator: Translator, path: Path) -> None:
    import torch

    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        translator.generator, (_example(translator, 1, 2),), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )
    with path.open("wb") as file:  # by name torch insists on a suffix
        torch.export.save(program, file, extra_files=_metadata(translator))
    with path.open("rb") as file:
        read = torch.export.load(file).module()
    _check(translator, read)


def _to_onnx(translator: Translator, path: Path) -> None:
    import numpy as np
    import onnxruntime
    import torch

    program = torch.onnx.export(
        translator.generator,
        (_example(translator, 1, 2),),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["translated"],
        dynamic_shapes=({0: "N", 2: "H", 3: "W"},),
    )
    assert program is not None
    program.model.metadata_props.update(_metadata(translator))
    program.save(os.fspath(path), external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> torch.Tensor:
        (translated,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(np.asarray(translated))

    _check(translator, run)


def _check(translator: Translator, run: Any) -> None:
    import torch

    for columns, batch in ((1, 2), (3, 1)):
        images = _example(translator, columns, batch)
        with torch.no_grad():
            difference = (run(images) - translator.generator(images)).abs().max().item()
        if not difference < TOLERANCE:
            raise CycleGANError(f"The exported generator differs from the trained one by {difference:.2g}.")
