"""Every command with a full disk, a broken S3 or MLflow: code 1, one sentence, the former result kept."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cyclegan.cli.main import main
from cyclegan.io import s3
from tests.integration.conftest import OPTIONS, leave

pytestmark = pytest.mark.slow

TINY = (
    "--generator resnet --blocks 1 --width 4 --discriminator patchgan --discriminator-width 4 "
    "--discriminator-layers 1 --crop-size 16 --epochs 1 --decay-epochs 0 --device cpu --threads 1"
)
RUN = " ".join(f"--train.{word[2:]}" if word.startswith("--") else word for word in TINY.split())
JUDGE = "--features random --resamples 0 --examples 1"


def content(folder: Path) -> dict[str, str]:
    """Digest by path of all that is there, what is being written included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def fails(line: str, capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """Run a command that must end in one sentence; returns it."""
    capsys.readouterr()
    assert main(line.split()) == code, capsys.readouterr().err
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"cyclegan {line.split()[0]}: ")
    assert said.isprintable() and said.endswith((".", ")")) and len(said) < 600
    return said


# What each command writes, and a command line that writes it again.
WRITES = {
    "fetch": ("out", "fetch raw --out out"),
    "preprocess": ("out", "preprocess raw --out out --load-size 32 --workers 1"),
    "train": ("out", f"train --prepared prepared --model out --checkpoints kept {TINY}"),
    "evaluate": ("out", f"evaluate --prepared prepared --model model --out out {JUDGE}"),
    "register": ("out.json", "register --model model --scores scores --out out.json"),
    "run": ("out", f"run raw --out out {RUN} --preprocess.load-size 16 --evaluate.features random"),
    "inspect": ("out.html", "inspect raw --report out.html --workers 1"),
    "translate": ("out", "translate model raw/testA --out out --engine torch"),
    "card": ("out.md", "card model --scores scores --out out.md"),
    "export": ("out", "export model --out out --format pt2"),
    "import-weights": ("out", "import-weights --AtoB net.pth --BtoA net.pth --out out"),
}
SMALLEST = {"register": 64, "fetch": 256, "card": 256}


@pytest.mark.parametrize("command", WRITES)
def test_a_full_disk(
    command: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, line = WRITES[command]
    assert main(line.split()) == 0, capsys.readouterr().err
    if command == "train":  # else it has nothing left to do
        shutil.rmtree("kept")
    line = line.replace("load-size 32", "load-size 24")
    former = content(here / name) if (here / name).is_dir() else (here / name).read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if command == "translate":
        shutil.rmtree(here / name)
        former = {}
    # Python would install what fits of a compiled module, and no later import of it would work.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST.get(command, 512), hard))
    try:
        said = fails(line, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "too large" in said.lower()
    found = content(here / name) if (here / name).is_dir() else (here / name).read_bytes()
    assert (found == former) if command != "translate" else not any("partial" in file for file in found)


class Fake(BaseHTTPRequestHandler):
    """Answers every request alike."""

    def answer(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-amz-bucket-region", "eu-west-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


ANSWERS = {
    "nobody": None,
    "403": (403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
    "301": (301, b"<Error><Code>PermanentRedirect</Code></Error>"),
    "500": (500, b"oops\nmore"),
    "{}": (200, b"{}"),
    "page": (200, b"<html>Please log in</html>"),
}


@pytest.fixture(params=ANSWERS)
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers everything in one wrong way."""
    if ANSWERS[request.param] is None:
        yield "http://127.0.0.1:9"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.answer = ANSWERS[request.param]  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


S3 = {
    "fetch a prefix": "fetch s3://bucket/raw/ --out out",
    "fetch an archive": "fetch s3://bucket/raw.zip --out out",
    "train": f"train --prepared prepared --model out --checkpoints s3://bucket/kept {TINY}",
    "evaluate": "evaluate --prepared prepared --model model --out out --weights s3://bucket/w.pth",
    "translate a model": "translate s3://bucket/model raw/testA --out out",
    "translate pictures": "translate model s3://bucket/raw --out out --engine torch",
    "translate to": "translate model raw/testA --out s3://bucket/out --engine torch",
    "card": "card s3://bucket/model --out out.md",
    "export": "export s3://bucket/model --out out --format pt2",
    "import-weights": "import-weights --AtoB s3://bucket/a.pth --BtoA net.pth --out out",
}


@pytest.mark.parametrize("case", S3)
def test_a_broken_s3(
    case: str, broken: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", broken)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    former = content(here)
    said = fails(S3[case], capsys)
    assert "s3://bucket" in said and "hunter2" not in said
    assert {name: content(here)[name] for name in former} == former
    assert not [name for name in content(here) if "partial" in name]


MLFLOW = {
    "train": f"train --prepared prepared --model out --checkpoints kept {TINY}",
    "evaluate": f"evaluate --prepared prepared --model model --out out {JUDGE}",
    "evaluate against": f"evaluate --prepared prepared --model model --out out {JUDGE} --champion models:/x",
    "register": "register --model model --scores scores --out out.json",
    "run": f"run raw --out out {RUN} --preprocess.load-size 16 --evaluate.features random",
    "compare": "compare one two --out out.html",
    "translate": "translate models:/x@champion raw/testA --out out",
    "translate a run's": f"translate runs:/{'0' * 32} raw/testA --out out",
    "card": "card models:/x/1 --out out.md",
    "export": "export models:/x-AtoB/1 --out out --format pt2",
}


@pytest.mark.parametrize("case", MLFLOW)
def test_a_broken_mlflow(
    case: str, broken: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken.replace("://", "://user:hunter2@"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    for name in ("out", "out.json", "out.html", "out.md"):
        shutil.copytree("model", name) if name == "out" else (here / name).write_text("former")
    if case in {"evaluate", "evaluate against"}:
        shutil.rmtree("out")
        shutil.copytree("scores", "out")
    if case == "run":
        shutil.rmtree("out")
    former = content(here)
    said = fails(MLFLOW[case], capsys)
    assert "hunter2" not in said
    kept = {name: digest for name, digest in content(here).items() if name in former}
    assert kept == former


ARTIFACTS = {
    "register": "register --model other --scores other-scores --out out.json --name NAME",
    "compare": "compare RUN --out out.html",
    "translate": "translate models:/NAME@champion raw/testA --out out",
    "translate a run's": "translate runs:/RUN raw/testA --out out",
    "card": "card models:/NAME/1 --out out.md",
    "export": "export models:/NAME-AtoB/1 --out out --format pt2",
    "serve": "serve models:/NAME --port 0",
    "demo": "demo models:/NAME --port 0",
}
NOTED = {
    "train": f"train --prepared prepared --model out --checkpoints kept {TINY}",
    "evaluate": f"evaluate --prepared prepared --model model --out out {JUDGE} --champion models:/NAME",
    "run": f"run raw --out out {RUN} --preprocess.load-size 16 --evaluate.features random",
}
"""What has its result on the disk, and copies of it among the artifacts; `run` fails where it registers."""


@dataclass(frozen=True)
class Kept:
    """An experiment of a real MLflow server, with an evaluated run and a registered pair."""

    name: str
    """Of the experiment, and of the registered models."""
    run_id: str
    folder: Path | None
    """Where the server keeps the artifacts; None: in S3, to which clients go themselves."""


PLACES = [("s3", answer) for answer in ANSWERS] + [("server", "nobody")]
UNSEEN = {("s3", "page"), ("server", "nobody")}
"""Where a store that is not there looks like one that has nothing: a comparison then has no pictures."""


@pytest.fixture(scope="module")
def experiments(
    _mlflow_server: str, mlflow_folder: Path, world: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Kept]:
    """Makes, once for each place, an experiment whose artifacts are there."""
    from mlflow import MlflowClient
    from moto.server import ThreadedMotoServer

    @cache
    def make(place: str) -> Kept:
        name, folder = f"faults-{place}", tmp_path_factory.mktemp("kept")
        with pytest.MonkeyPatch.context() as patch:
            track(patch, _mlflow_server, name)
            if place == "server":
                run_id = leave(world, MlflowClient(), name, "mlflow-artifacts:/faults", folder)
                return Kept(name, run_id, mlflow_folder / "artifacts" / "faults")
            import boto3

            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            s3_at(patch, "http://{}:{}".format(*server.get_host_and_port()))
            boto3.client("s3").create_bucket(Bucket="artifacts")
            run_id = leave(world, MlflowClient(), name, "s3://artifacts/mlflow", folder)
            server.stop()
            return Kept(name, run_id, None)

    return make


@pytest.fixture
def kept(request: pytest.FixtureRequest, experiments: Callable[[str], Kept]) -> Kept:
    return experiments(request.param)


def track(patch: pytest.MonkeyPatch, server: str, experiment: str) -> None:
    for variable in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"):
        patch.delenv(variable, raising=False)
    patch.setenv("CYCLEGAN_TRACKING", "")
    patch.setenv("MLFLOW_TRACKING_URI", server)
    patch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    patch.setenv("NO_PROXY", "127.0.0.1,localhost")


def s3_at(patch: pytest.MonkeyPatch, address: str) -> None:
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("MLFLOW_S3_ENDPOINT_URL", address)  # by which MLflow keeps its clients apart
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(variable, "hunter2")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def lost(
    kept: Kept, broken: str, here: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kept]:
    """The artifacts are out of reach, while MLflow itself is well."""
    track(monkeypatch, mlflow_server, kept.name)
    s3_at(monkeypatch, broken)
    if kept.folder is None:
        yield kept
        return
    aside = kept.folder.with_name("aside")
    kept.folder.rename(aside)
    kept.folder.write_text("no folder")
    yield kept
    kept.folder.unlink()
    aside.rename(kept.folder)


def another_model(here: Path) -> None:
    """A model that the registry does not have, and its scores."""
    from cyclegan.model import DIRECTIONS, save_model, weights_digest
    from cyclegan.networks import build_generator

    pair = {direction: build_generator(**OPTIONS) for direction in DIRECTIONS}
    save_model(here / "other", pair, {"generator": OPTIONS, "image_size": 16})
    shutil.copytree(here / "scores", here / "other-scores")
    facts = json.loads((here / "other-scores" / "evaluation.json").read_text())
    facts["model_digest"] = weights_digest(here / "other")
    (here / "other-scores" / "evaluation.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("case", ARTIFACTS)
@pytest.mark.parametrize(("kept", "broken"), PLACES, indirect=True)
def test_an_artifact_store_out_of_reach(
    case: str, lost: Kept, here: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    place = (request.node.callspec.params["kept"], request.node.callspec.params["broken"])
    if case == "compare" and place in UNSEEN:
        assert main(f"compare {lost.run_id} --out out.html".split()) == 0
        return
    another_model(here)
    for name in ("out.json", "out.html", "out.md"):
        (here / name).write_text("former")
    shutil.copytree("model", "out")
    former = content(here)
    line = ARTIFACTS[case].replace("NAME", lost.name).replace("RUN", lost.run_id)
    # a page that is downloaded as a model is a damaged one
    said = fails(line, capsys, code=2 if place[1] == "page" and case != "register" else 1)
    assert "hunter2" not in said
    assert {name: content(here)[name] for name in former} == former


@pytest.mark.parametrize("case", NOTED)
@pytest.mark.parametrize(("kept", "broken"), [PLACES[0], PLACES[-1]], indirect=True)
def test_a_result_on_the_disk_survives_an_artifact_store_out_of_reach(
    case: str,
    lost: Kept,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = NOTED[case].replace("NAME", lost.name)
    if case == "run":
        assert "refused" in fails(line, capsys)
        assert {"out/model/AtoB.safetensors", "out/scores/report.html"} <= content(here).keys()
        return
    assert main(line.split()) == 0
    said = capsys.readouterr().err + caplog.text
    assert "Not recorded in MLflow: " in said and "hunter2" not in said and "Traceback" not in said
    assert {"AtoB.safetensors", "report.html"} & {Path(name).name for name in content(here / "out")}
