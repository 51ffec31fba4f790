"""Both generators into the MLflow model registry, as champion or challenger."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cyclegan.io.files import write_json
from cyclegan.registry.config import RegisterConfig, dataset_name
from cyclegan.registry.decision import (
    Decision,
    Evidence,
    decide,
    passes_gate,
    read_evidence,
)
from cyclegan.registry.results import read_scores
from cyclegan.tracking.database import prepare_database
from cyclegan.tracking.runs import enabled, open_run
from cyclegan.tracking.server import check_server, mlflow_errors

if TYPE_CHECKING:
    from cyclegan.model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What became of a model; written as registration.json."""

    name: str
    passed: bool
    versions: dict[str, str]
    """Version number by direction; empty when nothing was registered."""
    alias: str
    """champion, challenger, or empty when nothing was registered."""
    reason: str
    metric: str
    score: float
    champion_score: float | None
    """Score of the champion it was compared with."""
    run_id: str | None
    new: bool = False
    """Whether the registry got these weights now, rather than having them already."""


def register(model: Path, scores: Path, out: Path, config: RegisterConfig) -> Registration:
    """Register the pair of generators in `model`, judged by `scores`; write the verdict to the file `out`.

    Registering the same weights again makes no new versions of the generators; it renews their scores and the
    verdict. Where nothing is tracked nothing is registered, and the reason says so. Raises UsageError where a
    folder holds no model or no scores, or scores of another model, CycleGANError when the registry can't be
    reached or refuses.
    """
    from cyclegan.model import DIRECTIONS, load_model, weights_digest

    loaded = load_model(model)
    if not config.name:
        data = loaded.config.get("data") or {}
        config = replace(config, name=dataset_name(data.get("uri", ""), data.get("names") or {}))
    evidence = read_evidence(scores, weights_digest(model))
    if not enabled():
        reason = "not registered: MLflow is not installed or switched off"
        unseen = Decision(passed=False, alias="", reason=reason)
        return _conclude(config, evidence, unseen, {}, None, False, out)
    run_id = loaded.config.get("mlflow_run_id")
    with (
        open_run("register", run_id=run_id, name=config.name) as tracker,
        mlflow_errors("The model registry {} refused"),
    ):
        from mlflow import MlflowClient

        from cyclegan.registry.pairs.promote import promote
        from cyclegan.registry.versions import describe, note_verdict, publish, version_of

        client = MlflowClient()
        tracker.params("register", config)
        versions: dict[str, str] = {}
        known = version_of(client, f"{config.name}-AtoB", evidence.fingerprint)
        if passes_gate(evidence.score, config.max_score, lower_is_better=evidence.lower_is_better):
            tags = _tags(loaded, evidence)
            values = read_scores(scores)
            for direction in DIRECTIONS:
                versions[direction] = publish(
                    client, config.name, direction, loaded, model, tracker.run_id or "", tags, values
                )
            text = describe(loaded, evidence.data_version)
            decision = promote(client, config, evidence, versions, tags, text)
            note_verdict(client, config.name, versions, loaded, tags, values, decision, tracker.run_id or "")
        else:
            decision = decide(evidence, None, config)
        tracker.tags(_run_tags(config.name, versions, decision))
        said = [describe(loaded, evidence.data_version, decision.reason), _cards(config.name, versions)]
        tracker.conclude("\n\n".join(filter(None, said)))
        new = decision.passed and known is None
        return _conclude(config, evidence, decision, versions, tracker.run_id, new, out)


def judge(evidence: Evidence, config: RegisterConfig) -> Decision:
    """What `register` would decide by this evidence now; changes nothing."""
    if not enabled():
        return decide(evidence, None, config)
    check_server()
    with mlflow_errors("The model registry {} refused"):
        from mlflow import MlflowClient

        from cyclegan.registry.pairs.promote import present_champion

        return decide(evidence, present_champion(MlflowClient(), config.name), config)


def champion_data(name: str) -> str | None:
    """The data version of the present champion called `name`; None where there is no champion."""
    check_server()
    prepare_database()
    with mlflow_errors("The model registry {} refused"):
        from mlflow import MlflowClient

        from cyclegan.registry.pairs.promote import present_champion

        champion = present_champion(MlflowClient(), name)
    return champion.data_version if champion else None


def _tags(model: Model, evidence: Evidence) -> dict[str, str]:
    """What the registry keeps with both versions; few, for the UI lists them all beside each version."""
    facts: dict[str, Any] = {
        "score": f"{evidence.score:.6g}",
        "metric": evidence.metric,
        "data_version": evidence.data_version,
        "git_commit": model.config.get("git_commit"),
        "fingerprint": evidence.fingerprint,
        "evidence": evidence.to_json(),  # by which the next candidate is judged
    }
    return {key: str(value) for key, value in facts.items() if value not in (None, "")}


def _run_tags(name: str, versions: dict[str, str], decision: Decision) -> dict[str, str]:
    listed = ", ".join(f"{name}-{direction} v{version}" for direction, version in versions.items())
    return {
        "registered": listed or "no",
        "registered_as": decision.alias or "none",  # the title may move on, and this stays true
        "verdict": decision.reason,
    }


def _cards(name: str, versions: dict[str, str]) -> str:
    """Links to the versions' pages, below the address of the server that shows the run."""
    links = [
        f"[{name}-{direction} version {version}]"
        f"(#/models/{quote(f'{name}-{direction}')}/versions/{version}?workflowType=machine_learning)"
        for direction, version in versions.items()
    ]
    return f"Model cards: {', '.join(links)}." if links else ""


def _conclude(
    config: RegisterConfig,
    evidence: Evidence,
    decision: Decision,
    versions: dict[str, str],
    run_id: str | None,
    new: bool,
    out: Path,
) -> Registration:
    registration = Registration(
        name=config.name,
        passed=decision.passed,
        versions=versions,
        alias=decision.alias,
        reason=decision.reason,
        metric=evidence.metric,
        score=evidence.score,
        champion_score=decision.champion_score,
        run_id=run_id,
        new=new,
    )
    write_json(out, asdict(registration))
    # the pair is a version of `name` with a number of its own, which is that of other weights in a direction
    listed = " and ".join(
        f"{config.name}-{direction} version {number}" for direction, number in versions.items()
    )
    logger.info("%s%s", f"{listed} are {decision.alias}: " if versions else "", decision.reason)
    return registration
