"""The walls between the rooms: which module may import what, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cyclegan"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))
STDLIB = sys.stdlib_module_names


def imports(path: str, *, top_level_only: bool) -> set[str]:
    """Dotted names that a file imports; below `if TYPE_CHECKING` nothing counts."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    if top_level_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.startswith("cyclegan/networks/")] + ["cyclegan/training/losses.py"]
)
def test_the_mathematics_imports_torch_alone(path: str) -> None:
    outside = roots(imports(path, top_level_only=False)) - STDLIB - {"torch", "cyclegan"}
    # pretrained weights come from torchvision, imported where they are asked for
    allowed = {"torchvision"} if path.endswith("vgg_unet.py") else set()
    assert outside <= allowed


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        (
            "mlflow",
            {"cyclegan/tracking/base.py", "cyclegan/tracking/mlflow_tracker.py", "cyclegan/registry/"},
        ),
        ("boto3", {"cyclegan/io/storage.py", "cyclegan/data/fetch/fetch.py"}),
        ("botocore", {"cyclegan/io/storage.py", "cyclegan/data/fetch/fetch.py"}),
        ("dvc", {"cyclegan/io/storage.py", "cyclegan/data/"}),
        ("kfp", set()),
    ],
)
def test_only_its_own_room_knows_a_service(library: str, rooms: set[str]) -> None:
    knowing = {m for m in MODULES if library in roots(imports(m, top_level_only=False))}
    assert not {m for m in knowing if not any(m.startswith(room) for room in rooms)}


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.split("/")[1] in {"training", "evaluation", "data"}]
)
def test_the_core_loads_without_services(path: str) -> None:
    assert not roots(imports(path, top_level_only=True)) & {"mlflow", "kfp", "dvc", "boto3", "botocore"}


def loaded_by(modules: str, libraries: set[str]) -> set[str]:
    """Which of the libraries a fresh interpreter has loaded once it imported the modules."""
    code = f"import sys, {modules}; print(*sorted({libraries} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.split())


SERVICES = {"mlflow", "kfp", "dvc", "boto3", "pandas", "scipy", "skimage", "matplotlib"}


def test_the_training_core_needs_five_packages_only() -> None:
    """Importing the loop pulls in nothing but torch, numpy, Pillow, safetensors, tqdm and what they need."""
    core = "cyclegan.training.train, cyclegan.data.packed, cyclegan.model"
    assert loaded_by(core, SERVICES | {"pydantic", "tyro"}) == set()


def test_the_command_line_loads_nothing_heavy() -> None:
    """`--help` answers in a fraction of a second because none of these is imported for it."""
    assert loaded_by("cyclegan.cli.main, cyclegan.cli.commands", SERVICES | {"torch", "torchvision"}) == set()


def test_no_module_of_the_package_grows_crowded() -> None:
    long = {m: n for m in MODULES if (n := len((ROOT / m).read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
