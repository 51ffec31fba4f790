"""Compile the pipelines to the YAML files that are committed beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipeline import cyclegan, sweep, translate
from pipeline.defaults import Defaults, read_defaults
from pipeline.placement import Backend

FOLDER = Path(__file__).resolve().parent
PIPELINES: dict[str, Callable[[Defaults, Backend], BaseComponent]] = {
    "cyclegan": cyclegan.build,
    "sweep": sweep.build,
    "translate": translate.build,
}


def compile_all(folder: Path = FOLDER, *, static: bool = False) -> list[Path]:
    """Write `<name>.yaml` of every pipeline into `folder`; returns the files."""
    defaults = read_defaults()
    files = []
    for name, build in PIPELINES.items():
        files.append(folder / f"{name}.yaml")
        Compiler().compile(build(defaults, Backend(static)), str(files[-1]))
    return files


def stale(folder: Path = FOLDER) -> list[Path]:
    """The committed files that differ from what the code compiles to now."""
    with tempfile.TemporaryDirectory() as temporary:
        fresh = compile_all(Path(temporary))
        return [
            folder / file.name
            for file in fresh
            if not (folder / file.name).is_file() or (folder / file.name).read_bytes() != file.read_bytes()
        ]


def parameters(name: str, defaults: Defaults) -> dict[str, Any]:
    """The pipeline's parameters and their values under other defaults, such as those of a preset."""
    from google.protobuf import json_format

    inputs = PIPELINES[name](defaults, Backend()).pipeline_spec.root.input_definitions.parameters
    return {key: json_format.MessageToDict(value.default_value) for key, value in inputs.items()}
