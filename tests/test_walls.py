"""What import-linter's contracts in pyproject.toml cannot hold: what really gets loaded, how rooms grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "cyclegan").rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
ONE_PURPOSE = {"forward", "run"}
"""Methods that do what their class is for: its docstring describes them (a network, a command)."""
SERVICES = {"mlflow", "kfp", "dvc", "boto3", "pandas", "scipy", "skimage", "matplotlib"}


def loaded_by(modules: str, libraries: set[str]) -> set[str]:
    """Which of the libraries a fresh interpreter has loaded once it imported the modules."""
    code = f"import sys, {modules}; print(*sorted({libraries} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.split())


def test_the_training_core_needs_five_packages_only() -> None:
    """Importing training pulls in nothing but torch, numpy, Pillow, safetensors, tqdm and what they need."""
    core = "cyclegan.training.train, cyclegan.data.packed, cyclegan.model"
    assert loaded_by(core, SERVICES | {"pydantic", "tyro"}) == set()


def test_the_command_line_loads_nothing_heavy() -> None:
    """`--help` answers in a fraction of a second because none of these is imported for it."""
    heavy = SERVICES | {"torch", "torchvision", "numpy", "PIL", "tqdm"}
    assert loaded_by("cyclegan.cli.main, cyclegan.cli.commands", heavy) == set()


def test_no_module_and_no_folder_grows_crowded() -> None:
    assert not {m: n for m in MODULES if (n := len(m.read_text(encoding="utf-8").splitlines())) > 375}
    files = Counter(module.parent for module in MODULES if module.name != "__init__.py")
    assert not {folder: count for folder, count in files.items() if count > 11}


def test_the_fields_of_every_config_are_tested_one_by_one() -> None:
    """A test compares its fields with a table of what each does, so that a new field without one fails."""
    dataclasses = re.compile(r"^@dataclass.*\nclass (\w+Config)\b", re.MULTILINE)
    configs = {name for module in MODULES for name in dataclasses.findall(module.read_text(encoding="utf-8"))}
    tables = [p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*field*.py")]
    compared = re.compile(r"fields\((\w+Config)\)|\((\w+Config), [A-Z]+\)")
    assert configs == {name for text in tables for names in compared.findall(text) for name in names if name}


def test_every_public_function_says_what_it_does() -> None:
    """In its own docstring, or that of the method it overrides, or that of a class with one purpose."""
    functions: list[tuple[str, str | None, Function]] = []
    classes: dict[str, ast.ClassDef] = {}
    for module in MODULES:
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            inside = node.body if isinstance(node, ast.ClassDef) else [node]
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            owner = node.name if isinstance(node, ast.ClassDef) else None
            place = module.relative_to(ROOT).as_posix()
            functions += [(place, owner, one) for one in inside if isinstance(one, FUNCTION)]

    def described(owner: str, method: str) -> bool:
        """Whether the class or one that it extends has the method with a docstring."""
        node = classes.get(owner)
        if node is None:
            return False
        own = [one for one in node.body if isinstance(one, FUNCTION) and one.name == method]
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        return any(map(ast.get_docstring, own)) or any(described(base, method) for base in bases)

    silent = [
        f"{place}: {owner + '.' if owner else ''}{function.name}"
        for place, owner, function in functions
        if not function.name.startswith("_")
        and not (owner or "").startswith("_")
        and not ast.get_docstring(function)
        and not (owner and described(owner, function.name))
        and not (owner and function.name in ONE_PURPOSE and ast.get_docstring(classes[owner]))
    ]
    assert len(functions) > 500
    assert silent == []
