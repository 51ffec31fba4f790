"""`python -m pipeline`, and the kfp command line that the README names beside it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from cyclegan import __version__
from cyclegan.cli.params import preset_file
from cyclegan.data.version import version_of
from cyclegan.errors import UsageError
from pipeline.__main__ import _arguments as _arguments_of
from pipeline.__main__ import _parser, main
from pipeline.arguments import inputs_of, load_spec
from pipeline.client.submitting import (
    from_storage,
    refuse_secrets,
    run_name,
    starts_anywhere,
    with_seconds,
)
from pipeline.compiled.adapting import write_adapted
from pipeline.parameters import FORMER, TABLES

ROOT = Path(__file__).resolve().parents[2]


TRANSLATING = ["--pipeline", "translate", "translate_images=photos", "translate_out=maps"]


def _arguments(run: dict[str, Any]) -> dict[str, Any]:
    return run["runtime_config"].get("parameters", {})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train_epoch=1"], "did you mean 'train_epochs'?"),
        (["zzz=1"], "there are data_options, data_source"),
        (["train_epochs"], "write name=value"),
        (["train_epochs=many"], "train_epochs must be a whole number, not 'many'"),
        (["train_lr=fast"], "train_lr must be a number"),
        (["node_selector=[]"], "node_selector must be a JSON object"),
        (["node_tolerations={}"], "node_tolerations must be a JSON list"),
        (["node_accelerators=one"], "node_accelerators must be a whole number, not 'one'"),
        (["node_memory=16GB"], "node_memory must be bytes with a unit, such as 16Gi, not '16GB'"),
        (["node_cpu_cores=many"], "node_cpu_cores must be cores"),
        (["train_options={"], "train_options must be a JSON object"),
        (["train_options=[]"], "must be a JSON object"),
        (['train_options={"bufer_size": 1}'], "no field 'bufer_size'"),
        (['train_options={"pool_size": -1}'], "pool_size"),
        (['train_options={"batch_size": 2}'], "use train_batch_size="),
        (['data_options={"version": ""}'], "use data_version="),
        (["--file", "nowhere.yaml"], "make compile"),
        (["--params", "nowhere.yaml"], "nowhere.yaml"),
        (["train_generator=resnett"], "The parameters of train: generator = 'resnett'"),
        (["train_epochs=-3"], "epochs = -3"),
        (["train_lr=nan"], "lr = nan"),
        (["gate_max_score=-1"], "max_score = -1"),
        (["register_name=a/b"], "name = 'a/b'"),
        (["evaluate_features=foo"], "features = 'foo'"),
        (["evaluate_features=random", "evaluate_weights=s3://b/x.pth"], "random takes no weights"),
        (["preprocess_load_size_px=0"], "load_size"),
        (["data_version=abc"], "must be an MD5"),
        (['data_options={"a": "s3://x/a", "b": "/data/b"}'], "a = s3://x/a: a and b are folders"),
        (["train_checkpoints=gs://bucket/x"], "gs://bucket/x is not a store"),
        (["--pipeline", "sweep", 'sweep_grid={"lr": [-1]}'], "lr = -1"),
        ([*TRANSLATING, "translate_shards=0"], "shard = 0 is not one of"),
        ([*TRANSLATING, 'translate_options={"tiel": 3}'], "did you mean 'tile'?"),
        (["--pipeline", "translate", "translate_out=maps"], "translate_images is missing: s3:// prefix"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_former_names_are_refused_with_the_present_one(capsys: pytest.CaptureFixture[str]) -> None:
    for former, present in FORMER.items():
        pipeline = next(
            name for name, table in TABLES.items() if present in {parameter.name for parameter in table}
        )
        word = ["run", "--pipeline", pipeline.removeprefix("cyclegan-"), f"{former}=1"]
        assert main(word) == 2
        assert f"it is called '{present}' now." in capsys.readouterr().err


def test_parameters_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert "train_epochs=" in capsys.readouterr().out


def test_submit_runs_an_uploaded_version_with_every_argument(
    kfp_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["submit", "train_epochs=3", "train_lr=1e-4", "node_accelerators=1", "--service-account", "steps"]
    assert main([*words, "--image", "hub/image@sha256:0"]) == 0
    (run,) = kfp_server.runs
    assert run["service_account"] == "steps"
    assert run["display_name"] == "resnet city 64x64, 23 epochs, seed 0"
    assert run["plugins_input"] == {"mlflow": {"experiment_name": "cyclegan"}}
    spec, platform = kfp_server.sent_file()
    known = spec["root"]["inputDefinitions"]["parameters"]
    sent = _arguments(run)
    assert set(sent) == set(known)  # a clone of the run starts from these
    assert (sent["train_epochs"], sent["train_lr"], sent["node_accelerators"]) == (3, 1e-4, "1")
    assert sent["train_options"]["blocks"] == 3
    types = {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "STRING": str, "STRUCT": dict, "LIST": list}
    for name, value in sent.items():
        if known[name]["parameterType"] != "NUMBER_DOUBLE":  # JSON writes 10.0 as 10
            assert type(value) is types[known[name]["parameterType"]], name
    images = {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values()}
    assert images == {"hub/image@sha256:0"}
    assert platform["platforms"]["kubernetes"]["pipelineConfig"]
    (pipeline,) = kfp_server.pipelines
    assert "| train_epochs | integer |" in pipeline["description"]
    (version,) = kfp_server.versions
    assert run["pipeline_version_reference"] == {"pipeline_id": "p0", "pipeline_version_id": "v0"}
    assert version["tags"]["image"] == "hub/image@sha256:0"
    (experiment,) = kfp_server.experiments
    assert experiment["display_name"] == "cyclegan" and experiment["description"]
    out, err = capsys.readouterr()
    assert f"{kfp_server.url}/#/runs/details/r0" in out
    assert "outputs/checkpoints is lost with its pod" in err and "FutureWarning" not in err


def test_the_same_content_is_uploaded_once(kfp_server: Any) -> None:
    checkpoints = "train_checkpoints=s3://bucket/checkpoints"
    assert main(["submit", checkpoints]) == 0
    assert main(["submit", checkpoints, "train_seed=1"]) == 0
    assert main(["upload"]) == 0
    assert (len(kfp_server.pipelines), len(kfp_server.versions), len(kfp_server.experiments)) == (1, 1, 1)
    assert main(["submit", checkpoints, "--image", "hub/other:1"]) == 0
    assert (len(kfp_server.pipelines), len(kfp_server.versions)) == (1, 2)
    assert main(["upload", "--pipeline", "sweep"]) == 0
    assert [pipeline["display_name"] for pipeline in kfp_server.pipelines] == ["cyclegan", "cyclegan-sweep"]


def test_no_cache_means_no_task(kfp_server: Any) -> None:
    assert main(["submit", "--no-cache"]) == 0
    spec, _ = kfp_server.sent_file()
    tasks = spec["components"]["comp-train-and-register"]["dag"]["tasks"]
    assert not any(task["cachingOptions"] for task in tasks.values())


def test_an_older_server_gets_a_file_that_it_understands(
    kfp_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kfp_server.version = "2.16.1"
    assert main(["submit"]) == 0
    _, platform = kfp_server.sent_file()
    assert "activeDeadlineSeconds" not in platform["platforms"]["kubernetes"]["pipelineConfig"]
    assert "plugins_input" not in kfp_server.runs[0]
    assert "For a backend of 2.16 left out: the time limit of a run" in capsys.readouterr().err
    kfp_server.version = "unknown"
    assert main(["submit"]) == 0
    assert "does not tell its version" in capsys.readouterr().err
    assert "plugins_input" not in kfp_server.runs[1]
    assert main(["submit", "--backend", "2.15"]) == 0
    assert "runAsNonRoot" in capsys.readouterr().err
    kfp_server.version = "2.14.4"
    assert main(["submit"]) == 1
    assert "2.14.4 is not supported" in capsys.readouterr().err


def test_compiling_for_another_backend_needs_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "--backend", "2.16"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["compile", "--backend", "2.16.1", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "left out: the time limit of a run" in err


def test_an_installation_for_several_users(kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kfp_server.multi_user, kfp_server.token = True, "secret-token"
    assert main(["submit"]) == 1
    assert "sign in (401): use --token" in capsys.readouterr().err
    assert main(["submit", "--token", "secret-token"]) == 2
    assert "--namespace or KFP_NAMESPACE" in capsys.readouterr().err
    assert main(["submit", "--token", "secret-token", "--namespace", "ann"]) == 0
    assert kfp_server.experiments[0]["namespace"] == kfp_server.pipelines[0]["namespace"] == "ann"
    assert "secret-token" not in "".join(capsys.readouterr())


def test_a_refusal_is_told_in_the_servers_words(kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kfp_server.refusal = {"error": "Invalid input error: no such\nservice account", "code": 3}
    assert main(["submit"]) == 1
    assert "refused: Invalid input error: no such service account (400)." in capsys.readouterr().err


def test_an_unreachable_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["submit", "train_epochs=1"]) == 1
    assert "Cannot reach Kubeflow Pipelines at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_schedule_is_typed(kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data_source=s3://bucket/dvc", "data_version=https://git.example/raw/main/data.dvc"]
    assert main(["submit", *words, "train_epochs=2", "--schedule", "0 3 * * *"]) == 0
    (recurring,) = kfp_server.recurring
    assert recurring["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert recurring["runtime_config"]["parameters"]["train_epochs"] == 2
    assert recurring["runtime_config"]["parameters"]["data_version"].endswith("data.dvc")
    assert recurring["pipeline_version_reference"]["pipeline_version_id"] == "v0"
    assert (recurring["max_concurrency"], recurring["no_catchup"]) == (1, True)
    # KFP 2.17.0 drops the parameters of a recurring run that has plugins_input beside a pipeline version
    assert "plugins_input" not in recurring
    assert re.fullmatch(r"resnet-[A-Za-z0-9-]+", recurring["display_name"])
    assert kfp_server.runs == []
    assert "#/recurringrun/details/s0" in capsys.readouterr().out


@pytest.mark.parametrize("cron", ["@every 1h30m", "@midnight", "0 0 3 * * *"])
def test_the_schedules_of_the_backend_are_taken(cron: str) -> None:
    assert with_seconds(cron) == cron


@pytest.mark.parametrize(
    "cron", ["@every", "@every day", "every day", "0 3 * *", "* * * * * * *", "0 3 * * $(x)"]
)
def test_a_wrong_schedule_is_refused(cron: str, kfp_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--schedule", cron]) == 2
    assert "cron fields" in capsys.readouterr().err
    assert kfp_server.recurring == []
    assert main(["submit", "--schedule", "0 3 * * *", "--wait"]) == 2


ANSWERS = Path(__file__).parent / "answers"
"""What a KFP 2.17.0 server answered about two runs of ours, without the fields that nothing reads."""


def _answer(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((ANSWERS / name).read_text())
    del answer["run_id"]
    return answer


def test_wait_shows_the_tasks_of_the_pipeline_alone_and_ends_with_the_verdict(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.client.watching.POLL_SECONDS", 0.01)
    end = _answer("cached.json")
    early = json.loads(json.dumps(end)) | {"state": "RUNNING"}
    for task in early["run_details"]["task_details"]:
        if task.get("display_name", "").startswith(("register", "train-and-register")):
            task |= {"state": "RUNNING", "end_time": "0001-01-01T00:00:00Z"}
    kfp_server.progress = [early, end]
    kfp_server.logs = {"cyclegan-78qlb-1544504973": (ANSWERS / "register.log").read_text()}
    assert main(["submit", "--wait"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:14] == [
        "running     Train and register",
        "0 s  cached      Fetch images",
        "0 s  cached      Prepare arrays",
        "0 s  cached      Train generators",
        "0 s  cached      Score and report",
        "running     Register the model",
        "20 s  succeeded   Close MLflow runs",
        "1 m 24 s  succeeded   Train and register",
        "34 s  succeeded   Register the model",
        "2 m 15 s  succeeded   the run",
        "# Registered as champion",
        "- verdict: **frechet_random 0.0511, and there is no champion yet**",
    ]
    assert lines[-1].startswith("- MLflow run: [")


def test_wait_outlasts_a_server_that_is_out_of_reach(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.client.watching.POLL_SECONDS", 0.01)
    kfp_server.progress = [_answer("cached.json")]
    kfp_server.broken = 2
    assert main(["submit", "--wait"]) == 0
    out = capsys.readouterr().out
    assert out.count("Trying again for 10 minutes") == 1 and "succeeded   the run" in out
    monkeypatch.setattr("pipeline.client.watching.PATIENCE_SECONDS", 0.05)
    kfp_server.broken = 1000
    assert main(["submit", "--wait"]) == 3
    assert re.search(r"out of reach; run r1 continues", capsys.readouterr().err)


def test_wait_says_so_where_the_server_stops_listing_tasks(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.client.watching.POLL_SECONDS", 0.01)
    frozen = _answer("cached.json")
    for task in frozen["run_details"]["task_details"]:
        if task.get("display_name", "").startswith(("register", "train-and-register")):
            task |= {"state": "RUNNING", "end_time": "0001-01-01T00:00:00Z"}
    kfp_server.progress = [frozen]
    assert main(["submit", "--wait"]) == 0
    assert "stopped listing the tasks" in capsys.readouterr().out.splitlines()[-1]


def test_wait_names_the_step_that_failed_and_shows_what_it_said(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.client.watching.POLL_SECONDS", 0.01)
    kfp_server.progress = [_answer("failed.json")]
    kfp_server.logs = {"cyclegan-w6j8n-368346145": (ANSWERS / "train.log").read_text()}
    assert main(["submit", "--wait"]) == 1
    out, err = capsys.readouterr()
    assert "1 accelerators were asked for and torch sees 0" in out
    assert "launcher_v2.go" not in out and "KFP Executor" not in out and '"parameterValues"' not in out
    assert "step 'Train generators' failed" in err


def test_other_images_under_the_names_of_the_former_are_pointed_out(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["submit", "data_source=horse2zebra"]) == 0
    error = capsys.readouterr().err
    assert all(name in error for name in ("aerial,map", "register_name=cyclegan", "models:/cyclegan"))
    options = 'preprocess_options={"names": "horse,zebra"}', 'evaluate_options={"champion": ""}'
    assert main(["submit", "data_source=horse2zebra", *options, "register_name=horses"]) == 0
    assert "still has" not in capsys.readouterr().err
    assert main(["submit", "train_epochs=2"]) == 0
    assert "still has" not in capsys.readouterr().err
    preset = tmp_path / "mine.yaml"  # whose author knows what its images are called
    preset.write_text("preprocess: {names: 'horse,zebra'}\nregister: {name: horses}\n")
    assert main(["submit", "--params", str(preset), "data_source=horse2zebra"]) == 0
    assert "still has" not in capsys.readouterr().err


def test_wait_says_what_the_backends_own_programs_died_of(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.client.watching.POLL_SECONDS", 0.01)
    kfp_server.progress = [_answer("failed.json")]
    died = "F1129 10:41:07.1 main.go:61] failed to execute component: rpc error: connection refused"
    kfp_server.logs = {"cyclegan-w6j8n-368346145": f"I1129 10:41:05.2 launcher_v2.go:152] begun\n{died}\n"}
    assert main(["submit", "--wait"]) == 1
    assert died in capsys.readouterr().out
    kfp_server.logs = {"cyclegan-w6j8n-368346145": '{"error_message": "Failed to find the node: NoSuchKey"}'}
    assert main(["submit", "--wait"]) == 1
    assert "NoSuchKey" not in capsys.readouterr().out
    run = _answer("failed.json")
    for task in run["run_details"]["task_details"]:
        if task.get("display_name") == "train":
            task["display_name"] = "train-driver"
    kfp_server.progress = [run]
    assert main(["submit", "--wait"]) == 1
    assert "Kubeflow's driver of step 'Train generators' failed" in capsys.readouterr().err


def test_wait_does_not_wait_for_an_answer_for_ever(
    kfp_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("server.SECONDS", 0.1), ("watching.POLL_SECONDS", 0.01)):
        monkeypatch.setattr(f"pipeline.client.{name}", seconds)
    kfp_server.progress = [_answer("cached.json")]
    kfp_server.silent = 0.5
    monkeypatch.setattr("pipeline.client.watching.PATIENCE_SECONDS", 0.05)
    assert main(["submit", "--wait"]) == 3
    assert "Cannot reach Kubeflow Pipelines" in capsys.readouterr().out


def test_a_word_for_options_keeps_the_fields_that_it_does_not_name(kfp_server: Any, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("train: {generator: resnet, blocks: 4, width: 24, crop_size: 0}\n")
    words = ['train_options={"checkpoint_minutes": 3, "width": 8}']
    assert main(["submit", "--params", str(preset), *words]) == 0
    sent = kfp_server.runs[0]["runtime_config"]["parameters"]["train_options"]
    assert (sent["blocks"], sent["width"], sent["checkpoint_minutes"]) == (4, 8, 3)
    assert main(["submit", 'evaluate_options={"resamples": 20}']) == 0
    sent = kfp_server.runs[1]["runtime_config"]["parameters"]["evaluate_options"]
    assert sent == {"champion": "models:/cyclegan", "resamples": 20}


TYPES = {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "STRING": str, "STRUCT": dict, "LIST": list}


@pytest.mark.parametrize("name", ["sample", "laptop", "maps"])
def test_a_preset_gives_values_of_the_types_that_the_pipeline_has(name: str) -> None:
    preset = preset_file(name)
    options = _parser().parse_args(["run", "--params", str(preset)])
    spec = load_spec(ROOT / "pipeline" / "cyclegan.yaml")
    values = _arguments_of(options, spec, {"train_checkpoints": "s3://bucket/checkpoints"})
    for parameter, facts in inputs_of(spec).items():
        kind = TYPES[facts["parameterType"]]
        assert type(values[parameter]) in ({int, float} if kind is float else {kind}), parameter
    # what no parameter file knows stays as it was
    assert values["train_checkpoints"] == "s3://bucket/checkpoints"
    assert values["node_memory"] == "4Gi"
    assert not re.search(r"\d\.0", run_name(values, ""))
    once = values | {"train_epochs": 1, "train_decay_epochs": 0}
    assert ", 1 epoch, seed" in run_name(once, "")


def test_an_address_in_a_parameter_file_is_refused_where_it_would_lose_its_query(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "mine.yaml"
    for source in ("https://host.example/download?id=42", "https://ann:planted@host.example/maps.zip"):
        preset.write_text(f"fetch: {{source: '{source}'}}\n")
        assert main(["run", "--params", str(preset)]) == 2
        error = capsys.readouterr().err
        assert "fetch.source=https://host.example/" in error and "planted" not in error


def test_secrets_are_refused_wherever_they_are() -> None:
    for value in (
        {"init": ["https://ann:planted@host/m.zip"]},
        [{"deep": ["https://h/x?X-Amz-Signature=1"]}],
    ):
        with pytest.raises(UsageError, match="password or token"):
            refuse_secrets({"sweep_grid": value})
    refuse_secrets({"sweep_grid": {"init": ["s3://bucket/m.zip"], "seed": [0, 1]}})


@pytest.mark.parametrize(
    ("init", "anywhere"),
    [
        ("", False),
        ("models:/maps/3", False),
        ("models:/maps@champion", True),
        ("hf://me/maps", True),
        (f"hf://me/maps@{'0' * 40}", False),
        ("s3://bucket/model", True),
        ("s3://bucket/c/0000000009-0123456789abcdef.safetensors", False),
        ("s3://bucket/c/newest.safetensors", True),
    ],
)
def test_training_from_an_address_whose_content_may_change_is_not_taken_from_the_cache(
    init: str, anywhere: bool
) -> None:
    assert starts_anywhere({"train_options": {"init": init}}) == anywhere


def test_two_folders_are_not_the_sample_version() -> None:
    options = _parser().parse_args(["run", 'data_options={"a": "/data/x", "b": "/data/y"}'])
    values = _arguments_of(options, load_spec(ROOT / "pipeline" / "cyclegan.yaml"), {})
    assert values["data_version"] == ""


def test_a_configured_storage_gives_source_version_and_checkpoints(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"sample\"']\n    url = ../store\n")
    md5 = "0123456789abcdef0123456789abcdef.dir"
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {md5}\n  path: data\n")
    assert from_storage(tmp_path) == {}
    with (tmp_path / ".dvc" / "config").open("a") as file:
        file.write("['remote \"storage\"']\n    url = s3://bucket/dvc\n")
    assert from_storage(tmp_path) == {
        "data_source": "s3://bucket/dvc",
        "data_version": md5,
        "train_checkpoints": "s3://bucket/dvc/checkpoints",
    }
    listed = f"outs:\n- path: data\n  files:\n  - {{relpath: trainA/1.png, md5: {md5[:32]}}}\n"
    (tmp_path / "data.dvc").write_text(listed)  # as DVC writes it for a cloud-versioned remote
    cloud = from_storage(tmp_path)
    assert cloud["data_source"] == "s3://bucket/dvc/data"
    assert cloud["data_version"] == version_of({"trainA/1.png": md5[:32]})
    secret = "['remote \"storage\"']\n    secret_access_key = planted\n    url = s3://other/dvc\n"
    (tmp_path / ".dvc" / "config.local").write_text(secret)
    assert from_storage(tmp_path)["data_source"] == "s3://other/dvc/data"
    assert "planted" not in json.dumps(from_storage(tmp_path))


def test_another_image_changes_nothing_else(tmp_path: Path) -> None:
    from kfp import components

    write_adapted(ROOT / "pipeline" / "cyclegan.yaml", tmp_path / "other.yaml", image="hub/image:1")
    before = components.load_component_from_file(str(ROOT / "pipeline" / "cyclegan.yaml"))
    after = components.load_component_from_file(str(tmp_path / "other.yaml"))
    assert "hub/image:1" in str(after.pipeline_spec)
    put_back = json_format.MessageToDict(after.pipeline_spec)
    for executor in put_back["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = f"cyclegan-pipeline:{__version__}"
    assert put_back == json_format.MessageToDict(before.pipeline_spec)


def test_the_kfp_command_line_takes_the_compiled_file(kfp_server: Any) -> None:
    kfp = str(Path(sys.executable).with_name("kfp"))
    command = [kfp, "run", "create", "-e", "cyclegan", "-f", "pipeline/cyclegan.yaml", "train_epochs=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = kfp_server.runs
    assert str(_arguments(run)["train_epochs"]) == "1"
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "cyclegan"
