"""What lies in deploy/ and compose.yaml: whole, pinned, without secrets, and in step with the pipelines."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.placement import CONFIG_MAP, SECRETS, SETTINGS

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
