"""Generators as ONNX files or torch.export programs with free batch, height and width, checked after."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.io.files import atomic_file

logger = logging.getLogger(__name__)


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
    `multiple`, which is in the file's metadata with the model's config. Each file is read back and
    compared with the generator at three sizes. Raises UsageError where there is no model, CycleGANError where
    the file computes something else.
    """
    from cyclegan.engines.export import write_onnx, write_pt2
    from cyclegan.engines.pytorch import read_generator
    from cyclegan.inference.translator import directions_of, model_folder

    if config.format == "onnx" and not (find_spec("onnxscript") and find_spec("onnxruntime")):
        raise UsageError("Exporting to ONNX needs more packages: pip install 'cyclegan-pipeline[onnx]'.")
    written = []
    for direction in directions_of(model, config.direction):
        with model_folder(model, direction) as (folder, _):
            generator, facts = read_generator(folder, direction, model)
        path = out / f"{direction}.{config.format}"
        with atomic_file(path) as temporary:
            write = write_onnx if config.format == "onnx" else write_pt2
            write(generator, direction, facts, temporary)
        size = path.stat().st_size / 1e6
        logger.info(
            "%s, %.1f MB: images N×3×H×W in [-1, 1], sides a multiple of %d.", path, size, generator.multiple
        )
        written.append(path)
    return written
