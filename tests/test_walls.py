"""What import-linter's contracts in pyproject.toml cannot hold: what really gets loaded, how rooms grow."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "cyclegan").rglob("*.py"))
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
    assert loaded_by("cyclegan.cli.main, cyclegan.cli.commands", SERVICES | {"torch", "torchvision"}) == set()


def test_no_module_and_no_folder_grows_crowded() -> None:
    assert not {m: n for m in MODULES if (n := len(m.read_text(encoding="utf-8").splitlines())) > 400}
    files = Counter(module.parent for module in MODULES if module.name != "__init__.py")
    assert not {folder: count for folder, count in files.items() if count > 15}
