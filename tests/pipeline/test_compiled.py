"""The compiled files: current, whole, and asking of the cluster what they should."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cyclegan import __version__
from cyclegan.cli.params import read_params
from cyclegan.cluster.arguments import describe_fields
from cyclegan.data.sample.city import draw_city
from cyclegan.data.version import directory_md5, file_md5, versioned_files
from cyclegan.errors import UsageError
from pipeline.compiled import compiling
from pipeline.compiled.compiling import FOLDER, PIPELINES, stale
from pipeline.defaults import CONFIGS, read_defaults, tracked_version
from pipeline.parameters import CYCLEGAN, FORMER, STEPS, TRANSLATE, chosen, own_fields

ROOT = Path(__file__).resolve().parents[2]


def documents(name: str = "cyclegan", folder: Path = FOLDER) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = yaml.safe_load_all((folder / f"{name}.yaml").read_text())
    return spec, platform["platforms"]["kubernetes"]


def test_the_committed_files_are_what_the_code_compiles_to() -> None:
    assert stale() == []


def test_a_changed_file_and_a_missing_one_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(folder: Path) -> list[Path]:  # as the test above has shown
        return [Path(shutil.copy(FOLDER / f"{name}.yaml", folder)) for name in PIPELINES]

    monkeypatch.setattr(compiling, "compile_all", compiled)
    changed, *_, missing = compiled(tmp_path)
    assert stale(tmp_path) == []
    changed.write_text(changed.read_text().replace("Train generators", "Train"))
    missing.unlink()
    assert stale(tmp_path) == [changed, missing]


def test_defaults_are_those_of_params_yaml_and_data_dvc() -> None:
    spec, _ = documents()
    values = {k: v.get("defaultValue") for k, v in spec["root"]["inputDefinitions"]["parameters"].items()}
    sections = read_params(ROOT / "params.yaml")
    assert values["data_source"] == "synthetic:city"
    assert values["data_version"] == tracked_version()
    assert values["preprocess_load_size_px"] == sections["preprocess"]["load_size"]
    own = {p.field: p.name for p in STEPS if p.step == "train"}
    for name, value in sections["train"].items():
        shown = values[own[name]] if name in own else values["train_options"][name]
        assert shown == value


def test_a_preset_fills_parameters_and_options(tmp_path: Path) -> None:
    preset = tmp_path / "preset.yaml"
    preset.write_text("train: {epochs: 7, pool_size: 0}\nregister: {max_score: 2.5}\n")
    values = chosen(CYCLEGAN, read_defaults(preset))
    assert values["train_epochs"] == 7
    assert values["train_options"] == {"pool_size": 0}
    assert values["gate_max_score"] == 2.5
    preset.write_text("fetch: {source: maps}\n")
    model = chosen(TRANSLATE, read_defaults(preset))["translate_model"]
    assert model == "models:/maps-AtoB@champion"


def test_a_teams_own_version_reaches_the_defaults(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("fetch: {source: 'synthetic:city'}\n")
    version = "0123456789abcdef0123456789abcdef.dir"
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {version}\n  path: data\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"storage\"']\n    url = s3://team/images\n")
    values = chosen(CYCLEGAN, read_defaults(params, tmp_path))
    assert (values["data_source"], values["data_version"]) == ("s3://team/images", version)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_parameter_is_typed_described_and_mostly_optional(name: str) -> None:
    spec, _ = documents(name)
    required = {"translate_images", "translate_out"} if name == "translate" else set()
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
    steps = spec["components"]["comp-train-and-register"]["dag"]["tasks"]
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
    assert all(task["taskInfo"]["name"] != key for key, task in steps.items())


def test_what_is_cached() -> None:
    spec, _ = documents()
    cached = {
        task: bool(facts["cachingOptions"].get("enableCache"))
        for _, dag, _ in _dags(spec)
        for task, facts in dag["tasks"].items()
        if "cachingOptions" in facts
    }
    # An artifact of a task that ran again is another one in the keys of all tasks after it, so what may have
    # changed outside is looked up by a task that has parameters alone.
    assert {task for task, on in cached.items() if not on} == {"look", "register", "finish"}
    assert "artifacts" not in spec["components"]["comp-look"]["outputDefinitions"]
    steps = spec["components"]["comp-train-and-register"]["dag"]["tasks"]
    looked = {"producerTask": "look"}
    assert steps["fetch"]["inputs"]["parameters"]["version"]["taskOutputParameter"] == {
        **looked,
        "outputParameterKey": "data_version",
    }
    for task, parameter, producer in (
        ("fetch", "state", "look"),
        ("preprocess", "data_version", "fetch"),
        ("train", "prepared_digest", "preprocess"),
        ("evaluate", "model_digest", "train"),
    ):
        source = steps[task]["inputs"]["parameters"][parameter]["taskOutputParameter"]
        assert source == {"producerTask": producer, "outputParameterKey": parameter}


def test_a_failed_trial_is_never_answered_from_the_cache() -> None:
    spec, _ = documents("sweep")
    trials = spec["components"]["comp-trials"]["dag"]["tasks"]
    assert {name: task["cachingOptions"] for name, task in trials.items()} == {"train": {}, "evaluate": {}}
    assert all(task["inputs"]["parameters"]["trial"] for task in trials.values())


def test_the_page_shows_two_nodes_and_the_steps_below() -> None:
    spec, _ = documents()
    assert set(spec["root"]["dag"]["tasks"]) == {"train-and-register", "finish"}
    steps = spec["components"]["comp-train-and-register"]["dag"]["tasks"]
    assert set(steps) == {"look", "fetch", "preprocess", "train", "evaluate", "register"}
    outputs = {
        name: set(spec["components"][f"comp-{name}"]["outputDefinitions"].get("parameters", {}))
        for name in steps
    }
    assert outputs == {
        "look": {"data_version", "state"},
        "fetch": {"data_version"},
        "preprocess": {"prepared_digest"},
        "train": {"model_digest", "mlflow_run"},
        "evaluate": {"score"},
        "register": {"passes", "alias", "reason"},
    }
    artifacts = {
        name: set(spec["components"][f"comp-{name}"]["outputDefinitions"].get("artifacts", {}))
        for name in steps
    }
    assert artifacts["train"] == {"model", "summary", "losses"}
    assert artifacts["evaluate"] == {"scores", "report", "summary", "quality"}
    assert artifacts["register"] == {"registration", "summary"}


def test_names_come_in_groups_and_no_former_one_is_left() -> None:
    groups = {"data", "preprocess", "train", "evaluate", "gate", "register", "node", "sweep", "translate"}
    for name in PIPELINES:
        spec, _ = documents(name)
        for parameter, facts in spec["root"]["inputDefinitions"]["parameters"].items():
            assert parameter.split("_")[0] in groups
            assert parameter not in FORMER
            if parameter.endswith("_options"):
                assert facts["parameterType"] == "STRUCT"


def test_components_and_table_know_the_same_fields() -> None:
    from components.evaluate import evaluate
    from components.fetch import fetch
    from components.preprocess import preprocess
    from components.register import register
    from components.train import train

    steps = {
        "fetch": fetch,
        "preprocess": preprocess,
        "train": train,
        "evaluate": evaluate,
        "register": register,
    }
    for step, component in steps.items():
        inputs = component.component_spec.inputs
        texts = describe_fields(CONFIGS[step])
        for field in own_fields(step):
            assert inputs[field].description == texts[field]
        known = {field for field in texts if field in inputs}
        assert known == set(own_fields(step)) | ({"version"} if step == "fetch" else set())


def test_no_image_but_the_projects_and_nothing_installed_at_run_time() -> None:
    for name in PIPELINES:
        spec, _ = documents(name)
        for executor in spec["deploymentSpec"]["executors"].values():
            assert executor["container"]["image"] == f"cyclegan-pipeline:{__version__}"
            assert "pip install" not in str(executor["container"]["command"])


def test_the_version_of_cloud_versioned_data_is_computed_from_its_files(tmp_path: Path) -> None:
    draw_city(tmp_path / "data", train=2, test=1, size=32, seed=5)
    files = [
        {"relpath": name, "md5": file_md5(tmp_path / "data" / name), "cloud": {"storage": {"etag": "x"}}}
        for name in versioned_files(tmp_path / "data")
    ]
    dvc_file = tmp_path / "data.dvc"
    dvc_file.write_text(yaml.safe_dump({"outs": [{"path": "data", "hash": "md5", "files": files}]}))
    assert tracked_version(dvc_file) == directory_md5(tmp_path / "data")
    for text in ("outs:\n- path: data\n", "outs: [", "- 1\n"):
        dvc_file.write_text(text)
        with pytest.raises(UsageError, match=r"names no data version"):
            tracked_version(dvc_file)
