"""The compiled files held against the real backend's rules, which are stricter than those of `kfp.local`."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, json_format, struct_pb2
from google.protobuf.message_factory import GetMessageClass

from pipeline.compiled.backends import FEATURES, VERSIONS, fit, parse_version
from pipeline.compiled.compiling import FOLDER, PIPELINES, compile_all
from pipeline.compiled.documents import read_documents
from pipeline.placement import DAY

PROTOS = Path(__file__).parent / "protos"
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Documents]]:
    """Every pipeline's documents by version of the backend and name."""
    found: dict[str, dict[str, Documents]] = {}
    for version in VERSIONS:
        if version == VERSIONS[-1]:  # the committed files, which test_compiled.py holds to be current
            files = [FOLDER / f"{name}.yaml" for name in PIPELINES]
        else:
            files = compile_all(tmp_path_factory.mktemp(version), backend=version)
        found[version] = {file.stem: read_documents(file) for file in files}
    return found


def _message(version: str, name: str) -> Any:
    from google.rpc import status_pb2

    pool = descriptor_pool.DescriptorPool()
    for module in (struct_pb2, duration_pb2, any_pb2, status_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)  # type: ignore[attr-defined]
    files = descriptor_pb2.FileDescriptorSet.FromString((PROTOS / f"{version}.binpb").read_bytes())
    for file in files.file:
        pool.Add(file)  # type: ignore[attr-defined]
    return GetMessageClass(pool.FindMessageTypeByName(name))()


def parse_strictly(version: str, documents: Documents) -> None:
    """As the API server of `version` does it; raises json_format.ParseError for a field it does not know."""
    spec, platform = documents
    json_format.ParseDict(spec, _message(version, "ml_pipelines.PipelineSpec"))
    json_format.ParseDict(platform, _message(version, "ml_pipelines.PlatformSpec"))
    for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, _message(version, "kfp_kubernetes.KubernetesExecutorConfig"))


# (a) protos of every version ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_takes_the_whole_file_that_is_compiled_for_it(
    version: str, name: str, compiled: dict[str, dict[str, Documents]]
) -> None:
    parse_strictly(version, compiled[version][name])


def test_the_newest_file_is_not_for_older_versions(compiled: dict[str, dict[str, Documents]]) -> None:
    for version in VERSIONS[:-1]:
        with pytest.raises(json_format.ParseError):
            parse_strictly(version, compiled[VERSIONS[-1]]["cyclegan"])


def test_only_what_a_version_does_not_know_is_left_out(compiled: dict[str, dict[str, Documents]]) -> None:
    for older, newer in pairwise(VERSIONS):
        (feature,) = [feature for feature in FEATURES if feature.since == newer]
        documents = json.loads(json.dumps(compiled[newer]["cyclegan"]))
        assert documents != compiled[older]["cyclegan"]
        feature.remove(documents[1]["platforms"]["kubernetes"])
        assert documents == compiled[older]["cyclegan"]
    oldest = compiled[VERSIONS[0]]["cyclegan"][1]["platforms"]["kubernetes"]
    assert oldest["pipelineConfig"] == {"resourceTtl": 3 * DAY}
    assert all(executor["configMapAsEnv"] for executor in oldest["deploymentSpec"]["executors"].values())


@pytest.mark.parametrize(
    ("text", "version"), [("2.15.2", "2.15"), ("2.16", "2.16"), ("2.17.0", "2.17"), ("2.30.1", "2.17")]
)
def test_versions(text: str, version: str) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "said"), [("2.14.4", "not supported"), ("unknown", "not a version"), ("2", "2")]
)
def test_versions_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        parse_version(text)


# (b) the driver's types --------------------------------------------------------------------------------


def _blocks(spec: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each block's tasks, and the block's own inputs with their types."""
    for component in (spec["root"], *spec["components"].values()):
        if "dag" in component:
            yield component["dag"]["tasks"], component.get("inputDefinitions", {}).get("parameters", {})


@pytest.mark.parametrize("name", PIPELINES)
def test_what_feeds_a_resource_is_text(name: str, compiled: dict[str, dict[str, Documents]]) -> None:
    """The driver reads any other type as an empty string and drops the resource without a word."""
    spec = compiled[VERSIONS[-1]][name][0]
    fields = {}
    for label, executor in spec["deploymentSpec"]["executors"].items():
        resources = json.dumps(executor["container"].get("resources", {}))
        fields[label] = set(re.findall(r"\{\{\$\.inputs\.parameters\['(.+?)'\]\}\}", resources))
    assert any(fields.values())
    checked = set()
    for tasks, inputs in _blocks(spec):
        for task in tasks.values():
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel", "")
            for channel in fields.get(label, ()):
                source = task["inputs"]["parameters"][channel]["componentInputParameter"]
                assert inputs[source]["parameterType"] == "STRING", f"{label}: {source}"
                checked.add(source.removeprefix("pipelinechannel--"))
    assert {"node_accelerators", "node_cpu_cores", "node_memory", "node_accelerator_type"} <= checked


@pytest.mark.parametrize("name", PIPELINES)
def test_an_argument_has_the_type_of_its_source(name: str, compiled: dict[str, dict[str, Documents]]) -> None:
    """Also a loop's items: a bare list yields text, whatever is in it."""
    spec = compiled[VERSIONS[-1]][name][0]
    kinds = {str: "STRING", bool: "BOOLEAN", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE"}
    compared = 0
    for tasks, inputs in _blocks(spec):
        for task in tasks.values():
            component = spec["components"][task["componentRef"]["name"]]
            wanted = component.get("inputDefinitions", {}).get("parameters", {})
            for argument, source in task.get("inputs", {}).get("parameters", {}).items():
                if argument not in wanted:
                    continue  # for the pod, not for the component
                if "componentInputParameter" in source:
                    given = inputs[source["componentInputParameter"]]["parameterType"]
                elif "taskOutputParameter" in source:
                    output = source["taskOutputParameter"]
                    producer = spec["components"][tasks[output["producerTask"]]["componentRef"]["name"]]
                    outputs = producer["outputDefinitions"]["parameters"]
                    given = outputs[output["outputParameterKey"]]["parameterType"]
                elif "runtimeValue" in source:
                    given = kinds[type(source["runtimeValue"]["constant"])]
                else:
                    given = "TASK_FINAL_STATUS"
                assert wanted[argument]["parameterType"] == given, f"{task['taskInfo']['name']}: {argument}"
                compared += 1
    assert compared > 10


def test_loop_items_are_what_their_lists_hold(compiled: dict[str, dict[str, Documents]]) -> None:
    found = {}
    for name, kind in (("sweep", "STRUCT"), ("translate", "NUMBER_INTEGER")):
        spec = compiled[VERSIONS[-1]][name][0]
        for tasks, _ in _blocks(spec):
            for task in tasks.values():
                if "parameterIterator" in task:
                    item = task["parameterIterator"]["itemInput"]
                    inputs = spec["components"][task["componentRef"]["name"]]["inputDefinitions"][
                        "parameters"
                    ]
                    found[name] = inputs[item]["parameterType"]
        assert found[name] == kind


@pytest.mark.parametrize("name", PIPELINES)
def test_no_attempt_is_cut_off_by_the_back_off(name: str, compiled: dict[str, dict[str, Documents]]) -> None:
    """The backend ends a task that long after its first attempt began, running attempts included."""
    spec, platform = compiled[VERSIONS[-1]][name]
    limit = platform["platforms"]["kubernetes"]["pipelineConfig"]["activeDeadlineSeconds"]
    policies = [t["retryPolicy"] for tasks, _ in _blocks(spec) for t in tasks.values() if "retryPolicy" in t]
    assert policies
    assert all(int(policy["backoffMaxDuration"].removesuffix("s")) >= limit for policy in policies)


RESERVED = ("MLFLOW_", "AWS_", "HTTPS_PROXY", "NO_PROXY")


@pytest.mark.parametrize("name", PIPELINES)
def test_no_variable_collides_with_what_the_backend_sets(
    name: str, compiled: dict[str, dict[str, Documents]]
) -> None:
    """A pod with a variable twice is refused; and the launcher in the container reads AWS_* and proxies."""
    executors = compiled[VERSIONS[-1]][name][1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in executors.values():
        pairs = [
            pair
            for kind in ("configMapAsEnv", "secretAsEnv")
            for entry in executor[kind]
            for pair in entry["keyToEnv"]
        ]
        assert len(pairs) > 10
        assert not [pair["envVar"] for pair in pairs if pair["envVar"].startswith(RESERVED)]


@pytest.mark.parametrize("name", PIPELINES)
def test_pods_pass_the_restricted_profile_and_carry_our_label(
    name: str, compiled: dict[str, dict[str, Documents]]
) -> None:
    executors = compiled[VERSIONS[-1]][name][1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in executors.values():
        assert executor["securityContext"]["runAsNonRoot"] is True
        assert executor["podMetadata"]["labels"] == {"cyclegan/step": "true"}


@pytest.mark.parametrize("name", PIPELINES)
def test_names_on_the_page_fit_and_tell_the_content(
    name: str, compiled: dict[str, dict[str, Documents]]
) -> None:
    spec = compiled[VERSIONS[-1]][name][0]
    for tasks, _ in _blocks(spec):
        for key, task in tasks.items():
            assert len(task["taskInfo"]["name"]) <= 22
            assert len(key) <= 22
            assert not key.startswith(("exit-handler", "for-loop", "condition"))


# (c) what the exit handler is told ---------------------------------------------------------------------

STATES = {
    "success, 2.17": "COMPLETE",
    "success, 2.16": "RUNNING",
    "terminated": "RUNNING",
    "all from the cache": "CACHED",
    "a step failed, was killed or ran out of memory": "FAILED",
    "canceled": "CANCELED",
    "kfp.local": "SUCCEEDED",
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_the_handler_decides_by_mlflow_whatever_the_state(
    state: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kfp import dsl
    from mlflow import MlflowClient

    from components.finish import finish

    client = MlflowClient(mlflow_server)
    known = client.get_experiment_by_name("tests")
    experiment = known.experiment_id if known else client.create_experiment("tests")
    pipeline_run = f"run-{state}"
    runs = {
        end: client.create_run(experiment, tags={f"kfp_run.{pipeline_run}": "train"}).info.run_id
        for end in ("FINISHED", "FAILED", "KILLED", "RUNNING")
    }
    for end, run in runs.items():
        client.set_terminated(run, end) if end != "RUNNING" else None
    monkeypatch.setenv("KFP_RUN_ID", pipeline_run)
    status = dsl.PipelineTaskFinalStatus(
        state=state,
        pipeline_job_resource_name="",
        pipeline_task_name="train-and-register",
        error_code=None,
        error_message=None,
    )
    finish.python_func(status)
    ends = {end: client.get_run(run).info.status for end, run in runs.items()}
    assert ends == {"FINISHED": "FINISHED", "FAILED": "FAILED", "KILLED": "KILLED", "RUNNING": "FAILED"}


# (d) a component as the backend starts it --------------------------------------------------------------


def _executor_input(folder: Path) -> dict[str, Any]:
    """What the driver would hand to fetch, with numbers as it carries them."""
    raw = folder / "outputs" / "raw"
    raw.parent.mkdir(parents=True)
    schema = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
    return {
        "inputs": {
            "parameterValues": {
                "source": "synthetic:city?train=4&test=3&size=32",
                "version": "",
                "state": "",
                "options": {"seed": 1.0},
            }
        },
        "outputs": {
            "parameters": {"data_version": {"outputFile": str(folder / "outputs" / "data_version")}},
            "artifacts": {
                "raw": {"artifacts": [{"name": "raw", "type": schema, "uri": str(raw), "metadata": {}}]}
            },
            "outputFile": str(folder / "outputs" / "output_metadata.json"),
        },
    }


def _shell(container: dict[str, Any], given: dict[str, Any]) -> list[str]:
    filled = {"{{$}}": json.dumps(given), "{{$.json_escape[1]}}": json.dumps(given)}
    words = [*container["command"], *container.get("args", [])]
    return [filled.get(word, word) for word in words]


def _opened(folder: Path) -> str:
    """Shell commands after which any user reaches interpreter and checkout, though a parent is closed."""
    needed = {Path(sys.base_prefix), Path(sys.prefix), FOLDER.parent}
    needed = {path for path in needed if not any(path.is_relative_to(other) for other in needed - {path})}
    tops = {path: [p for p in reversed(path.parents) if not p.stat().st_mode & 0o001] for path in needed}
    hidden = sorted(path for path in needed if tops[path])
    keep = [f"mkdir {folder}/{n}; mount --rbind {path} {folder}/{n}; " for n, path in enumerate(hidden)]
    cover = [f"mount -t tmpfs -o mode=755 none {top}; " for top in {tops[path][0] for path in hidden}]
    show = [f"mkdir -p {path}; mount --rbind {folder}/{n} {path}; " for n, path in enumerate(hidden)]
    return "".join((*keep, *cover, *show))


def test_a_component_runs_as_a_nameless_user_where_only_tmp_is_writable(tmp_path: Path) -> None:
    """Started by KFP's executor from the compiled file, with a read-only root and a numeric user."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if not unshare or not setpriv or os.geteuid() != 0:
        pytest.skip("a read-only root needs root, unshare and setpriv")
    spec = read_documents(FOLDER / "cyclegan.yaml")[0]
    container = spec["deploymentSpec"]["executors"]["exec-fetch"]["container"]
    folder = Path(f"/tmp/restricted-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        given = _executor_input(folder)
        (folder / "outputs").chmod(0o777)
        command = folder / "command.json"
        command.write_text(json.dumps(_shell(container, given)))
        start = (
            f"set -e; mount --make-rprivate /; mount --bind /tmp /tmp; {_opened(folder)}"
            f"mount -o remount,ro,bind /; exec {setpriv} --reuid=123456 --regid=0 --clear-groups "
            f"--no-new-privs --bounding-set=-all {sys.executable} {folder}/start.py"
        )
        (folder / "start.py").write_text(
            "import json, os, sys\n"
            "try:\n"
            "    open('/restricted-probe', 'w')\n"
            "    sys.exit('the root is writable')\n"
            "except OSError:\n"
            "    pass\n"
            f"words = json.load(open({str(command)!r}))\n"
            "os.execvp(words[0], words)\n"
        )
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": "/tmp",
            "PYTHONPATH": str(FOLDER.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CYCLEGAN_TRACKING": "off",
            "KFP_RUN_ID": "restricted",
        }
        done = subprocess.run(
            [unshare, "--mount", "sh", "-c", start],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        if said.startswith(("mount:", "unshare:", "setpriv:")):
            pytest.skip(f"no mounts or users on this machine: {said.splitlines()[0]}")
        assert done.returncode == 0, said
        output = json.loads((folder / "outputs" / "output_metadata.json").read_text())
        version = output["parameterValues"]["data_version"]
        assert re.fullmatch(r"[0-9a-f]{32}\.dir", version)
        metadata = output["artifacts"]["raw"]["artifacts"][0]["metadata"]
        assert metadata["data_version"] == version
        assert metadata["trainA"] == 4
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_every_shipped_source_parses_and_imports_nothing_before_it_runs() -> None:
    """KFP ships a function's source alone: names from its module are not there."""
    for name in PIPELINES:
        spec = read_documents(FOLDER / f"{name}.yaml")[0]
        for executor in spec["deploymentSpec"]["executors"].values():
            source = executor["container"]["command"][-1]
            tree = ast.parse(source)
            functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            assert functions and all(not function.decorator_list for function in functions)


def test_fit_tells_what_is_lost() -> None:
    documents = read_documents(FOLDER / "cyclegan.yaml")
    assert fit(documents, VERSIONS[-1]) == []
    assert len(fit(documents, VERSIONS[0])) == 2
    kept = dict(documents[1]["platforms"]["kubernetes"]["pipelineConfig"])
    assert kept["resourceTtl"] > 0
    fit(documents, VERSIONS[0])  # a file that was compiled for an older server, and is sent to it
    assert documents[1]["platforms"]["kubernetes"]["pipelineConfig"] == kept
