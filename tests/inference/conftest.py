"""A small model folder, random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cyclegan.inference.export import ExportConfig, export
from cyclegan.model import DIRECTIONS, save_model
from cyclegan.networks import build_generator

OPTIONS = {"name": "resnet", "blocks": 1, "width": 4}


def write_model(folder: Path) -> Path:
    torch.manual_seed(0)
    generators = {direction: build_generator(**OPTIONS) for direction in DIRECTIONS}
    save_model(folder, generators, {"generator": OPTIONS})
    return folder


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_model(tmp_path / "model")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AtoB.onnx of the same model."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    model = write_model(folder / "model")
    (path,) = export(str(model), folder / "onnx", ExportConfig(direction="AtoB"))
    return path
