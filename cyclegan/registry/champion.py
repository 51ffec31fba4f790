"""The scores of the model to beat, for the report: from a scores folder or from the model registry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.registry.results import measure_of, read_facts, read_scores

REGISTRY = "models:/"


@dataclass(frozen=True)
class Champion:
    """Scores of another model where they compare with ours, and what they say about ours."""

    verdict: str
    scores: dict[str, float] = field(default_factory=dict)
    """Empty where they don't compare."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def find_champion(address: str, scores: Path) -> Champion | None:
    """The champion at `address`, compared with the scores in folder `scores`.

    `address` is a scores folder, or models:/<name> for the champion of registered models. None where it is
    empty, or where there is no champion yet. Raises UsageError for a folder without scores, CycleGANError
    where the registry can't be reached.
    """
    if not address:
        return None
    if address.startswith(REGISTRY):
        return _from_registry(address.removeprefix(REGISTRY).partition("@")[0], scores)
    return _from_folder(Path(address), scores)


def _from_registry(name: str, scores: Path) -> Champion | None:
    from cyclegan.registry.config import DIRECTION, RegisterConfig
    from cyclegan.registry.decision import read_evidence
    from cyclegan.registry.register import judge

    name = re.sub(rf"-{DIRECTION}$", "", name)  # a pair is judged as a whole
    if not name:
        raise UsageError("champion = models:/ names no model: write models:/NAME.")
    evidence = read_evidence(scores)
    decision = judge(evidence, RegisterConfig(name=name))
    verdict = decision.reason.replace(f"{evidence.metric} ", "score ", 1)  # for people
    if decision.champion_score is not None:
        return Champion(verdict, {"score": decision.champion_score})
    return None if decision.alias == "champion" else Champion(verdict)


def _from_folder(folder: Path, scores: Path) -> Champion:
    try:
        theirs, about = read_scores(folder), read_facts(folder)
    except UsageError as error:
        raise UsageError(f"champion = {folder}: {error}") from None
    ours, about_ours = read_scores(scores), read_facts(scores)
    if measure_of(about) != measure_of(about_ours):
        return Champion("evaluated on different data or with another protocol: the scores are not comparable")
    if "score" not in theirs or "score" not in ours:
        missing = folder if "score" not in theirs else scores
        raise UsageError(f"champion = {folder}: the scores in {missing} lack 'score'; evaluate again.")
    intervals = {name: (ends[0], ends[1]) for name, ends in (about.get("intervals") or {}).items()}
    low, high = (about_ours.get("intervals") or {}).get("score") or [ours["score"]] * 2
    their_low, their_high = intervals.get("score", (theirs["score"],) * 2)
    if high < their_low:
        verdict = "this model is better, and the intervals do not overlap"
    elif low > their_high:
        verdict = "this model is worse, and the intervals do not overlap"
    else:
        verdict = "no significant difference: the 95 % intervals overlap"
    return Champion(verdict, theirs, intervals)
