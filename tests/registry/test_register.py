"""Registering against a real MLflow server."""

from __future__ import annotations

import io
import json
import uuid

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.decision import read_evidence
from cyclegan.registry.register import judge, register


@pytest.fixture
def client(mlflow_server: str):
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture
def name() -> str:
    return f"city-{uuid.uuid4().hex[:8]}"


def aliases(client, name):
    """Alias to version number, the same for both directions."""
    found = [dict(client.get_registered_model(f"{name}-{d}").aliases) for d in ("AtoB", "BtoA")]
    assert found[0] == found[1]
    return {alias: str(version) for alias, version in found[0].items()}


def test_a_registered_pair_loads_without_pickle_and_computes_the_same(
    client, name, make_model, tmp_path, monkeypatch
):
    import mlflow
    import pandas as pd

    from cyclegan.inference.translator import load
    from cyclegan.tracking.runs import open_run

    with open_run("train", name="first") as tracker:
        tracker.describe("**Good.**", {"AtoB": np.zeros((4, 780, 3), np.uint8)})
    model, scores = make_model(score=5.0, run_id=tracker.run_id)
    verdict = register(model, scores, tmp_path / "registration.json", RegisterConfig(name=name))

    assert json.loads((tmp_path / "registration.json").read_text()) == {
        "name": name,
        "passed": True,
        "versions": {"AtoB": "1", "BtoA": "1"},
        "alias": "champion",
        "reason": verdict.reason,
        "metric": "fid",
        "score": 5.0,
        "champion_score": None,
        "run_id": tracker.run_id,
        "new": True,
    }
    assert aliases(client, name) == {"champion": "1"}
    version = client.get_model_version_by_alias(f"{name}-AtoB", "champion")
    assert version.run_id == tracker.run_id
    assert {"score": "5", "metric": "fid", "git_commit": "abc123"}.items() <= version.tags.items()
    mine = {"score": 5.0, "fid": 5.0, "fid_AtoB": 4.0, "cycle_l1_A": 0.25}
    assert json.loads(version.tags["scores"]) == mine
    assert f"Registered as **champion**: {verdict.reason}." in version.description
    assert "| FID | 4.000 | translations to real images; 0 is alike |" in version.description
    assert "fid_AtoB" not in version.description and "identity_l1" not in version.description
    assert f"cyclegan translate models:/{name}-AtoB/1 IMAGES" in version.description
    assert "| Translates | A → B (`AtoB`) and B → A (`BtoA`) |" in version.description
    link = f"get-artifact?path=overview_AtoB.png&run_uuid={tracker.run_id}"
    assert f"![A → B: test images and what became of them]({link})" in version.description
    assert version.tags["data_version"] == "0123456789abcdef0123456789abcdef.dir"
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["registered"] == f"{name}-AtoB v1, {name}-BtoA v1"
    assert (run.data.tags["registered_as"], run.data.tags["verdict"]) == ("champion", verdict.reason)
    note = run.data.tags["mlflow.note.content"]
    assert verdict.reason in note
    assert f"[{name}-BtoA version 1](#/models/{name}-BtoA/versions/1?" in note
    assert len(run.outputs.model_outputs) == 2
    logged = [client.get_logged_model(output.model_id) for output in run.outputs.model_outputs]
    keys = sorted(sorted({metric.key for metric in model.metrics}) for model in logged)
    assert keys == [["fid_AtoB", "score"], ["fid_BtoA", "score"]]

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    for direction in ("AtoB", "BtoA"):
        uri = f"models:/{name}-{direction}@champion"
        picture = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        served = mlflow.pyfunc.load_model(uri, model_config={"precision": "fp32"})
        answer = served.predict(pd.DataFrame({"image": [buffer.getvalue()]}))
        drawn = np.asarray(Image.open(io.BytesIO(answer["image"][0])))
        expected = load(model, direction, precision="fp32")(picture)
        assert np.abs(drawn.astype(int) - expected).max() <= 1
        info = mlflow.models.get_model_info(uri)
        (spec,) = info.signature.inputs.inputs
        assert (spec.name, spec.type.name) == ("image", "binary")
        assert info.saved_input_example_info is not None
        folder = tmp_path / direction
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {f"artifacts/{direction}.safetensors", "artifacts/config.json", "mlflow_model.py"} <= names
        assert not [file for file in names if file.endswith((".pth", ".pkl", ".pickle"))]


@pytest.mark.usefixtures("without_onnx")
def test_the_title_goes_to_the_better_and_back_again_never(client, name, make_model, tmp_path, caplog):
    config, out = RegisterConfig(name=name), tmp_path / "registration.json"
    first = make_model(0, 5.0)
    assert register(*first, out, config).alias == "champion"
    worse = register(*make_model(1, 6.0), out, config)
    assert (worse.alias, worse.champion_score) == ("challenger", 5.0)
    assert aliases(client, name) == {"champion": "1", "challenger": "2"}
    other = register(*make_model(2, 1.0, version="f" * 32 + ".dir"), out, config)
    assert (other.alias, other.champion_score) == ("challenger", None)
    assert "data version" in other.reason
    assert aliases(client, name) == {"champion": "1", "challenger": "3"}
    assert judge(read_evidence(make_model(3, 4.0)[1]), config).alias == "champion"
    assert aliases(client, name) == {"champion": "1", "challenger": "3"}
    better = register(*make_model(3, 4.0), out, config)
    assert (better.alias, better.champion_score) == ("champion", 5.0)
    assert aliases(client, name) == {"champion": "4", "challenger": "3"}

    # the same weights once more: no new version, the verdict and the scores are renewed
    again = register(*first, out, config)
    assert again.versions == {"AtoB": "1", "BtoA": "1"}
    assert again.alias == "challenger"
    assert len(client.search_model_versions(f"name = '{name}-AtoB'")) == 4
    assert aliases(client, name) == {"champion": "4", "challenger": "1"}
    with caplog.at_level("INFO", "cyclegan"):
        risen = register(*make_model(0, 3.0), out, config)
    assert f"{name}-AtoB version 1 and {name}-BtoA version 1 are champion: fid 3 is better" in caplog.text
    assert (risen.versions["AtoB"], risen.alias) == ("1", "champion")
    assert aliases(client, name) == {"champion": "1"}
    assert client.get_model_version(f"{name}-BtoA", "1").tags["score"] == "3"


@pytest.mark.usefixtures("without_onnx")
def test_half_a_pair_is_completed(client, name, make_model, tmp_path):
    config, out = RegisterConfig(name=name), tmp_path / "registration.json"
    model, scores = make_model()
    register(model, scores, out, config)
    client.delete_model_version(f"{name}-BtoA", "1")
    assert register(model, scores, out, config).versions == {"AtoB": "1", "BtoA": "2"}


def test_the_gate_refuses_softly(client, name, make_model, tmp_path):
    import mlflow

    model, scores = make_model(score=5.0)
    verdict = register(model, scores, tmp_path / "out" / "r.json", RegisterConfig(name=name, max_score=4.5))
    assert (verdict.passed, verdict.versions, verdict.alias) == (False, {}, "")
    assert "gate 4.5" in json.loads((tmp_path / "out" / "r.json").read_text())["reason"]
    with pytest.raises(mlflow.MlflowException):
        client.get_registered_model(f"{name}-AtoB")
    assert client.get_run(verdict.run_id).data.tags["registered"] == "no"


def test_without_tracking_nothing_is_registered_and_that_is_said(make_model, tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    verdict = register(*make_model(), tmp_path / "r.json", RegisterConfig())
    assert (verdict.passed, verdict.versions) == (False, {})
    assert "switched off" in verdict.reason
    assert (tmp_path / "r.json").exists()


def test_mistakes_are_one_sentence(make_model, tmp_path, monkeypatch):
    model, scores = make_model()
    with pytest.raises(UsageError, match="no model in"):
        register(scores, scores, tmp_path / "r.json", RegisterConfig())
    with pytest.raises(UsageError, match="no scores in"):
        register(model, model, tmp_path / "r.json", RegisterConfig())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(CycleGANError, match="Cannot reach"):
        register(model, scores, tmp_path / "r.json", RegisterConfig())
    assert not (tmp_path / "r.json").exists()
