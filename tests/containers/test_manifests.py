"""What lies in deploy/ and compose.yaml: whole, pinned, without secrets, and in step with the pipelines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.compiled.backends import VERSIONS
from pipeline.placement import CONFIG_MAP, LABEL, SECRETS, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def _documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def test_secrets_are_templates_of_what_the_tasks_ask_for() -> None:
    secrets = {
        d["metadata"]["name"]: d["stringData"] for d in _documents(DEPLOY / "steps/secrets.example.yaml")
    }
    assert {name: tuple(keys) for name, keys in secrets.items()} == SECRETS
    for file in DEPLOY.rglob("*.yaml"):
        for document in _documents(file):
            if document.get("kind") == "Secret":
                assert file.name == "secrets.example.yaml"
                for value in document["stringData"].values():
                    assert "CHANGE-ME" in value
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {"secrets.yaml", ".env"} <= set(ignored)


def test_settings_are_those_that_the_tasks_read() -> None:
    lines = (DEPLOY / "steps/settings.env").read_text().split()
    assert {line.partition("=")[0] for line in lines} <= set(SETTINGS)
    generator = _documents(DEPLOY / "steps/kustomization.yaml")[0]["configMapGenerator"]
    assert [entry["name"] for entry in generator] == [CONFIG_MAP]


DIGEST = r"@sha256:[0-9a-f]{64}"


def test_every_image_has_a_version_and_those_of_others_a_digest() -> None:
    services = _documents(ROOT / "compose.yaml")[0]["services"]
    for service in services.values():
        assert re.search(rf":\d[\w.-]+({DIGEST})?$", service["image"])
        assert "build" in service or "@" in service["image"]
    images = {image["name"]: image for image in _documents(DEPLOY / "mlflow/kustomization.yaml")[0]["images"]}
    assert all(re.match(r"\d", image["newTag"]) for image in images.values())
    postgres = images["docker.io/library/postgres"]
    assert "{name}:{newTag}@{digest}".format(**postgres) == services["postgres"]["image"]
    version = images["cyclegan-mlflow"]["newTag"]
    assert f"cyclegan-mlflow:{version}" == services["mlflow"]["image"]
    for file in (DEPLOY / "mlflow/requirements.lock", ROOT / "requirements.lock"):
        assert f"\nmlflow=={version} " in file.read_text()
    assert re.search(rf"^NODE_IMAGE=.*{DIGEST}$", (DEPLOY / "cluster/versions.env").read_text(), re.MULTILINE)


def test_what_images_are_built_from_is_pinned_by_digest_and_hashes() -> None:
    bases = set()
    for file in ("Dockerfile", "deploy/mlflow/Dockerfile"):
        lines = (ROOT / file).read_text().splitlines()
        bases |= {line.partition("=")[2] for line in lines if line.startswith("ARG BASE=")}
        sources = {line.split()[1] for line in lines if line.startswith("FROM ")}
        assert sources <= {"${BASE}", "dependencies"}
    (base,) = bases
    assert re.fullmatch(rf"docker\.io/library/python:3\.11\.\d+-slim-bookworm{DIGEST}", base)
    assert f"BASE ?= {base}\n" in (ROOT / "Makefile").read_text()
    for file in ("Dockerfile", "deploy/mlflow/Dockerfile", "Makefile"):
        lines = (ROOT / file).read_text().replace("\\\n", " ")
        installs = re.findall(r"\bpip install [^;&\n]*", lines)
        assert installs
        for command in installs:
            known = (
                "--require-hashes",
                "--constraint",
                "--no-deps",
                "--resolution lowest",
                "torch",
                "TORCH",
            )
            assert any(word in command for word in known), command
        for command in re.findall(r"\b(?:uv|UV\)) build [^;&\n]*|\bpip install [^;&\n]*--editable", lines):
            assert re.search(r"--build-constraints requirements-uv\.lock|\$\(BUILD_PINS\)", command), command


def test_actions_are_pinned_by_commit() -> None:
    for file in (ROOT / ".github/workflows").glob("*.yaml"):
        for use in re.findall(r"uses: (\S+)", file.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", use), use


def test_the_server_admits_exact_hosts_with_their_ports() -> None:
    for file in (ROOT / "compose.yaml", DEPLOY / "mlflow/mlflow.yaml"):
        (hosts,) = re.findall(r"--allowed-hosts=(\S+)", file.read_text())
        assert all(re.fullmatch(r"[a-z0-9.]+:5000", host) for host in hosts.split(","))


SECRET_NAMES = (
    "POSTGRES_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_BASIC_AUTH_INI",
)


@pytest.mark.parametrize("forgotten", ["", *SECRET_NAMES])
def test_nothing_starts_with_a_secret_of_the_example(forgotten: str, tmp_path: Path) -> None:
    secrets = dict.fromkeys(SECRET_NAMES, "filled-in")
    if forgotten:
        secrets[forgotten] = "admin_password = CHANGE-ME-12-CHARS"
    (tmp_path / "auth.ini").write_text(secrets["MLFLOW_BASIC_AUTH_INI"])
    (tmp_path / "mlflow").write_text('#!/bin/sh\necho "started $*"\n')
    (tmp_path / "mlflow").chmod(0o755)
    variables = secrets | {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
    }
    del variables["MLFLOW_BASIC_AUTH_INI"]
    services = _documents(ROOT / "compose.yaml")[0]["services"]
    check = services["secrets-are-filled-in"]
    assert set(check["environment"]) == set(SECRET_NAMES)
    (pod,) = [d for d in _documents(DEPLOY / "mlflow/postgres.yaml") if d["kind"] == "StatefulSet"]
    (first,) = pod["spec"]["template"]["spec"]["initContainers"]
    commands = {
        "image": ([str(DEPLOY / "mlflow/start.sh"), "--port=5000"], variables),
        "compose": ([*check["command"]], secrets | {"PATH": variables["PATH"]}),
        "postgres": ([*first["command"], *first["args"]], variables),
    }
    for name, (command, environment) in commands.items():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        refuses = bool(forgotten) and (name != "postgres" or forgotten == "POSTGRES_PASSWORD")
        assert (done.returncode == 1) == refuses, (name, done)
        assert ("CHANGE-ME" in done.stderr) == refuses
        assert "12-CHARS" not in done.stdout + done.stderr
        if refuses and forgotten != "MLFLOW_BASIC_AUTH_INI":
            assert forgotten in done.stdout + done.stderr
        assert (done.stdout == "started server --port=5000\n") == (name == "image" and not refuses)
    for name in ("postgres", "s3"):
        assert services[name]["depends_on"]["secrets-are-filled-in"] == {
            "condition": "service_completed_successfully"
        }


def test_pictures_come_from_named_namespaces_alone() -> None:
    documents = _documents(DEPLOY / "serving/inference-service.yaml")
    (policy,) = [d for d in documents if d["kind"] == "NetworkPolicy"]
    for rule in policy["spec"]["ingress"]:
        assert rule["from"]
        for source in rule["from"]:
            (selector,) = source.values()
            assert selector or "podSelector" in source  # an empty one admits every namespace


def _pods() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """By name of what makes it, each pod of deploy/ and its containers."""
    found = {}
    for file in DEPLOY.rglob("*.yaml"):
        for document in _documents(file):
            if document.get("kind") in {"Deployment", "StatefulSet"}:
                pod = document["spec"]["template"]["spec"]
            elif document.get("kind") == "InferenceService":
                pod = document["spec"]["predictor"]
            elif document.get("kind") == "TrainJob":
                (patch,) = document["spec"]["runtimePatches"]
                (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
                pod = job["template"]["spec"]["template"]["spec"]
            else:
                continue
            found[document["kind"]] = pod, pod["containers"] + pod.get("initContainers", [])
    return found


def test_every_pod_is_confined() -> None:
    pods = _pods()
    assert set(pods) == {"Deployment", "StatefulSet", "InferenceService", "TrainJob"}
    for pod, containers in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_image_has_what_steps_import_and_not_dvc() -> None:
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    defined = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"fid", "mlflow", "s3", "heif", "tiff"} <= set(extras.split()) <= set(defined)
    # extras may include others by the project's own name
    installed, open_ = set[str](), extras.split()
    while open_:
        installed.add(extra := open_.pop())
        included = re.findall(r"cyclegan-pipeline\[([\w,]+)\]", " ".join(defined[extra]))
        open_ += [name for names in included for name in names.split(",") if name not in installed]
    packages = {re.split(r"[\[>=<]", package)[0] for extra in installed for package in defined[extra]}
    assert not {"dvc", "kfp", "gradio"} & packages


def _built(overlay: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl, whose kustomize builds the overlays, is not installed")
    command = [kubectl, "kustomize", str(DEPLOY / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(built.stdout))


@pytest.mark.parametrize("overlay", ["kind", "gpu"])
def test_the_overlays_build_and_keep_the_rules_for_pods(overlay: str) -> None:
    kinds = {(d["kind"], d["metadata"]["name"]): d for d in _built(overlay)}
    assert ("NetworkPolicy", "default-deny") in kinds
    assert kinds["ConfigMap", CONFIG_MAP]["metadata"]["namespace"] == "kubeflow"
    for (kind, name), document in kinds.items():
        assert kind != "Secret", name
        if kind in {"Deployment", "StatefulSet"}:
            pod = document["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["automountServiceAccountToken"] is False
            for container in pod["containers"]:
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert container["resources"]["limits"]["memory"]
                assert re.search(rf":\d[\w.-]+({DIGEST})?$", container["image"])
        if kind == "Role":
            assert all("*" not in rule["verbs"] + rule["resources"] for rule in document["rules"])


@pytest.mark.parametrize("overlay", ["kind", "gpu"])
def test_the_overlays_fit_the_schemas_of_kubernetes(overlay: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in _built(overlay):
        if "kserve" not in document["apiVersion"]:  # a custom resource: no schema in that package
            validate.validate(document, "1.37", strict=True)


def test_our_network_policy_selects_our_pods_alone_and_identities_stay_reachable() -> None:
    kinds = {(d["kind"], d["metadata"]["name"]): d for d in _built("kind")}
    policy = kinds["NetworkPolicy", "cyclegan-steps"]
    assert policy["spec"]["podSelector"] == {"matchLabels": {LABEL: "true"}}
    blocks = [
        to["ipBlock"]["cidr"]
        for rule in policy["spec"]["egress"]
        for to in rule.get("to", [])
        if "ipBlock" in to
    ]
    assert {"169.254.169.254/32", "169.254.170.23/32"} <= set(blocks)


@pytest.mark.parametrize("overlay", ["kind", "gpu"])
def test_the_object_stores_network_policy_admits_our_namespace(overlay: str) -> None:
    (namespace,) = [d for d in _built(overlay) if d["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["app.kubernetes.io/part-of"] == "kubeflow-profile"


def test_nothing_names_the_store_that_kfp_no_longer_has() -> None:
    files = [*DEPLOY.rglob("*"), *(ROOT / "docs").glob("*.md"), ROOT / "compose.yaml"]
    named = [
        f
        for f in files
        if f.is_file() and f.suffix in {".yaml", ".env", ".md"} and "minio-service" in f.read_text()
    ]
    assert named == []


def test_checksum_headers_are_a_setting_of_every_s3_client() -> None:
    wanted = {"AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"}
    services = _documents(ROOT / "compose.yaml")[0]["services"]
    for name in ("mlflow", "buckets"):
        assert {services[name]["environment"][key] for key in wanted} == {"when_required"}
    (config,) = [d for d in _documents(DEPLOY / "mlflow/mlflow.yaml") if d["kind"] == "ConfigMap"]
    assert {config["data"][key] for key in wanted} == {"when_required"}
    lines = (DEPLOY / "steps/settings.env").read_text().split()
    assert {f"{key}=when_required" for key in wanted} <= set(lines)


def test_the_administrators_patches() -> None:
    (patch,) = _documents(DEPLOY / "kfp/retry.yaml")
    defaults = yaml.safe_load(patch["data"]["workflowDefaults"])["spec"]
    assert defaults["templateDefaults"]["retryStrategy"]["retryPolicy"] == "Always"
    plugin = json.loads((DEPLOY / "kfp/mlflow-plugin.json").read_text())["plugins"]["mlflow"]
    settings = dict(line.split("=", 1) for line in (DEPLOY / "steps/settings.env").read_text().split())
    assert plugin["endpoint"] == settings["MLFLOW_TRACKING_URI"]
    assert plugin["settings"]["defaultExperimentName"] == settings["MLFLOW_EXPERIMENT_NAME"]


def test_a_cluster_has_its_versions_in_one_place() -> None:
    lines = (DEPLOY / "cluster/versions.env").read_text().splitlines()
    versions = dict(line.split("=", 1) for line in lines if "=" in line)
    assert versions["KFP_VERSION"].startswith(f"{VERSIONS[-1]}.")
    assert f"mlflow[auth]=={versions['MLFLOW_VERSION']}\n" in (DEPLOY / "mlflow/requirements.in").read_text()
    script = (DEPLOY / "cluster/up.sh").read_text()
    assert not [version for version in versions.values() if version in script]


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, "-x", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)
