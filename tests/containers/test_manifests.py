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


def test_every_image_has_a_version() -> None:
    services = _documents(ROOT / "compose.yaml")[0]["services"]
    for service in services.values():
        assert re.search(r":\d[\w.-]+$", service["image"])
    tags = {
        image["name"]: image["newTag"]
        for image in _documents(DEPLOY / "mlflow/kustomization.yaml")[0]["images"]
    }
    assert all(re.match(r"\d", tag) for tag in tags.values())
    assert f"cyclegan-mlflow:{tags['cyclegan-mlflow']}" == services["mlflow"]["image"]
    assert f"mlflow[auth]=={tags['cyclegan-mlflow']}" in (DEPLOY / "mlflow/Dockerfile").read_text()
    assert f"mlflow=={tags['cyclegan-mlflow']}" in (ROOT / "requirements.lock").read_text()


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
                assert re.search(r":\d[\w.-]+$", container["image"])
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
    assert f"mlflow[auth]=={versions['MLFLOW_VERSION']}" in (DEPLOY / "mlflow/Dockerfile").read_text()
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
