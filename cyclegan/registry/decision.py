"""Whether a model is registered and whether it becomes the champion: plain values in, a verdict out."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.results import measure_of, read_facts, read_scores


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known about how good a model is, and by which measure."""

    score: float
    metric: str
    """What the score is, by name: two scores compare only where it is the same."""
    data_version: str
    extractor: str = ""
    """Name and hash of the feature extractor behind the score."""
    protocol: str = ""
    """Which images, how many, how they were read: whatever else decides the number."""
    lower_is_better: bool = True
    interval: tuple[float, float] | None = None
    """95 % interval of the score."""
    fingerprint: str = ""
    """Hash of the weights: shows whether two pieces of evidence are about the same model."""

    def to_json(self) -> str:
        """All of it, to the last digit, as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """The reverse of `to_json`. Raises ValueError for other texts."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_json(text, strict=True)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict on a candidate."""

    passed: bool
    """Whether it is registered at all."""
    alias: Literal["champion", "challenger", ""]
    reason: str
    champion_score: float | None = None
    """Score of the champion it was compared with, where there is one and the scores compare."""


def passes_gate(score: float, max_score: float, *, lower_is_better: bool = True) -> bool:
    """Whether a score is good enough to be registered at all; a `max_score` of 0 disables the gate.

    A score that is not a finite number never passes.
    """
    if not math.isfinite(score):
        return False
    if not max_score:
        return True
    return score <= max_score if lower_is_better else score >= max_score


def decide(candidate: Evidence, champion: Evidence | None, config: RegisterConfig) -> Decision:
    """Judge a candidate against the gate, and against the present champion where there is one.

    Raises UsageError where the candidate's score or interval is not finite: no comparison would hold.
    """
    if not all(map(math.isfinite, (candidate.score, *(candidate.interval or ())))):
        raise UsageError(f"{candidate.metric} {candidate.score} is not a finite number; evaluate again.")
    score = f"{candidate.metric} {candidate.score:.4g}"
    if not passes_gate(candidate.score, config.max_score, lower_is_better=candidate.lower_is_better):
        side = "above" if candidate.lower_is_better else "below"
        reason = f"not registered: {score} is {side} the gate {config.max_score:.4g}"
        return Decision(passed=False, alias="", reason=reason)
    if champion is None:
        return Decision(passed=True, alias="champion", reason=f"{score}, and there was no champion before")
    if candidate.fingerprint and candidate.fingerprint == champion.fingerprint:
        reason = f"{score}; this model is the champion already"
        return Decision(passed=True, alias="champion", reason=reason, champion_score=champion.score)
    if champion.metric == candidate.metric and not math.isfinite(champion.score):
        return Decision(
            passed=True, alias="champion", reason=f"{score}, and the champion's score is not a number"
        )
    if obstacle := _incomparable(candidate, champion):
        if config.force:
            reason = f"{score}, made champion by force though the scores do not compare: {obstacle}"
            return Decision(passed=True, alias="champion", reason=reason)
        reason = f"{score} does not compare with the champion's: {obstacle}"
        return Decision(passed=True, alias="challenger", reason=reason)
    better, comparison = _compare(candidate, champion, config)
    if config.force and not better:
        better, comparison = True, f"{comparison}; made champion by force"
    return Decision(
        passed=True,
        alias="champion" if better else "challenger",
        reason=f"{score} {comparison}",
        champion_score=champion.score,
    )


def _incomparable(a: Evidence, b: Evidence) -> str:
    """Why two scores cannot be compared; empty where they can."""
    if a.data_version != b.data_version:
        return f"data version {a.data_version} against {b.data_version}"
    if a.metric != b.metric:
        return f"{a.metric} against {b.metric}"
    if a.extractor != b.extractor:
        return f"features of {a.extractor or 'no extractor'} against {b.extractor or 'no extractor'}"
    if a.protocol != b.protocol:
        return f"protocol {a.protocol} against {b.protocol}"
    return ""


def _compare(candidate: Evidence, champion: Evidence, config: RegisterConfig) -> tuple[bool, str]:
    sign = 1.0 if candidate.lower_is_better else -1.0
    better = sign * candidate.score < sign * champion.score
    against = f"the champion's {champion.score:.4g}"
    if not better:
        return False, f"is not better than {against}"
    if config.rule == "better":
        return True, f"is better than {against}"
    if candidate.interval is None or champion.interval is None:
        return False, f"is better than {against}, but without intervals that is not certain"
    worst = max(sign * end for end in candidate.interval)
    best = min(sign * end for end in champion.interval)
    if worst < best:
        return True, f"is better than {against}, and the intervals do not overlap"
    return False, f"is better than {against}, but the intervals overlap"


def read_evidence(scores: Path, fingerprint: str = "") -> Evidence:
    """The evidence that `evaluate` wrote: the headline of evaluation.json and its value in scores.json.

    Raises UsageError where the folder holds no scores, or those of a model other than the one whose weights
    have the digest `fingerprint`.
    """
    values, facts = read_scores(scores), read_facts(scores)
    try:
        metric = facts["headline"]
        measure = measure_of(facts)
        interval = (facts.get("intervals") or {}).get(metric if metric in values else "score")
        evidence = Evidence(
            score=values[metric] if metric in values else values["score"],
            metric=metric,
            data_version=facts["data_version"],
            extractor=measure.extractor,
            protocol=", ".join(f"{key} {value}" for key, value in measure.protocol),
            lower_is_better=facts.get("lower_is_better", True),
            interval=(interval[0], interval[1]) if interval else None,
            fingerprint=fingerprint or str(facts.get("model_digest") or ""),
        )
        judged = facts["model_digest"] if fingerprint else ""
    except KeyError as error:
        raise UsageError(f"The scores in {scores} lack {error}; evaluate again.") from None
    if judged != fingerprint:
        raise UsageError(f"The scores in {scores} belong to a different model; evaluate this one first.")
    return evidence
