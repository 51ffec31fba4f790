"""The model as MLflow stores it: loaded as a pyfunc, and behind a real `mlflow models serve`."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.ports import free_port

pytest.importorskip("mlflow")
grimp = pytest.importorskip("grimp")  # of import-linter

NOISE = np.random.default_rng(0)


def encoded(array, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    import torch

    from cyclegan.model import DIRECTIONS, save_model
    from cyclegan.networks import build_generator

    torch.manual_seed(0)
    options = {"name": "resnet", "blocks": 1, "width": 4}
    folder = tmp_path_factory.mktemp("trained") / "model"
    save_model(folder, {d: build_generator(**options) for d in DIRECTIONS}, {"generator": options})
    return folder


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory) -> Path:
    """The folder of a model version, as `register` writes it."""
    from cyclegan.model import load_model
    from cyclegan.registry.versions import _save

    path = tmp_path_factory.mktemp("saved") / "model"
    logged = SimpleNamespace(artifact_location="", model_id=None)
    _save(path, logged, "BtoA", load_model(trained), trained, "")
    return path


@pytest.fixture(scope="module")
def address(saved, tmp_path_factory):
    """A real scoring server on loopback."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = tmp_path_factory.mktemp("server")
    variables = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"  # it runs `uvicorn`
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=variables, start_new_session=True
        )
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            time.sleep(0.3)
        else:
            pytest.fail("the server ended:\n" + (folder / "log").read_text()[-3000:])
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def post(address: str, body: object) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def as_json(*pictures: bytes, **params) -> dict:
    rows = [{"image": base64.b64encode(picture).decode()} for picture in pictures]
    return {"dataframe_records": rows} | ({"params": params} if params else {})


def test_the_stored_code_is_all_that_it_imports(saved):
    graph = grimp.build_graph("cyclegan")
    needed, todo = set(), ["cyclegan.serving.mlflow_model"]
    while todo:
        if (module := todo.pop()) not in needed:
            needed.add(module)
            todo += graph.find_modules_directly_imported_by(module)
    names = {file.relative_to(saved / "code").with_suffix("") for file in (saved / "code").rglob("*.py")}
    assert needed <= {".".join(name.parts).removesuffix(".__init__") for name in names}


def test_what_is_stored(saved):
    import yaml

    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert {"mlflow_model.py", "artifacts/config.json", "artifacts/BtoA.safetensors"} <= files
    code = {name.removeprefix("code/") for name in files if name.startswith("code/")}
    assert {"cyclegan/inference/translator.py", "cyclegan/networks/resnet.py"} <= code
    assert not [name for name in code if name.startswith(("cyclegan/training/", "cyclegan/data/fetch/"))]
    assert len(code) < 80  # of the package's 200: each is a request to the server
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pth", ".pyc"))]
    requirements = (saved / "requirements.txt").read_text()
    if "artifacts/BtoA.onnx" in files:
        assert "onnxruntime==" in requirements and "torch" not in requirements
    signature = yaml.safe_load((saved / "MLmodel").read_text())["signature"]
    assert [field["name"] for field in json.loads(signature["params"])] == [
        "format",
        "quality",
        "size",
        "tile",
    ]


def test_pyfunc_takes_pictures_of_any_kind_in_batches(saved, trained):
    import mlflow
    import pandas as pd

    from cyclegan.inference.translator import load

    wide = NOISE.integers(0, 256, (61, 63, 3), np.uint8)
    deep = NOISE.integers(0, 65536, (20, 33), np.uint16)
    alpha = NOISE.integers(0, 256, (40, 24, 4), np.uint8)
    batch = [encoded(wide), encoded(deep), encoded(alpha, "WEBP", lossless=True), encoded(wide, "JPEG")]
    model = mlflow.pyfunc.load_model(str(saved), model_config={"precision": "fp32"})
    answer = model.predict(pd.DataFrame({"image": batch}))
    pictures = [decoded(data) for data in answer["image"]]
    assert [picture.shape for picture in pictures] == [(61, 63, 3), (20, 33, 3), (40, 24, 3), (61, 63, 3)]
    expected = load(trained, "BtoA", precision="fp32")(wide)
    assert np.abs(pictures[0].astype(int) - expected).max() <= 1
    small = model.predict(pd.DataFrame({"image": batch[:1]}), params={"format": "jpeg", "size": 32})
    opened = Image.open(io.BytesIO(small["image"][0]))
    assert (opened.format, opened.size) == ("JPEG", (33, 32))


def test_the_server_speaks_pictures(address, trained):
    from cyclegan.inference.translator import load

    photo = NOISE.integers(0, 256, (45, 70, 3), np.uint8)
    status, answer = post(address, as_json(encoded(photo), encoded(photo[:30], "JPEG")))
    assert status == 200, answer
    first, second = (decoded(base64.b64decode(row["image"])) for row in answer["predictions"])
    assert (first.shape, second.shape) == ((45, 70, 3), (30, 70, 3))
    assert np.abs(first.astype(int) - load(trained, "BtoA")(photo)).mean() < 1
    status, answer = post(address, as_json(encoded(photo), format="webp", quality=50, tile=64))
    assert status == 200, answer
    opened = Image.open(io.BytesIO(base64.b64decode(answer["predictions"][0]["image"])))
    assert (opened.format, opened.size) == ("WEBP", (70, 45))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (as_json(b"no picture"), "Image 1 of 1 cannot be read: not an image"),
        (
            as_json(encoded(np.zeros((9, 9, 3), np.uint8)), b""),
            "Image 2 of 2 cannot be read: the file is empty",
        ),
        (as_json(encoded(np.zeros((9, 9, 3), np.uint8)), format="bmp"), "format = 'bmp' is unknown"),
        (as_json(encoded(np.zeros((9, 9, 3), np.uint8)), quality=0), "quality = 0 is out of range"),
        (as_json(encoded(np.zeros((9, 9, 3), np.uint8)), tile="big"), "tile"),
        ({"dataframe_records": [{"picture": "AAAA"}]}, "image"),
        ({"inputs": [[1.0, 2.0]]}, "is not a picture's bytes"),
        ({"inputs": {"image": ["%%%"]}}, "Image 1 of 1"),
        ({"dataframe_records": [{"image": "%%%"}]}, "Image 1 of 1"),
        ({"dataframe_split": {"columns": ["image"], "data": [["%%%"]]}}, "Image 1 of 1"),
        (b"not JSON", "JSON"),
    ],
)
def test_wrong_input_is_400_and_a_sentence(address, body, words):
    status, answer = post(address, body)
    assert status == 400, answer
    assert words in answer["message"]
