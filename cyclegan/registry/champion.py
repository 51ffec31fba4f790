"""The scores of the model to beat, for the report: from a scores folder or from the model registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclegan.errors import UsageError
from cyclegan.io.files import read_json

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
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.register import judge

    if not name:
        raise UsageError("champion = models:/ names no model: write models:/NAME.")
    decision = judge(scores, RegisterConfig(name=name))
    metric = read_json(scores / "evaluation.json")["headline"]
    verdict = decision.reason.replace(f"{metric} ", "score ", 1)  # for people
    if decision.champion_score is not None:
        return Champion(verdict, {"score": decision.champion_score})
    return None if decision.alias == "champion" else Champion(verdict)


def _from_folder(folder: Path, scores: Path) -> Champion:
    try:
        theirs, about = _read(folder)
    except (OSError, ValueError):
        raise UsageError(
            f"champion = {folder}: there are no scores.json and evaluation.json there."
        ) from None
    ours, about_ours = _read(scores)
    if any(about.get(key) != about_ours[key] for key in ("extractor", "data_version", "protocol")):
        return Champion("evaluated on different data or with another protocol: the scores are not comparable")
    intervals = {name: (low, high) for name, (low, high) in about["intervals"].items()}
    low, high = about_ours["intervals"].get("score", [ours["score"]] * 2)
    their_low, their_high = intervals.get("score", (theirs["score"],) * 2)
    if high < their_low:
        verdict = "this model is better, and the intervals do not overlap"
    elif low > their_high:
        verdict = "this model is worse, and the intervals do not overlap"
    else:
        verdict = "no significant difference: the 95 % intervals overlap"
    return Champion(verdict, theirs, intervals)


def _read(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    return read_json(folder / "scores.json"), read_json(folder / "evaluation.json")
