"""A generator as ONNX, OpenVINO IR or a torch.export program with free sizes, checked by its own runtime."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan.engines.parity import check_export, example_inputs, example_picture, pack
from cyclegan.engines.pixel_graph import PLAIN, Form
from cyclegan.engines.pytorch import TorchEngine
from cyclegan.model import Direction
from cyclegan.networks import Generator
from cyclegan.pixels import to_uint8_array

OPSET = 20


def metadata(
    generator: Generator, direction: Direction, config: Mapping[str, Any], weights: str, form: Form = PLAIN
) -> dict[str, str]:
    """What is written into a file: direction, multiple, config, form, weights and a picture to compare with.

    `weights` is the SHA-256 of their file: it tells an export of theirs from one of others.
    """
    facts = {"direction": direction, "multiple": str(generator.multiple)}
    drawn = to_uint8_array(TorchEngine(generator)(example_picture(generator.multiple)))
    return facts | {
        "config": json.dumps(config),
        "weights": weights,
        "images": form.images,
        "precision": form.precision,
        "parity": pack(drawn),
    }


def write_onnx(
    generator: Generator,
    direction: Direction,
    config: Mapping[str, Any],
    weights: str,
    path: Path,
    form: Form = PLAIN,
) -> float:
    """Write `images` → `translated`, opset 20, as `form` says, for a float32 generator on the CPU.
    `weights` is the SHA-256 of the file that it was read from.

    Returns the mean difference from torch in grey levels. Raises CycleGANError where ONNX Runtime computes
    something else from the file.
    """
    import onnxruntime

    _convert(generator, direction, config, weights, path, form)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor) -> torch.Tensor:
        (translated,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(np.asarray(translated))

    return check_export(run, generator, form)


def _convert(
    generator: Generator,
    direction: Direction,
    config: Mapping[str, Any],
    weights: str,
    path: Path,
    form: Form,
) -> None:
    """Write the ONNX file, unchecked."""
    uint8 = form.images == "uint8"
    example = example_inputs(generator.multiple, form)[1]
    with _quiet():
        program = torch.onnx.export(
            form.wrap(generator).eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["translated"],
            dynamic_shapes=({0: "H", 1: "W"} if uint8 else {0: "N", 2: "H", 3: "W"},),
        )
    assert program is not None
    program.model.metadata_props.update(metadata(generator, direction, config, weights, form))
    program.save(os.fspath(path), external_data=False)


def write_openvino(
    generator: Generator,
    direction: Direction,
    config: Mapping[str, Any],
    weights: str,
    path: Path,
    form: Form = PLAIN,
) -> float:
    """Write OpenVINO IR: `path`, whose name ends in .xml, and the weights next to it as .bin.

    fp16 stores the weights in 16 bits; in which precision they are computed is the device's choice. Returns
    the mean difference from torch in grey levels. Raises CycleGANError where OpenVINO computes something
    else.
    """
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "whole.onnx"
        _convert(generator, direction, config, weights, onnx, replace(form, precision="fp32"))
        model = core.read_model(onnx)
        model.set_rt_info(form.precision, ["framework", "precision"])
        openvino.save_model(model, path, compress_to_fp16=form.precision == "fp16")
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return check_export(
        lambda images: torch.from_numpy(compiled({"images": images.numpy()})[0].copy()), generator, form
    )


def write_pt2(
    generator: Generator,
    direction: Direction,
    config: Mapping[str, Any],
    weights: str,
    path: Path,
    form: Form = PLAIN,
) -> float:
    """Write a torch.export program for a float32 generator on the CPU.

    Returns the mean difference from torch in grey levels. Raises CycleGANError where the program computes
    something else when it is read back.
    """
    auto = torch.export.Dim.AUTO
    example = example_inputs(generator.multiple, form)[1]
    free = {0: auto, 1: auto} if form.images == "uint8" else {0: auto, 2: auto, 3: auto}
    program = torch.export.export(form.wrap(generator).eval(), (example,), dynamic_shapes=(free,))
    # Not into the file: where a write fails, torch's zip writer aborts the process.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=metadata(generator, direction, config, weights, form))
    path.write_bytes(buffer.getbuffer())
    with path.open("rb") as file:
        read = torch.export.load(file).module()
    return check_export(read, generator, form)


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
