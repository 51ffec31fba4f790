"""Exported generators, read by ONNX Runtime and torch as a user would."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from cyclegan.errors import UsageError
from cyclegan.inference.export import ExportConfig, export
from cyclegan.model import load_model

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
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_full_disk_ends_in_one_sentence(make_model, tmp_path, kind):
    import resource

    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    model, _ = make_model()
    out = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-m", "cyclegan", "export", str(model), f"--out={out}", f"--format={kind}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("cyclegan export: File too large")
    assert "Traceback" not in ended.stderr
    assert list(out.iterdir()) == []


def test_no_model_no_file(tmp_path):
    with pytest.raises(UsageError, match="no model in"):
        export(str(tmp_path), tmp_path / "out", ExportConfig())
    assert not (tmp_path / "out").exists()
