"""`python -m pipeline`, and the kfp command line that the README names beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cyclegan import __version__
from pipeline.__main__ import main
from pipeline.adapting import write_adapted
from pipeline.submitting import from_storage

ROOT = Path(__file__).resolve().parents[2]


def _arguments(run: dict[str, Any]) -> dict[str, Any]:
    return run["runtime_config"].get("parameters", {})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["epoch=1"], "did you mean 'epochs'?"),
        (["zzz=1"], "there are accelerator_type, accelerators"),
        (["epochs"], "write name=value"),
        (["epochs=many"], "epochs must be a whole number, not 'many'"),
        (["lr=fast"], "lr must be a number"),
        (["node_selector=[]"], "node_selector must be a JSON object"),
        (["tolerations={}"], "tolerations must be a JSON list"),
        (["train_options={"], "train_options is not valid JSON"),
        (["train_options=[]"], "must be a JSON object"),
        (['train_options={"bufer_size": 1}'], "no field 'bufer_size'"),
        (['train_options={"batch_size": 0}'], "batch_size"),
        (["--file", "nowhere.yaml"], "make compile"),
        (["--params", "nowhere.yaml"], "nowhere.yaml"),
        (["--pipeline", "translate", "out=maps"], "images is missing: s3:// prefix"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_parameters_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert "epochs=" in capsys.readouterr().out


def test_submit_sends_the_compiled_pipeline(kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["submit", "epochs=3", "lr=1e-4", "--name", "trial", "--service-account", "cyclegan-steps"]
    assert main([*words, "--image", "hub/image@sha256:0"]) == 0
    (run,) = kfp_server.runs
    assert run["service_account"] == "cyclegan-steps"
    assert run["display_name"] == "trial"
    assert _arguments(run) == {"epochs": 3, "lr": 1e-4}
    spec = run["pipeline_spec"]["pipeline_spec"]
    images = {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values()}
    assert images == {"hub/image@sha256:0"}
    assert run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert kfp_server.experiments[0]["display_name"] == "cyclegan"
    assert f"{kfp_server.url}/#/runs/details/r0" in capsys.readouterr().out


def test_submit_wants_a_version_beside_a_source(kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "source=s3://bucket/data"]) == 2
    assert "version=" in capsys.readouterr().err
    assert kfp_server.runs == []
    assert main(["submit", "source=s3://bucket/data", "--no-cache"]) == 0
    steps = kfp_server.runs[0]["pipeline_spec"]["pipeline_spec"]["components"]["comp-exit-handler-1"]
    assert not steps["dag"]["tasks"]["fetch"]["cachingOptions"].get("enableCache")
    assert _arguments(kfp_server.runs[0]) == {"source": "s3://bucket/data", "version": ""}
    assert main(["submit", "source=maps"]) == 0
    assert main(["submit", "source=https://host/a.zip", f'fetch_options={{"sha256": "{"0" * 64}"}}']) == 0


def test_an_unreachable_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["submit", "epochs=1"]) == 1
    assert "Cannot reach Kubeflow Pipelines at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_configured_storage_gives_source_version_and_checkpoints(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"sample\"']\n    url = ../store\n")
    md5 = "0123456789abcdef0123456789abcdef.dir"
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {md5}\n  path: data\n")
    assert from_storage(tmp_path) == {}
    with (tmp_path / ".dvc" / "config").open("a") as file:
        file.write("['remote \"storage\"']\n    url = s3://bucket/dvc\n")
    assert from_storage(tmp_path) == {
        "source": "s3://bucket/dvc",
        "version": md5,
        "checkpoints": "s3://bucket/dvc/checkpoints",
    }
    secret = "['remote \"storage\"']\n    secret_access_key = planted\n    url = s3://other/dvc\n"
    (tmp_path / ".dvc" / "config.local").write_text(secret)
    assert from_storage(tmp_path)["source"] == "s3://other/dvc"
    assert "planted" not in json.dumps(from_storage(tmp_path))


def test_another_image_changes_nothing_else(tmp_path: Path) -> None:
    from kfp import components

    write_adapted(ROOT / "pipeline" / "cyclegan.yaml", tmp_path / "other.yaml", image="hub/image:1")
    before = components.load_component_from_file(str(ROOT / "pipeline" / "cyclegan.yaml"))
    after = components.load_component_from_file(str(tmp_path / "other.yaml"))
    assert "hub/image:1" in str(after.pipeline_spec)
    assert str(after.pipeline_spec).replace("hub/image:1", f"cyclegan-pipeline:{__version__}") == str(
        before.pipeline_spec
    )


def test_the_kfp_command_line_takes_the_compiled_file(kfp_server: Any) -> None:
    kfp = str(Path(sys.executable).with_name("kfp"))
    command = [kfp, "run", "create", "-e", "cyclegan", "-f", "pipeline/cyclegan.yaml", "epochs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = kfp_server.runs
    assert _arguments(run) == {"epochs": 1} or _arguments(run) == {"epochs": "1"}
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "cyclegan"
