"""Generators as ONNX files, OpenVINO IR or torch.export programs, each checked by its own runtime."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.io.files import atomic_file, sha256
from cyclegan.model_config import kinds_of
from cyclegan.pixel_kind import all_rgb, in_words

logger = logging.getLogger(__name__)

ENDS = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What a model is exported to."""

    format: Literal["onnx", "openvino", "pt2"] = "onnx"
    """onnx: for ONNX Runtime and others, opset 20; openvino: IR, an .xml and a .bin file; pt2: a torch.export
    program, bound to this version of torch."""
    direction: Literal["auto", "AtoB", "BtoA"] = "auto"
    """Which generator; auto: both, or the one that the model's address names."""
    images: Literal["float", "uint8"] = "float"
    """float: float32 N×3×H×W in [-1, 1], whose sides are multiples of what it needs, at least two of them;
    uint8: H×W×3 as decoded from a file, of any size. Scaling, padding and cropping are then part of the
    file."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """fp16: weights and arithmetic of 16 bits, for GPUs; the images' type stays as it is."""


def export(model: str, out: Path, config: ExportConfig) -> list[Path]:
    """Write `<direction>[-uint8][-fp16].<format>` into the folder `out` for a model's folder or address.

    Returns the files (for OpenVINO the .xml ones). Input `images` and output `translated` are as
    `config.images` says; the file's metadata hold the model's config and `multiple`, of which H and W of
    float images must be multiples, at least twice as large. Each file is read back and compared with the
    generator at three sizes before it gets its name. Raises UsageError where there is no model or a package
    is missing, CycleGANError where the file computes something else.
    """
    _check_packages(config.format)
    from cyclegan.engines import export as exporting
    from cyclegan.engines.pixel_graph import Form
    from cyclegan.engines.pytorch import read_generator
    from cyclegan.inference.translator import directions_of, model_folder

    form = Form(config.images, config.precision)
    written = []
    for direction in directions_of(model, config.direction):
        with model_folder(model, direction) as (folder, _):
            generator, facts = read_generator(folder, direction, model)
            weights = sha256(folder / f"{direction}.safetensors")
        if not all_rgb(kinds := kinds_of(facts)):
            raise UsageError(
                f"Exported files take and return RGB of 8 bits, but for this model {in_words(kinds)}: use "
                "`cyclegan translate`, or cyclegan.load in Python."
            )
        path = out / f"{direction}{form.suffix}{ENDS[config.format]}"
        with _renamed_at_end(path) as temporary:
            write = getattr(exporting, f"write_{config.format}")
            apart = write(generator, direction, facts, weights, temporary, form)
        logger.info(
            "%s, %.1f MB%s: %s, %.2g grey levels from torch on average.",
            path,
            sum(file.stat().st_size for file in _files(path)) / 1e6,
            f", opset {exporting.OPSET}" if config.format == "onnx" else "",
            "images uint8 H×W×3 of any size"
            if config.images == "uint8"
            else f"images float32 N×3×H×W in [-1, 1], sides a multiple of {generator.multiple}, "
            f"{2 * generator.multiple} or more",
            apart,
        )
        written.append(path)
    return written


def _check_packages(kind: str) -> None:
    needed = {"onnx": ("onnxscript", "onnxruntime"), "openvino": ("onnxscript", "openvino"), "pt2": ()}[kind]
    if not all(map(find_spec, needed)):
        what = {"onnx": "ONNX", "openvino": "OpenVINO IR"}[kind]
        raise UsageError(f"Exporting to {what} needs more packages: pip install 'cyclegan-pipeline[{kind}]'.")


def _files(path: Path) -> list[Path]:
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


@contextmanager
def _renamed_at_end(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` on success, together with the .bin file of an .xml.

    Nobody finds an .xml with another's weights: the former one is removed before they are replaced.
    """
    if path.suffix != ".xml":
        with atomic_file(path) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        checked = Path(folder) / path.name
        yield checked
        weights = path.with_suffix(".bin")
        with atomic_file(path) as new, atomic_file(weights) as new_weights:
            shutil.copyfile(checked, new)
            shutil.copyfile(checked.with_suffix(".bin"), new_weights)
            path.unlink(missing_ok=True)
