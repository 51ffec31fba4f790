"""What each version of the backend understands of a compiled file, and the file without the rest.

A server parses the Kubernetes half of a file strictly by its own protos and, where one field is unknown to
it, ignores that whole half without an error: no settings, no secrets, no tolerations. So a file for an older
server must not say what it does not know; tests/pipeline/test_backend_rules.py parses by all protos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cyclegan.errors import UsageError
from pipeline.compiled.documents import Documents

VERSIONS = ("2.15", "2.16", "2.17")
"""Minor versions that files are compiled for; the files in pipeline/ are for the last one."""


@dataclass(frozen=True)
class Feature:
    """Something in a compiled file that older backends do not know."""

    since: str
    lost: str
    """What a run does without."""
    remove: Callable[[dict[str, Any]], None]
    """Takes it out of the Kubernetes half."""


def _remove_limits(kubernetes: dict[str, Any]) -> None:
    config = kubernetes.get("pipelineConfig")
    if config:
        ends = [config.pop(name, 0) for name in ("resourceTtlOnSuccess", "resourceTtlOnFailure")]
        config.pop("activeDeadlineSeconds", None)
        config["resourceTtl"] = max(config.get("resourceTtl", 0), *ends)


def _remove_security(kubernetes: dict[str, Any]) -> None:
    for executor in kubernetes["deploymentSpec"]["executors"].values():
        executor.pop("securityContext", None)


FEATURES = (
    Feature(
        "2.17", "the time limit of a run; failed and finished pods are kept equally long", _remove_limits
    ),
    Feature(
        "2.16", "runAsNonRoot, so namespaces with Pod Security `restricted` refuse the pods", _remove_security
    ),
)
"""What differs between VERSIONS, newest first."""


def parse_version(text: str) -> str:
    """The entry of VERSIONS that speaks for a version such as 2.16.1; newer ones are taken as the newest.

    Raises UsageError for versions that are older than all of them or not versions.
    """
    try:
        wanted = tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        raise UsageError(
            f"'{text}' is not a version of the backend: expected {', '.join(VERSIONS)}."
        ) from None
    known = [version for version in VERSIONS if _numbers(version) <= wanted]
    if len(wanted) != 2 or not known:
        raise UsageError(
            f"Kubeflow Pipelines {text} is not supported: before {VERSIONS[0]} it cannot take optional "
            "settings and secrets, and ignores everything that a file says about Kubernetes."
        )
    return known[-1]


def fit(documents: Documents, backend: str) -> list[str]:
    """Take out of a compiled file what `backend`, one of VERSIONS, does not know; returns what is lost."""
    lost = [feature for feature in FEATURES if _numbers(feature.since) > _numbers(backend)]
    if len(documents) > 1:
        for feature in lost:
            feature.remove(documents[1]["platforms"]["kubernetes"])
    return [feature.lost for feature in lost]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
