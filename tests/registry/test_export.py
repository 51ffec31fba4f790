"""Exported generators, read by ONNX Runtime and torch as a user would."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from cyclegan.engines.parity import check_export
from cyclegan.engines.pixel_graph import Form
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference import export as exporting
from cyclegan.inference.export import ExportConfig, export
from cyclegan.inference.translator import load
from cyclegan.model import load_model
from cyclegan.networks import build_generator

SIZES = [(1, 64, 64), (3, 64, 128), (2, 128, 96)]


@pytest.mark.parametrize(
    "generator",
    [{"name": "resnet", "blocks": 1, "width": 4}, {"name": "unet", "depth": 5, "width": 4}],
    ids=lambda options: options["name"],
)
def test_onnx_has_free_batch_height_and_width(make_model, tmp_path, generator):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = make_model(generator=generator)
    (path,) = export(str(model), tmp_path / "out", ExportConfig(format="onnx", direction="BtoA"))
    assert [file.name for file in path.parent.iterdir()] == ["BtoA.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(float)", ["N", 3, "H", "W"])
    trained = load_model(model)["BtoA"]
    for batch, height, width in SIZES:
        images = torch.rand(batch, 3, height, width) * 2 - 1
        (translated,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(translated), trained(images), rtol=0, atol=1e-3)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["multiple"] == str(trained.multiple)
    assert json.loads(facts["config"])["generator"] == generator


SLOWER = [("onnx", "fp16"), ("openvino", "fp32"), ("openvino", "fp16")]
ODD = [(1, 9), (45, 70), (64, 33)]  # height and width


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("onnx", "fp32"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOWER)],
)
def test_pictures_of_bytes_and_any_size_in_and_out(make_model, tmp_path, kind, precision, caplog):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[kind])
    model, _ = make_model(generator={"name": "unet", "depth": 3, "width": 4})
    config = ExportConfig(format=kind, direction="AtoB", images="uint8", precision=precision)
    with caplog.at_level("INFO"):
        (path,) = export(str(model), tmp_path / "out", config)
    assert path.name == f"AtoB-uint8{'-fp16' * (precision == 'fp16')}.{'onnx' if kind == 'onnx' else 'xml'}"
    assert "images uint8 H×W×3 of any size" in caplog.text
    assert ("opset 20" in caplog.text) == (kind == "onnx")
    if kind == "onnx":
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["H", "W", 3])
    else:
        compiled = runtime.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    translator = load(model, "AtoB", engine="torch", precision="fp32")
    for size in ODD:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        if kind == "onnx":
            (translated,) = session.run(None, {"images": image})
        else:
            translated = compiled({"images": image})[0]
        apart = np.abs(translated.astype(int) - translator(image))
        assert translated.dtype == np.uint8 and translated.shape == image.shape
        assert apart.max() <= 1 if precision == "fp32" else apart.mean() < 0.5
    with pytest.raises(UsageError, match="takes uint8 images"):
        load(path)


def test_openvino_files_are_models_too(make_model, tmp_path):
    pytest.importorskip("openvino")
    model, _ = make_model()
    config = ExportConfig(format="openvino", direction="BtoA", precision="fp16")
    (path,) = export(str(model), tmp_path / "out", config)
    assert sorted(file.name for file in path.parent.iterdir()) == ["BtoA-fp16.bin", "BtoA-fp16.xml"]
    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)
    translator = load(path, precision="fp32")
    expected = load(model, "BtoA", engine="torch", precision="fp32")(image)
    assert translator.direction == "BtoA"
    assert 0 < np.abs(translator(image).astype(int) - expected).mean() < 0.5
    with pytest.raises(UsageError, match="OpenVINO IR, which onnx does not run"):
        load(path, engine="onnx")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(UsageError, match="OpenVINO cannot read"):
        load(path)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_missing_package_is_named(make_model, tmp_path, monkeypatch, kind):
    model, _ = make_model()
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"pip install 'cyclegan-pipeline\[{kind}\]'"):
        export(str(model), tmp_path / "out", ExportConfig(format=kind))


@pytest.mark.parametrize("form", [Form("float", "fp16"), Form("uint8", "fp32"), Form("float", "fp32")])
def test_a_file_that_draws_something_else_is_not_kept(form):
    generator = build_generator("resnet", blocks=1, width=4)
    wrapped = form.wrap(generator)
    assert check_export(wrapped, generator, form) < 0.1
    off = (
        (lambda x: (wrapped(x).int() + 2).byte()) if form.images == "uint8" else (lambda x: wrapped(x) + 0.02)
    )
    with pytest.raises(CycleGANError, match="grey levels"):
        check_export(off, generator, form)


def test_pt2_of_both_directions(make_model, tmp_path):
    model, _ = make_model()
    paths = export(str(model), tmp_path / "out", ExportConfig(format="pt2"))
    assert [path.name for path in paths] == ["AtoB.pt2", "BtoA.pt2"]
    trained = load_model(model)
    facts = {"multiple": ""}
    program = torch.export.load(paths[0], extra_files=facts).module()
    assert facts["multiple"] == "4"
    for batch, height, width in SIZES:
        images = torch.rand(batch, 3, height, width) * 2 - 1
        torch.testing.assert_close(program(images), trained["AtoB"](images), rtol=0, atol=1e-5)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
@pytest.mark.parametrize(
    "kinds", [("onnx", "pt2"), pytest.param(("openvino",), marks=pytest.mark.slow)], ids="-".join
)
def test_a_full_disk_ends_in_one_sentence(make_model, tmp_path, kinds):
    """In one process for several kinds, because torch and the exporter take seconds to import."""
    import resource

    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime" if "onnx" in kinds else "openvino")
    model, _ = make_model()
    code = "from cyclegan.cli.main import main\n"
    for kind in kinds:
        code += f"print(main(['export', {str(model)!r}, '--out', {kind!r}, '--format', {kind!r}]))\n"
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code],  # else Python leaves halves of compiled modules behind
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.stdout.split() == ["1"] * len(kinds), ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("cyclegan export: File too large")]
    assert len(said) == len(kinds)
    assert "Traceback" not in ended.stderr
    for kind in kinds:
        assert not (tmp_path / kind).exists() or list((tmp_path / kind).iterdir()) == []


def test_no_model_no_file(tmp_path):
    with pytest.raises(UsageError, match="no model in"):
        export(str(tmp_path), tmp_path / "out", ExportConfig())
    assert not (tmp_path / "out").exists()
