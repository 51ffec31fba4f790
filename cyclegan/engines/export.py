"""A generator as an ONNX file or a torch.export program with free batch, height and width, checked after."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan.engines.parity import check_export, example_batch, example_picture, pack
from cyclegan.engines.pytorch import TorchEngine
from cyclegan.model import Direction
from cyclegan.networks import Generator
from cyclegan.pixels import to_uint8_array

OPSET = 20


def metadata(generator: Generator, direction: Direction, config: Mapping[str, Any]) -> dict[str, str]:
    """What is written into an exported file: direction, multiple, config, and a picture to compare with."""
    facts = {"direction": direction, "multiple": str(generator.multiple)}
    drawn = to_uint8_array(TorchEngine(generator)(example_picture(generator.multiple)))
    return facts | {"config": json.dumps(config), "parity": pack(drawn)}


def write_onnx(generator: Generator, direction: Direction, config: Mapping[str, Any], path: Path) -> None:
    """Write `images` float32 N×3×H×W in [-1, 1] → `translated`, opset 20, for a float32 generator on the CPU.

    Raises CycleGANError where ONNX Runtime computes something else from the file.
    """
    import onnxruntime

    with _quiet():
        program = torch.onnx.export(
            generator,
            (example_batch(generator.multiple, 1, 2),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["translated"],
            dynamic_shapes=({0: "N", 2: "H", 3: "W"},),
        )
    assert program is not None
    program.model.metadata_props.update(metadata(generator, direction, config))
    program.save(os.fspath(path), external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> torch.Tensor:
        (translated,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(np.asarray(translated))

    check_export(run, generator)


def write_pt2(generator: Generator, direction: Direction, config: Mapping[str, Any], path: Path) -> None:
    """Write a torch.export program for a float32 generator on the CPU.

    Raises CycleGANError where the program computes something else when it is read back.
    """
    auto = torch.export.Dim.AUTO
    example = example_batch(generator.multiple, 1, 2)
    program = torch.export.export(generator, (example,), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    # Not into the file: where a write fails, torch's zip writer aborts the process.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=metadata(generator, direction, config))
    path.write_bytes(buffer.getbuffer())
    with path.open("rb") as file:
        read = torch.export.load(file).module()
    check_export(read, generator)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter logs and warns about its own internals."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "torch.onnx", "onnx_ir")]
    former = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, former, strict=True):
            logger.setLevel(level)
