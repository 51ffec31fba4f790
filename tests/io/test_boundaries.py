"""Model folders and weights that are not what they say: one sentence, nothing built, nothing used."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan.cli.main import main
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.translator import load
from cyclegan.io.weights import read_state_dict
from cyclegan.model import DIRECTIONS, load_model, save_model
from cyclegan.model_config import guard_model
from cyclegan.networks import build_generator

OPTIONS = {"name": "resnet", "blocks": 1, "width": 4, "norm": "instance", "upsample": "resize"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(
        tmp_path / "model",
        {direction: build_generator(**OPTIONS) for direction in DIRECTIONS},
        {"generator": OPTIONS, "image_size": 32, "data": {"uri": "synthetic:city", "version": "x"}},
    )
    return tmp_path / "model"


def test_a_model_replaces_a_model_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    pair = {direction: build_generator(**OPTIONS) for direction in DIRECTIONS}
    (folder / "AtoB.onnx").touch()  # exported from the former weights
    save_model(folder, pair, {"generator": OPTIONS})
    assert not (folder / "AtoB.onnx").exists()
    for name in ("AtoB-uint8-fp16.xml", ".nfs0001", ".ipynb_checkpoints"):
        (folder / name).touch()
    guard_model(folder)
    (folder / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r"holds other files \('holiday.jpg'\)"):
        guard_model(folder)
    (tmp_path / "large disk").mkdir()
    (tmp_path / "linked").symlink_to("large disk")
    save_model(tmp_path / "linked", pair, {"generator": OPTIONS})
    assert (tmp_path / "linked").is_symlink() and load_model(tmp_path / "large disk")


def write_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    options = changes.pop("generator", {})
    if isinstance(options, dict):
        options = config["generator"] | options
    (folder / "config.json").write_text(json.dumps(config | {"generator": options} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": {"blocks": 1_000_000_000}}, "blocks = 1000000000 must be"),
        ({"generator": {"blocks": 1e9}}, "blocks is neither"),
        ({"generator": {"blocks": True}}, "blocks is neither"),
        ({"generator": {"blocks": 2}}, "see blocks.1"),
        ({"generator": {"width": 1000}}, "see blocks.0"),
        ({"generator": {"width": 30000}}, "width = 30000 must be"),
        ({"generator": {"norm": "batch"}}, "norm = 'batch' is not one of instance, layer"),
        ({"generator": {"upsample": "bilinear"}}, "upsample = 'bilinear'"),
        ({"generator": {"norm": ["instance"]}}, "norm is neither"),
        ({"generator": {"name": "unet"}}, "cannot be built"),
        ({"generator": {"name": "pix2pix"}}, "no generator 'pix2pix'"),
        ({"generator": {"name": {}}}, "no name"),
        ({"generator": "resnet"}, "generator is of the wrong kind"),
        ({"pixels": 8}, "pixels is of the wrong kind"),
        ({"pixels": {"channels": {"A": 3}, "bits": 8}}, "pixels.channels are not those of A and B"),
        ({"pixels": {"channels": {"A": 3, "B": 999}, "bits": 8}}, "not numbers from 1 to 64"),
        ({"pixels": {"channels": {"A": 3, "B": 3}, "bits": 12}}, "pixels.bits is neither 8 nor 16"),
        ({"pixels": {"channels": {"A": 3, "B": 3}, "bits": 8, "white": "x"}}, "pixels.white is not a number"),
        ({"pixels": {"channels": {"A": 4, "B": 3}, "bits": 8}}, "see down.1.weight"),
        ({"image_size": 1e9}, "image_size"),
        ({"image_size": "big"}, "image_size"),
        ({"image_size": [3]}, "image_size"),
        ({"data": [1]}, "data is of the wrong kind"),
        ({"format": 1000}, "format 1000"),
    ],
)
def test_a_config_that_does_not_describe_the_weights_is_refused_before_anything_is_built(
    folder, changes, message
):
    write_config(folder, **changes)
    started = time.monotonic()
    for read in (load_model, load):
        with pytest.raises(UsageError, match=message) as error:
            read(folder)
        assert str(folder) in str(error.value)
        assert len(str(error.value)) < 500
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "text", ["[]", "null", '"x"', "{", "[" * 100_000, "1" * 5000, '{"generator": NaN}', "\xff"]
)
def test_a_config_of_another_kind_is_refused(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="is damaged"):
        load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_everywhere(folder, tmp_path, value, capsys):
    path = folder / "AtoB.safetensors"
    state = load_file(path)
    name = max(state, key=lambda key: state[key].numel())
    state[name].view(-1)[5] = value
    save_file(state, path)
    torch.save(state, tmp_path / "weights.pth")
    for read in (lambda: load_model(folder), lambda: load(folder)):
        with pytest.raises(UsageError, match="not finite"):
            read()
    for source in (path, tmp_path / "weights.pth"):
        with pytest.raises(UsageError, match="not finite"):
            read_state_dict(source, str(source))
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    assert main(["translate", str(folder), str(tmp_path / "x.png"), "--out", str(tmp_path / "out")]) == 2
    assert "not finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_mutated_files_of_weights_are_one_sentence(tmp_path):
    state = {"a.weight": torch.rand(4, 3), "b": torch.arange(3)}
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    random = np.random.default_rng(0)
    for name in ("w.pth", "w.safetensors"):
        whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(150):
            data = whole[: random.integers(1, len(whole))] if random.random() < 0.2 else whole.copy()
            if len(data) == len(whole):
                data[random.integers(0, len(data), random.integers(1, 5))] = random.integers(0, 256)
            mutant = tmp_path / f"mutant{Path(name).suffix}"
            mutant.write_bytes(data.tobytes())
            try:
                read_state_dict(mutant, mutant.name)
            except CycleGANError as error:
                assert "\n" not in str(error)
