"""Compile the pipelines to the YAML files that are committed beside them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipeline import cyclegan, sweep, translate
from pipeline.compiled.backends import VERSIONS, fit
from pipeline.compiled.documents import Documents, read_documents
from pipeline.defaults import Defaults, read_defaults

FOLDER = Path(__file__).resolve().parents[1]
PIPELINES: dict[str, Callable[[Defaults], BaseComponent]] = {
    "cyclegan": cyclegan.build,
    "sweep": sweep.build,
    "translate": translate.build,
}
BLOCKS = ("exit-handler-", "for-loop-")
"""How the compiler names blocks, where nobody reads what is in them; 22 characters of a name are shown."""


def compile_all(folder: Path = FOLDER, *, backend: str = VERSIONS[-1]) -> list[Path]:
    """Write `<name>.yaml` of every pipeline into `folder`, for one of VERSIONS; returns the files."""
    defaults = read_defaults()
    files = []
    for name, build in PIPELINES.items():
        files.append(folder / f"{name}.yaml")
        Compiler().compile(build(defaults), str(files[-1]))
        text = files[-1].read_text(encoding="utf-8")
        documents = read_documents(files[-1])
        header = _header(text, documents[0])
        _name_blocks(documents)
        fit(documents, backend)
        files[-1].write_text(header + yaml.safe_dump_all(documents, sort_keys=True), encoding="utf-8")
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


def _header(text: str, spec: dict[str, Any]) -> str:
    """The comment above a compiled file, objects in it by sorted keys: the compiler's order is by chance."""
    lines = [line for line in text.splitlines() if line.startswith("#")]
    for name, facts in spec["root"]["inputDefinitions"]["parameters"].items():
        if facts["parameterType"] == "STRUCT":
            shown = json.dumps(facts.get("defaultValue", {}), sort_keys=True)
            start = f"#    {name}: dict "
            lines = [f"{start}[Default: {shown}]" if line.startswith(start) else line for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _name_blocks(documents: Documents) -> None:
    """Give the blocks of a pipeline names after their content: `train-and-register` for `exit-handler-1`."""
    spec = documents[0]
    renamed: dict[str, str] = {}
    for block in (spec["root"], *spec["components"].values()):
        for key, task in block.get("dag", {}).get("tasks", {}).items():
            if key.startswith(BLOCKS):
                name = task["taskInfo"]["name"].lower().replace(" ", "-")
                renamed |= {key: name, f"comp-{key}": f"comp-{name}"}
    documents[0] = _renamed(spec, renamed)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The same document with other names, as keys and as values that are nothing else."""
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
