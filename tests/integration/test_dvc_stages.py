"""A stage of dvc.yaml runs again when the code that decides its result changes, and not without need."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
STEPS = {
    "preprocess": "cyclegan.data.preprocess.preprocess",
    "train": "cyclegan.training.train",
    "evaluate": "cyclegan.evaluation.evaluate",
    "register": "cyclegan.registry.register",
}
# reading, writing, talking, describing: they carry a result and do not decide it
CARRIERS = ("cyclegan.errors", "cyclegan.io", "cyclegan.tracking")


@cache
def path_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    file = path.with_suffix(".py")
    return file if file.is_file() else None


def imports(module: str) -> set[str]:
    """The project's modules that `module` imports, inside functions too."""
    path = path_of(module)
    assert path
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("cyclegan.") and path_of(name)}


def reached(module: str) -> set[str]:
    seen, open_ = set(), [module]
    while open_:
        name = open_.pop()
        if name not in seen and not name.startswith(CARRIERS):
            seen.add(name)
            open_ += imports(name)
    return seen


@pytest.mark.parametrize("stage", STEPS)
def test_a_stage_watches_the_code_behind_it(stage: str) -> None:
    """What another stage watches, such as the code that wrote this one's input, need not be watched twice."""
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    watched = {
        name: [ROOT / dep for dep in graph[name]["deps"] if dep.startswith("cyclegan")] for name in STEPS
    }
    needed = {path for name in reached(STEPS[stage]) if (path := path_of(name)) and path.stat().st_size}
    everything = [dep for deps in watched.values() for dep in deps]
    assert {str(path) for path in needed if not any(path.is_relative_to(dep) for dep in everything)} == set()
    for dep in watched[stage]:
        assert any(path.is_relative_to(dep) for path in needed), f"{dep} is no part of {stage}"
