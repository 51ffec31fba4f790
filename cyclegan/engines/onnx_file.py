"""Exported generators, run on the CPU by ONNX Runtime or OpenVINO; torch is never loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.engines.base import Precision
from cyclegan.engines.parity import GATE, example_picture, grey_levels_apart
from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.io.files import parse_json
from cyclegan.model_config import check_config
from cyclegan.pixels import to_uint8_array, to_unit_array
from cyclegan.runtime.cpu import resolve_threads

LARGEST_MULTIPLE = 2048
"""Of what the sides of images must be multiples of."""


class OnnxRuntimeEngine:
    """An exported generator in float32 by ONNX Runtime."""

    batch = 1

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = resolve_threads(0)
        options.inter_op_num_threads = 1
        # idle threads would spin while pictures are read and written
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base
            raise UsageError(f"{path} is not an ONNX file, or it is damaged: {first_line(error)}.") from None
        self.facts = facts_of(self.session.get_modelmeta().custom_metadata_map, path)
        self.multiple = int(self.facts["multiple"])
        self.name = f"ONNX Runtime {self.facts.get('precision', 'fp32')} on cpu"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×H×W×3 in [-1, 1]."""
        (translated,) = self.session.run(None, {"images": _planes(images)})
        return _pixels(translated)


class OpenVinoEngine:
    """An exported generator by OpenVINO; `auto` is bfloat16 if the CPU computes in it."""

    batch = 1

    def __init__(self, path: Path, precision: Precision = "auto") -> None:
        import openvino

        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise UsageError(f"OpenVINO cannot read {path}: {first_line(error)}.") from None
        self.facts = facts_of(_rt_info(model), path)
        self.multiple = int(self.facts["multiple"])
        bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not bf16:
            raise UsageError("precision = bf16, but this CPU does not compute in it: use auto or fp32.")
        kind = "bf16" if bf16 and precision != "fp32" else "f32"
        settings = {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": resolve_threads(0)}
        self.compiled = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
        self.name = f"OpenVINO {'bf16' if kind == 'bf16' else 'fp32'} on cpu"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×H×W×3 in [-1, 1]."""
        request = self.compiled.create_infer_request()  # one each, so that several threads may call
        return _pixels(request.infer({"images": _planes(images)})[0])


def _planes(images: np.ndarray) -> np.ndarray:
    """uint8 N×H×W×3, or float32 in [-1, 1], to float32 N×3×H×W in [-1, 1]."""
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return to_unit_array(channels_first) if images.dtype.kind == "u" else channels_first.astype(np.float32)


def _pixels(images: Any) -> np.ndarray:
    """float N×3×H×W to float32 N×H×W×3."""
    return np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1), np.float32)


def _rt_info(model: Any) -> dict[str, str]:
    """The metadata that the exporter wrote, as OpenVINO keeps it."""
    names = ("direction", "multiple", "config", "images", "precision", "parity")
    places = {name: ["framework", name] for name in names}
    return {name: model.get_rt_info(at).astype(str) for name, at in places.items() if model.has_rt_info(at)}


def facts_of(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    """direction, multiple, config and the parity picture of a file; UsageError if it is not one of ours."""
    direction = metadata.get("direction")
    try:
        config, multiple = parse_json(metadata["config"]), int(metadata["multiple"])
    except (KeyError, ValueError):
        config, multiple = None, 0
    if config is None or not 1 <= multiple <= LARGEST_MULTIPLE or direction not in ("AtoB", "BtoA"):
        raise UsageError(f"{path} was not written by `cyclegan export`: it lacks its metadata.")
    if metadata.get("images", "float") != "float":
        raise UsageError(
            f"{path} takes uint8 images, for other programs: export without --images uint8 for this command."
        )
    return metadata | {"config": {**check_config(config, str(path))}, "multiple": multiple}


def check_engine(engine: OnnxRuntimeEngine | OpenVinoEngine, path: Path) -> float:
    """Mean difference in grey levels from the picture that torch drew when the file was exported.

    Raises CycleGANError where it exceeds one grey level, UsageError where the file holds no such picture.
    """
    expected = engine.facts.get("parity")
    if not expected:
        raise UsageError(f"{path} was exported by an older version: export it again.")
    apart = grey_levels_apart(to_uint8_array(engine(example_picture(engine.multiple))), expected)
    if not apart <= GATE:
        raise CycleGANError(
            f"{engine.name} is {apart:.1f} grey levels off for {path.name}, above {GATE:g}: use engine torch."
        )
    return apart
