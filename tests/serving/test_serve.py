"""A real `cyclegan serve` on loopback: pictures, the Open Inference Protocol, limits, and how it ends."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import UsageError
from cyclegan.serving.config import ServeConfig

pytest.importorskip("fastapi_offline")

ROOT = Path(__file__).resolve().parents[2]
PHOTO = np.random.default_rng(0).integers(0, 256, (61, 63, 3), np.uint8)
MOST_BYTES, MOST_PIXELS = 300_000, 40_000


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from cyclegan.model import DIRECTIONS, save_model
    from cyclegan.networks import build_generator

    torch.manual_seed(0)
    options: dict[str, Any] = {"name": "resnet", "blocks": 1, "width": 4}
    folder = tmp_path_factory.mktemp("runs") / "maps" / "model"
    save_model(folder, {d: build_generator(**options) for d in DIRECTIONS}, {"generator": options})
    return folder


@contextlib.contextmanager
def running(
    model: Path, log: Path, *flags: str, before: str = ""
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    code = f"{before}\nimport sys; from cyclegan.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "serve", str(model), "--port", "0", "--engine", "torch", *flags]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=log.parent, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    try:
        while not (found := re.search(r"Serving at (http://\S+)", log.read_text())):
            if process.poll() is not None:
                pytest.fail("the server ended:\n" + log.read_text()[-3000:])
            time.sleep(0.1)
        yield found[1], process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    limits = ["--max-bytes", str(MOST_BYTES), "--max-pixels", str(MOST_PIXELS), "--upload-seconds", "1"]
    log = tmp_path_factory.mktemp("server") / "log"
    with running(model, log, "--precision", "fp32", "--tile", "128", *limits) as (address, process):
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in log.read_text()


def ask(
    address: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    request = urllib.request.Request(address, body, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def infer(server: str, request: object, name: str = "maps-AtoB") -> tuple[int, dict[str, Any]]:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    status, answer, _ = ask(f"{server}/v2/models/{name}/infer", body, Content_Type="application/json")
    return status, json.loads(answer)


def expected(model: Path, image: np.ndarray, direction: Any = "AtoB") -> np.ndarray:
    from cyclegan.inference.translator import load

    return load(model, direction, precision="fp32").array(image)


def test_a_picture_of_any_size_comes_back_translated(server: str, model: Path) -> None:
    status, answer, headers = ask(f"{server}/translate", encoded(PHOTO))
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert np.array_equal(decoded(answer), expected(model, PHOTO))
    _, answer, _ = ask(f"{server}/translate?model=maps-BtoA&format=png", encoded(PHOTO, "BMP"))
    assert np.array_equal(decoded(answer), expected(model, PHOTO, "BtoA"))


def test_the_answer_has_the_format_asked_for_or_that_of_the_picture(server: str) -> None:
    jpeg = encoded(PHOTO, "JPEG")
    for query, accept, kind in (
        ("", "*/*", "JPEG"),
        ("", "text/html, image/webp;q=0.9, image/png", "WEBP"),
        ("?format=png", "image/webp", "PNG"),
        ("?format=jpeg&quality=10&size=32", "*/*", "JPEG"),
    ):
        status, answer, _ = ask(f"{server}/translate{query}", jpeg, Accept=accept)
        opened = Image.open(io.BytesIO(answer))
        assert (status, opened.format) == (200, kind)
        assert opened.size == ((33, 32) if "size" in query else (63, 61))


def test_health_and_metadata(server: str) -> None:
    assert json.loads(ask(f"{server}/v2/health/live")[1]) == {"live": True}
    assert json.loads(ask(f"{server}/v2/health/ready")[1]) == {"ready": True}
    assert json.loads(ask(f"{server}/v2")[1])["extensions"] == ["binary_tensor_data"]
    assert json.loads(ask(f"{server}/v2/models")[1]) == {"models": ["maps-AtoB", "maps-BtoA"]}
    assert json.loads(ask(f"{server}/v2/models/maps-BtoA/ready")[1]) == {"name": "maps-BtoA", "ready": True}
    facts = json.loads(ask(f"{server}/v2/models/maps-AtoB")[1])
    assert facts["platform"] == "torch fp32 on cpu"
    assert {(i["name"], i["datatype"]) for i in facts["inputs"]} == {("image", "BYTES"), ("images", "FP32")}


def test_pictures_as_base64_by_the_protocol(server: str, model: Path) -> None:
    data = [base64.b64encode(encoded(picture)).decode() for picture in (PHOTO, PHOTO[:40])]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2, 1], "data": [[data[0]], [data[1]]]}
    status, answer = infer(server, {"id": "7", "inputs": [tensor], "parameters": {"format": "png"}})
    assert status == 200, answer
    assert (answer["model_name"], answer["id"]) == ("maps-AtoB", "7")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("image", "BYTES", [2])
    first, second = (decoded(base64.b64decode(item)) for item in output["data"])
    assert np.array_equal(first, expected(model, PHOTO))
    assert np.array_equal(second, expected(model, PHOTO[:40]))


def test_pictures_and_tensors_as_binary_data(server: str, model: Path) -> None:
    picture = encoded(PHOTO)
    for name, datatype, shape, raw, output in (
        ("image", "BYTES", [1], struct.pack("<I", len(picture)) + picture, "image"),
        ("images", "FP32", [1, 3, 61, 63], _planes(PHOTO[None]).tobytes(), "translated"),
    ):
        tensor = {
            "name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)},
        }  # fmt: skip
        wanted = [{"name": output, "parameters": {"binary_data": True}}]
        header = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
        address = f"{server}/v2/models/maps-AtoB/infer"
        status, answer, headers = ask(address, header + raw, Inference_Header_Content_Length=str(len(header)))
        assert status == 200, answer
        end = int(headers["Inference-Header-Content-Length"])
        (described,) = json.loads(answer[:end])["outputs"]
        rest = answer[end:]
        assert described["parameters"] == {"binary_data_size": len(rest)}
        if datatype == "BYTES":
            assert struct.unpack("<I", rest[:4])[0] == len(rest) - 4
            translated = decoded(rest[4:])
        else:
            translated = _pixels(np.frombuffer(rest, "<f4").reshape(described["shape"]))[0]
        assert np.array_equal(translated, expected(model, PHOTO))


def _planes(images: np.ndarray) -> np.ndarray:
    return (images.transpose(0, 3, 1, 2) / np.float32(127.5) - 1).astype("<f4")


def _pixels(tensor: np.ndarray) -> np.ndarray:
    return np.clip(np.round((tensor + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_tensors_as_json(server: str, model: Path) -> None:
    planes = _planes(np.stack([PHOTO, PHOTO[::-1]]))
    tensor = {"name": "images", "datatype": "FP32", "shape": list(planes.shape), "data": planes.tolist()}
    status, answer = infer(server, {"inputs": [tensor | {"data": np.round(planes, 5).tolist()}]})
    assert status == 413  # numbers in JSON are long: about ten bytes for each of four in binary
    small = planes[:, :, :16, :16]
    tensor |= {"shape": list(small.shape), "data": small.ravel().tolist()}
    status, answer = infer(server, {"inputs": [tensor]})
    assert status == 200, answer
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("translated", "FP32", [2, 3, 16, 16])
    got = _pixels(np.array(output["data"], np.float32).reshape(output["shape"]))
    assert np.array_equal(got[0], expected(model, PHOTO[:16, :16]))


FLOATS = {"name": "images", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": [0.5] * 192}
TINY = base64.b64encode(encoded(PHOTO[:9, :9])).decode()
BYTES = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [TINY]}
HUGE = base64.b64encode(encoded(np.zeros((200, 201, 3), np.uint8))).decode()
WIDE = np.zeros((2, 16384, 3), np.uint8)  # WebP holds 16383 a side
LONG = base64.b64encode(encoded(WIDE)).decode()
HALF = base64.b64encode(encoded(np.zeros((150, 150, 3), np.uint8))).decode()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"not JSON", "does not follow the protocol: Invalid JSON"),
        (b"[" * 5000, "JSON"),
        ({"inputs": 3}, "does not follow the protocol (inputs)"),
        ({"inputs": []}, "The inputs are none"),
        ({"inputs": [FLOATS, BYTES]}, "The inputs are images, image"),
        ({"inputs": [BYTES, BYTES]}, "Input image occurs twice"),
        ({"inputs": [BYTES | {"name": "picture"}]}, "The inputs are picture: send either `image`"),
        ({"inputs": [BYTES | {"datatype": "INT64"}]}, "Input image is INT64: use BYTES or FP32"),
        ({"inputs": [FLOATS | {"name": "image"}]}, "Input image must be BYTES"),
        ({"inputs": [BYTES | {"name": "images"}]}, "Input images must be FP32"),
        ({"inputs": [BYTES | {"shape": [2]}]}, "has 1 values, but its shape [2] means 2"),
        ({"inputs": [BYTES | {"shape": [-1]}]}, "every side must be at least 1"),
        ({"inputs": [BYTES | {"data": ["%%%"]}]}, "Image 1 of 1 is not base64"),
        ({"inputs": [BYTES | {"data": ["AAAA"]}]}, "Image 1 of 1 cannot be read: not an image"),
        ({"inputs": [BYTES | {"data": [HUGE]}]}, "40200 pixels together: at most 40000"),
        ({"inputs": [BYTES | {"shape": [2], "data": [HALF] * 2}]}, "45000 pixels together: at most 40000"),
        ({"inputs": [BYTES], "parameters": {"size": 201}}, "40401 pixels together"),
        ({"inputs": [BYTES | {"data": None}]}, "neither a list `data` nor binary_data_size"),
        ({"inputs": [BYTES | {"parameters": {"binary_data_size": 9}}]}, "but 0 bytes follow the JSON"),
        ({"inputs": [BYTES], "outputs": [{"name": "translated"}]}, "There is no output translated for image"),
        ({"inputs": [BYTES], "parameters": {"format": "bmp"}}, "format = 'bmp' is unknown"),
        ({"inputs": [BYTES | {"data": [LONG]}], "parameters": {"format": "webp"}}, "WEBP holds at most"),
        ({"inputs": [BYTES], "parameters": {"quality": 0}}, "quality = 0 is out of range"),
        ({"inputs": [BYTES], "parameters": {"tile": 256}}, "tile = 256 is out of range: use up to 128"),
        ({"inputs": [BYTES], "parameters": {"size": "big"}}, "size = 'big' must be int"),
        ({"inputs": [BYTES], "parameters": {"qualty": 9}}, "There is no parameter 'qualty'"),
        ({"inputs": [FLOATS], "parameters": {"size": 64}}, "tensors keep their type and size"),
        ({"inputs": [FLOATS | {"shape": [1, 8, 8, 3]}]}, "shape [1, 8, 8, 3]: it must be N×3×H×W"),
        ({"inputs": [FLOATS | {"data": [0.5] * 191}]}, "has 191 values, but its shape"),
        ({"inputs": [FLOATS | {"data": [[1], [1, 2]]}]}, "unequal lengths"),
        ({"inputs": [FLOATS | {"data": ["1"] * 192}]}, "something other than numbers"),
        ({"inputs": [FLOATS | {"data": [float("nan")] * 192}]}, "not finite"),
        ({"inputs": [FLOATS | {"data": [1e300] * 192}]}, "not finite"),
        ({"inputs": [FLOATS | {"data": [*range(192)]}]}, "values from 0 to 191: scale them to [-1, 1]"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_400_and_a_sentence(server: str, request_: object, words: str) -> None:
    status, answer = infer(server, request_)
    assert (status, list(answer)) == (400, ["error"]), answer
    assert words in answer["error"]


def test_wrong_binary_data_is_400_and_a_sentence(server: str) -> None:
    def send(raw: bytes, size: int, length: str = "", **changed: object) -> str:
        tensor = {
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"binary_data_size": size},
        }
        header = json.dumps({"inputs": [tensor | changed]}).encode()
        status, answer, _ = ask(
            f"{server}/v2/models/maps-AtoB/infer",
            header + raw,
            Inference_Header_Content_Length=length or str(len(header)),
        )
        assert status == 400
        return str(json.loads(answer)["error"])

    assert "element 1 is longer than what was sent" in send(struct.pack("<I", 2**32 - 1) + b"x", 5)
    assert "element 1 is longer" in send(b"\0\0", 2)
    assert "3 bytes after the JSON belong to no input" in send(struct.pack("<I", 0) + b"xyz", 4)
    assert "FP32 of shape [1, 3, 8, 8] has 768" in send(
        bytes(12), 12, name="images", datatype="FP32", shape=[1, 3, 8, 8]
    )
    assert "but the body has" in send(b"", 0, "99999")
    for wrong in ("-1", "9" * 5000):
        assert len(said := send(b"", 0, wrong)) < 100 and "is not a number of bytes" in said


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/translate", b"no picture", 400, "The picture cannot be read: not an image"),
        ("/translate", b"", 400, "the file is empty"),
        ("/translate?model=other", b"x", 404, "There is no model 'other': use maps-AtoB, maps-BtoA"),
        ("/translate?quality=0", b"x", 400, "quality = '0' is wrong"),
        ("/translate?tile=256", encoded(PHOTO), 400, "use up to 128"),
        ("/translate?qualty=90", b"x", 400, "There is no parameter 'qualty'"),
        ("/translate", encoded(np.zeros((200, 201, 3), np.uint8)), 400, "200 is more than 40000 pixels"),
        ("/translate?format=webp", encoded(WIDE), 400, "16383 pixels a side, and this picture has 16384x2"),
        ("/translate?size=8192", encoded(PHOTO), 400, "it is more than 40000 pixels"),
        ("/translate", bytes(MOST_BYTES + 1), 413, "more than 300000 bytes"),
        ("/v2/models/other/infer", b"{}", 404, "There is no model 'other'"),
        ("/translates", b"x", 404, "There is nothing at /translates"),
        ("/v2/health/live", b"x", 405, "does not take POST"),
    ],
)  # fmt: skip
def test_a_wrong_picture_or_address_is_a_sentence(
    server: str, path: str, body: bytes, status: int, words: str
) -> None:
    got, answer, _ = ask(server + path, body)
    assert (got, list(json.loads(answer))) == (status, ["error"]), answer
    assert words in json.loads(answer)["error"]


def test_a_form_is_refused_with_advice(server: str) -> None:
    status, answer, _ = ask(f"{server}/translate", b"--x", Content_Type="multipart/form-data; boundary=x")
    assert status == 415
    assert "Send the picture itself" in json.loads(answer)["error"]


def _connect(server: str) -> socket.socket:
    host, port = server.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def test_a_body_that_never_ends_is_refused(server: str) -> None:
    for lines, status in (("Content-Length: 99", b"408"), ("Transfer-Encoding: chunked", b"413")):
        with _connect(server) as connection:
            connection.sendall(f"POST /translate HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())
            if status == b"413":
                with contextlib.suppress(OSError):
                    for _ in range(7):
                        connection.sendall(b"C350\r\n" + bytes(50_000) + b"\r\n")
            assert connection.recv(100).split()[1] == status


def test_the_documentation_page_asks_no_other_machine(server: str) -> None:
    page = ask(f"{server}/docs")[1].decode()
    sources = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert sources and all(source.startswith("/") for source in sources)
    for source in sources:
        assert ask(server + source)[0] == 200
    paths = json.loads(ask(f"{server}/openapi.json")[1])["paths"]
    assert {"/translate", "/v2/models/{name}/infer", "/v2/health/ready"} <= set(paths)
    assert {"image/jpeg", "image/png"} <= set(paths["/translate"]["post"]["requestBody"]["content"])


def test_a_full_queue_is_503_and_shutting_down_finishes_what_was_accepted(
    model: Path, tmp_path: Path
) -> None:
    """Three requests at once, with room for two; SIGTERM while the first is being computed."""
    large = encoded(np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8), "JPEG")
    flags = ["--queue", "1", "--tile", "128", "--precision", "fp32"]
    with running(model, tmp_path / "log", *flags) as (server, process):
        accepted = [http.client.HTTPConnection(server.removeprefix("http://"), timeout=60) for _ in range(2)]
        for connection in accepted:
            connection.request("POST", "/translate", large)
        status, answer, headers = ask(f"{server}/translate", encoded(PHOTO))
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "busy with 2 requests" in json.loads(answer)["error"]
        process.send_signal(signal.SIGTERM)
        for connection in accepted:
            response = connection.getresponse()
            assert (response.status, decoded(response.read()).shape) == (200, (400, 400, 3))
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_neither_a_stalled_client_nor_a_long_translation_holds_it_when_it_is_to_end(
    model: Path, tmp_path: Path
) -> None:
    endless = (
        "import time; from cyclegan.serving.served import Served\n"
        "def picture(*_): print('translating', flush=True); time.sleep(600)\n"
        "Served.picture = picture"
    )
    log = tmp_path / "log"
    flags = ["--grace-seconds", "1", "--upload-seconds", "600"]
    with running(model, log, *flags, before=endless) as (server, process):
        where = urlsplit(server)
        idle, translating = (http.client.HTTPConnection(where.netloc, timeout=60) for _ in range(2))
        idle.request("GET", "/v2")
        assert idle.getresponse().read()
        translating.request("POST", "/translate", encoded(PHOTO))
        with socket.create_connection((where.hostname, where.port), timeout=60) as stalled:
            stalled.sendall(
                b"POST /translate HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nthe first bytes"
            )
            while "translating" not in log.read_text():
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert stalled.recv(1000).startswith(b"HTTP/1.1 503 ")
        answer = translating.getresponse()
        assert (answer.status, json.loads(answer.read())) == (
            503,
            {"error": "The server is stopping: ask again later."},
        )
    said = log.read_text()
    assert "Finishing the requests that are open" in said and "Traceback" not in said


def test_a_signal_before_the_server_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    from cyclegan.serving import serve as module
    from cyclegan.serving import served

    former, ended = signal.getsignal(signal.SIGTERM), []

    def run(server: uvicorn.Server, sockets: object) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        handler(signal.SIGTERM, None)
        ended.append(server.should_exit)

    monkeypatch.setattr(served, "load_all", lambda *_: {})
    monkeypatch.setattr(uvicorn.Server, "run", run)
    module.serve(["model"], ServeConfig(port=0))
    assert ended == [True]
    assert signal.getsignal(signal.SIGTERM) is former


def test_what_cannot_be_served_is_a_sentence(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclegan.serving import serve as module
    from cyclegan.serving.served import load_all, short_name

    with pytest.raises(UsageError, match="There is no model in"):
        load_all([str(tmp_path)], ServeConfig(engine="torch"))
    with pytest.raises(UsageError, match="Two models would be called maps-AtoB: name them"):
        load_all([str(model)] * 2, ServeConfig(engine="torch"))
    named = load_all([f"old={model}", f"new={model}"], ServeConfig(engine="torch", direction="AtoB"))
    assert list(named) == ["old", "new"]
    names = {a: short_name(a) for a in ("models:/maps-AtoB@champion", "s3://b/maps/model", "runs:/abc/")}
    assert list(names.values()) == ["maps", "maps", "abc"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UsageError, match=r"Cannot listen on .*: Address already in use"):
            module.serve([str(model)], ServeConfig(port=taken.getsockname()[1]))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cyclegan-pipeline\[serve\]'"):
        module.serve([str(model)], ServeConfig())
    for wrong in ({"port": -1}, {"tile": 8}, {"queue": -1}, {"max_bytes": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            ServeConfig(**wrong)  # type: ignore[arg-type]


DOCUMENT = (ROOT / "docs" / "serving.md").read_text()
EXAMPLES = re.findall(r"^```(bash|python|javascript)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
RUN = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_documentation(server: str, model: Path, tmp_path: Path, number: int) -> None:
    language, code = EXAMPLES[number]
    for program in {"bash": ["curl", "base64", "python3"], "javascript": ["node"]}.get(language, []):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    (tmp_path / "photo.jpg").write_bytes(encoded(PHOTO, "JPEG"))
    assert "http://localhost:8080/" in code
    command = [*RUN[language], code.replace("http://localhost:8080", server)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    written = sorted(tmp_path.glob("translated.*"))
    assert written and {path.name for path in written} == set(re.findall(r"translated\.\w{3}", code))
    photo = expected(model, decoded(encoded(PHOTO, "JPEG")))
    for path in written:
        apart = np.abs(np.asarray(Image.open(path)).astype(int) - photo)
        assert (apart.max() <= 1) if path.suffix == ".png" else (apart.mean() < 12)


def test_there_are_examples_in_three_languages() -> None:
    assert {language for language, _ in EXAMPLES} == set(RUN)


def test_the_manifest_starts_this_server_and_asks_for_its_health(server: str) -> None:
    import yaml

    from cyclegan.cli.main import parse

    documents = yaml.safe_load_all((ROOT / "deploy/serving/inference-service.yaml").read_text())
    (service,) = [document for document in documents if document["kind"] == "InferenceService"]
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["command"] == ["cyclegan", "serve"]
    parsed = parse("serve", container["args"])
    assert parsed.models == ("models:/cyclegan@champion",)
    assert (parsed.config.host, parsed.config.port) == ("0.0.0.0", container["ports"][0]["containerPort"])
    (sleep, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert predictor["terminationGracePeriodSeconds"] > int(seconds) + parsed.config.grace_seconds
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert ask(server + container[probe]["httpGet"]["path"])[0] == 200
