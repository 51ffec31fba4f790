"""The same picture by torch, ONNX Runtime and OpenVINO; which of them is taken, and when it is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

from cyclegan.engines import choose, onnx_file
from cyclegan.engines.pytorch import TorchEngine
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.translator import load
from cyclegan.networks import build_generator
from cyclegan.pixels import to_uint8_array

IMAGE = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)


def apart(a, b):
    return np.abs(a.astype(int) - b.astype(int))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_file_draws_what_torch_draws(model, exported, engine):
    pytest.importorskip(choose.PACKAGES[engine])
    expected = load(model, precision="fp32")(IMAGE)
    translator = load(exported, engine=engine, precision="fp32")
    assert (translator.direction, translator.multiple) == ("AtoB", 4)
    assert apart(translator(IMAGE), expected).max() <= 1
    tiled = load(model, precision="fp32").array(IMAGE, tile=32)
    assert apart(translator.array(IMAGE, tile=32), tiled).max() <= 1
    assert not np.array_equal(tiled, expected)


def test_bfloat16_is_close_to_float32(model):
    fast, exact = (load(model, precision=precision)(IMAGE) for precision in ("bf16", "fp32"))
    assert 0 < apart(fast, exact).mean() < 1
    assert "bf16" in load(model, precision="bf16").engine.name


@pytest.mark.parametrize("norm", ["instance", "layer"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("vgg_unet", {}), ("resnet", {"blocks": 1, "width": 8}), ("unet", {"depth": 3, "width": 8})],
)
def test_every_generator_draws_in_bfloat16(name, options, norm):
    generator = build_generator(name, norm=norm, **options).eval()
    side = 2 * generator.multiple
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    exact = TorchEngine(generator)(image)
    fast = TorchEngine(generator, torch.bfloat16)(image)
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - exact).mean() < 0.06


def test_an_engine_exports_once_and_auto_uses_what_is_there(model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(choose, "has_bfloat16", lambda: False)
    monkeypatch.setattr(choose, "_may_have_gpu", lambda: False)
    monkeypatch.setitem(choose.PACKAGES, "openvino", "not_installed_here")
    assert load(model).engine.name.startswith("torch")
    assert load(model, pictures=1).engine.name.startswith("torch")
    assert load(model, engine="onnx").engine.name.startswith("ONNX Runtime")
    (cached,) = (tmp_path / "cache" / "cyclegan" / "onnx").glob("*.onnx")
    stamp = cached.stat().st_mtime_ns
    assert load(model).engine.name.startswith("ONNX Runtime")
    assert load(model, "BtoA").engine.name.startswith("torch")  # another generator, not exported yet
    assert cached.stat().st_mtime_ns == stamp
    monkeypatch.setattr(choose, "has_bfloat16", lambda: True)
    assert load(model).engine.name.startswith("torch bf16")
    assert load(model, pictures=1).engine.name.startswith("ONNX Runtime")


@pytest.mark.parametrize(
    ("bf16", "precision", "pictures", "name"),
    [
        (True, "auto", 1, "OpenVINO bf16"),
        (False, "auto", 1, "ONNX Runtime fp32"),
        (False, "auto", None, "ONNX Runtime fp32"),
        (True, "fp32", 1, "ONNX Runtime fp32"),
    ],
)
def test_auto_takes_what_is_fastest_for_so_many_pictures(
    model, exported, monkeypatch, bf16, precision, pictures, name
):
    pytest.importorskip("openvino")
    if bf16 and not choose.has_bfloat16():
        pytest.skip("This CPU does not compute in bfloat16.")
    monkeypatch.setattr(choose, "has_bfloat16", lambda: bf16)
    monkeypatch.setattr(choose, "_may_have_gpu", lambda: False)
    shutil.copy(exported, model)
    for source in (model, exported):
        assert load(source, precision=precision, pictures=pictures).engine.name.startswith(name.split()[0])
    if bf16:
        assert load(exported, precision=precision, pictures=pictures).engine.name == f"{name} on cpu"


@pytest.mark.parametrize("engine", ["auto", "onnx"])
def test_a_file_beside_other_weights_is_ignored(model, exported, monkeypatch, caplog, engine):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(choose, "has_bfloat16", lambda: False)
    monkeypatch.setattr(choose, "_may_have_gpu", lambda: False)
    shutil.copy(exported, model)
    shutil.copy(model / "BtoA.safetensors", model / "AtoB.safetensors")
    found = load(model, "AtoB", engine=engine, precision="fp32")(IMAGE)
    assert apart(found, load(model, "AtoB", engine="torch", precision="fp32")(IMAGE)).max() <= 1
    assert "AtoB.onnx was not exported from AtoB.safetensors and is ignored" in caplog.text
    caplog.clear()
    silent = onnx.load(model / "AtoB.onnx")  # as exported before files said what they are of
    kept = [entry for entry in silent.metadata_props if entry.key != "weights"]
    del silent.metadata_props[:]
    silent.metadata_props.extend(kept)
    onnx.save(silent, model / "AtoB.onnx")
    load(model, "AtoB", engine="onnx", precision="fp32")
    assert "ignored" not in caplog.text
    (model / "AtoB.safetensors").unlink()
    assert load(model, "AtoB", engine=engine).engine.name.startswith(("ONNX", "OpenVINO"))


def test_a_file_that_draws_something_else_is_refused(exported, monkeypatch):
    class Off(onnx_file.OnnxRuntimeEngine):
        def __call__(self, images):
            return np.clip(super().__call__(images) + 3 / 127.5, -1, 1)

    monkeypatch.setattr(onnx_file, "OnnxRuntimeEngine", Off)
    with pytest.raises(CycleGANError, match=r"grey levels off for AtoB.onnx"):
        load(exported, engine="onnx")


def test_mistakes_are_one_sentence(model, exported, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="is a generator AtoB, not BtoA"):
        load(exported, "BtoA")
    with pytest.raises(UsageError, match="torch does not run"):
        load(exported, engine="torch")
    with pytest.raises(UsageError, match="runs on the CPU"):
        load(exported, engine="onnx", device="cuda")
    with pytest.raises(UsageError, match="in float32"):
        load(exported, engine="onnx", precision="bf16")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:999])
    with pytest.raises(UsageError, match="not an ONNX file, or it is damaged"):
        load(damaged, engine="onnx")
    with pytest.raises(UsageError, match="no file"):
        load(tmp_path / "none.onnx")
    monkeypatch.setitem(choose.PACKAGES, "openvino", "not_installed_here")
    with pytest.raises(UsageError, match=r"pip install 'cyclegan-pipeline\[openvino\]'"):
        load(model, engine="openvino")


def test_one_picture_by_an_exported_file_needs_neither_torch_nor_tqdm(exported, tmp_path):
    from PIL import Image

    Image.fromarray(IMAGE).save(tmp_path / "in.png")
    loaded = "any(name in sys.modules for name in ('torch', 'tqdm'))"
    code = f"from cyclegan.cli.main import main; main(); import sys; sys.exit({loaded})"
    command = [sys.executable, "-c", code, "translate", str(exported), "in.png", "--out", "out.png"]
    variables = os.environ | {"CYCLEGAN_TRACKING": "off"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = load(exported)(IMAGE)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), expected)


def test_rounding():
    values = np.array([-1.2, -1, 0, 0.999, 1, 1.5], np.float32)
    assert to_uint8_array(values).tolist() == [0, 0, 128, 255, 255, 255]
