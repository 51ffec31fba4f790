"""The compiled files: current, whole, and asking of the cluster what they should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cyclegan import __version__
from cyclegan.cli.params import read_params
from pipeline.compiling import FOLDER, PIPELINES, compile_all, parameters, stale
from pipeline.defaults import read_defaults, tracked_version

ROOT = Path(__file__).resolve().parents[2]


def documents(name: str = "cyclegan", folder: Path = FOLDER) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = yaml.safe_load_all((folder / f"{name}.yaml").read_text())
    return spec, platform["platforms"]["kubernetes"]


def test_the_committed_files_are_what_the_code_compiles_to() -> None:
    assert stale() == []


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    compile_all(tmp_path)
    file = tmp_path / "cyclegan.yaml"
    file.write_text(file.read_text().replace("Train generators", "Train"))
    assert stale(tmp_path) == [file]


def test_defaults_are_those_of_params_yaml_and_data_dvc() -> None:
    spec, _ = documents()
    values = {k: v.get("defaultValue") for k, v in spec["root"]["inputDefinitions"]["parameters"].items()}
    sections = read_params(ROOT / "params.yaml")
    assert values["source"] == "synthetic:city"
    assert values["version"] == tracked_version()
    assert values["load_size"] == sections["preprocess"]["load_size"]
    for name, value in sections["train"].items():
        shown = values[name] if name in values else json.loads(values["train_options"])[name]
        assert shown == value


def test_a_preset_fills_parameters_and_options(tmp_path: Path) -> None:
    preset = tmp_path / "preset.yaml"
    preset.write_text("train: {epochs: 7, pool_size: 0}\nregister: {max_score: 2.5}\n")
    values = parameters("cyclegan", read_defaults(preset))
    assert values["epochs"] == 7
    assert json.loads(values["train_options"]) == {"pool_size": 0}
    assert values["max_score"] == 2.5


def test_a_teams_own_version_reaches_the_defaults(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("fetch: {source: 'synthetic:city'}\n")
    version = "0123456789abcdef0123456789abcdef.dir"
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {version}\n  path: data\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"storage\"']\n    url = s3://team/images\n")
    values = parameters("cyclegan", read_defaults(params, tmp_path))
    assert (values["source"], values["version"]) == ("s3://team/images", version)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_parameter_is_typed_described_and_mostly_optional(name: str) -> None:
    spec, _ = documents(name)
    required = {"images", "out"} if name == "translate" else set()
    for parameter, facts in spec["root"]["inputDefinitions"]["parameters"].items():
        assert facts["parameterType"], parameter
        assert len(facts["description"]) > 10, parameter
        assert facts.get("isOptional", False) is (parameter not in required), parameter


def _dags(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    yield "root", spec["root"]["dag"], spec["root"]["inputDefinitions"]
    for name, component in spec["components"].items():
        if "dag" in component:
            yield name, component["dag"], component["inputDefinitions"]


@pytest.mark.parametrize("name", PIPELINES)
def test_what_a_task_reads_from_its_block_is_handed_to_the_block(name: str) -> None:
    """Resource requests by parameter are the case that the compiler leaves to the author."""
    spec, _ = documents(name)
    for block, dag, inputs in _dags(spec):
        for task, facts in dag["tasks"].items():
            for source in facts.get("inputs", {}).get("parameters", {}).values():
                if wanted := source.get("componentInputParameter"):
                    assert wanted in inputs["parameters"], f"{block}: {task} reads {wanted}"
                    continue
                constant = source.get("runtimeValue", {}).get("constant")
                if isinstance(constant, str) and constant.startswith("{{$.inputs.parameters"):
                    assert constant.split("'")[1] in facts["inputs"]["parameters"], f"{block}: {task}"


def test_what_each_task_asks_for() -> None:
    spec, platform = documents()
    executors = platform["deploymentSpec"]["executors"]
    steps = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for name in ("exec-train", "exec-evaluate"):
        resources = spec["deploymentSpec"]["executors"][name]["container"]["resources"]
        assert set(resources) >= {"accelerator", "resourceCpuRequest", "resourceMemoryLimit"}
        assert executors[name]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
        assert executors[name]["tolerations"][0]["key"] == "nvidia.com/gpu"
        assert executors[name]["nodeSelector"]
    for facts in executors.values():
        assert int(facts["activeDeadlineSeconds"]) > 0
        assert all(secret["optional"] for secret in facts["secretAsEnv"])
        assert facts["fieldPathAsEnv"][0]["name"] == "KFP_RUN_ID"
    assert steps["train"]["retryPolicy"]["maxRetryCount"] == 5
    assert steps["train"]["retryPolicy"]["backoffDuration"] == "60s"
    assert platform["pipelineConfig"]["resourceTtlOnSuccess"] > 0
    assert all(task["taskInfo"]["name"] != key for key, task in steps.items() if "condition" not in key)


def test_what_is_cached() -> None:
    spec, _ = documents()
    cached = {
        task: bool(facts["cachingOptions"].get("enableCache"))
        for _, dag, _ in _dags(spec)
        for task, facts in dag["tasks"].items()
        if "cachingOptions" in facts
    }
    assert {task for task, on in cached.items() if not on} == {"register", "finish"}
    # what a cache key sees of the data is parameters alone
    steps = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for task, parameter, producer in (
        ("preprocess", "version", "fetch"),
        ("train", "prepared_digest", "preprocess"),
        ("evaluate", "model_digest", "train"),
    ):
        source = steps[task]["inputs"]["parameters"][parameter]["taskOutputParameter"]
        assert source == {"producerTask": producer, "outputParameterKey": "Output"}


def test_the_static_form_asks_nothing_that_old_backends_lack(tmp_path: Path) -> None:
    compile_all(tmp_path, static=True)
    spec, platform = documents(folder=tmp_path)
    text = (tmp_path / "cyclegan.yaml").read_text()
    assert "pipelineConfig" not in platform
    assert "taskFinalStatus" not in text
    assert "nodeSelectorJson" not in text
    assert "{{$.inputs.parameters[" not in json.dumps(spec["deploymentSpec"])
    assert spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["memoryLimit"]


def test_no_image_but_the_projects_and_nothing_installed_at_run_time() -> None:
    for name in PIPELINES:
        spec, _ = documents(name)
        for executor in spec["deploymentSpec"]["executors"].values():
            assert executor["container"]["image"] == f"cyclegan-pipeline:{__version__}"
            assert "pip install" not in str(executor["container"]["command"])
