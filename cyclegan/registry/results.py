"""scores.json and evaluation.json, read and checked: what `evaluate` wrote, or one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import TypedDict

from cyclegan.errors import UsageError
from cyclegan.io.files import parse_json, read_json, refuse_newer

FORMAT = 1
"""Of evaluation.json; a file without one was written before formats were numbered."""


class Extractor(TypedDict, total=False):
    """The feature extractor behind the distances."""

    name: str
    features: int
    sha256: str


class Sample(TypedDict):
    """A test image that is shown."""

    name: str
    files: dict[str, str]
    """Name of the file by what it is: input, translation, …"""


class Facts(TypedDict, total=False):
    """Those fields of evaluation.json that are read again; older versions wrote fewer."""

    format: int
    headline: str
    """Name of the score that models are ranked by."""
    lower_is_better: bool
    intervals: dict[str, list[float]]
    """Lower and upper end by score."""
    extractor: Extractor | None
    protocol: dict[str, Any]
    """What else decides the number, by name."""
    model_digest: str
    data_version: str
    names: dict[str, str]
    """What domain A and B are called."""
    samples: dict[str, list[Sample]]
    """By direction."""
    mlflow_run_id: str | None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What decides scores besides the model: those of two models compare where it is the same."""

    data_version: str = ""
    extractor: str = ""
    """Name and hash of the feature extractor behind the distances."""
    protocol: tuple[tuple[str, str], ...] = ()
    """Which images, how many, how they were read: name and value of whatever else decides the numbers."""


def measure_of(facts: Facts) -> Measure:
    """The measure behind scores by what is known about them; empty where nothing is."""
    extractor = facts.get("extractor") or {}
    return Measure(
        data_version=facts.get("data_version", ""),
        extractor=" ".join(part for key in ("name", "sha256") if (part := str(extractor.get(key) or ""))),
        protocol=tuple((key, str(value)) for key, value in sorted((facts.get("protocol") or {}).items())),
    )


def read_scores(scores: Path) -> dict[str, float]:
    """Name to value of what `evaluate` measured, all finite. Raises UsageError for anything else."""
    return check_scores(_read(scores, "scores.json"), str(scores / "scores.json"))


def read_facts(scores: Path) -> Facts:
    """The content of evaluation.json in a scores folder. Raises UsageError for anything else."""
    return check_facts(_read(scores, "evaluation.json"), str(scores / "evaluation.json"))


def check_scores(values: Any, where: str) -> dict[str, float]:
    """The values as scores; `where` names their file in the UsageError for anything else."""
    if not isinstance(values, dict):
        raise UsageError(f"{where} is damaged: it does not contain an object; evaluate again.")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            shown = (
                f"{value!r}"[:40] if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
            )
            raise UsageError(f"{where}: {name[:80]!r} is {shown}, not a finite number; evaluate again.")
    return {name: float(value) for name, value in values.items()}


def check_facts(values: Any, where: str) -> Facts:
    """The values as the content of evaluation.json; UsageError for anything else, a newer format included."""
    from pydantic import Strict, TypeAdapter, ValidationError

    refuse_newer(values, FORMAT, where, "evaluate again")
    try:
        facts: Facts = TypeAdapter(Annotated[Facts, Strict()]).validate_python(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part)[:40] for part in first["loc"])
        what = f"{name}: {first['msg']}" if name else "it does not contain an object"
        raise UsageError(f"{where} is damaged: {what}; evaluate again.") from None
    for name, ends in (facts.get("intervals") or {}).items():
        if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] > ends[1]:
            raise UsageError(f"{where} is damaged: the interval of {name[:80]!r} is none; evaluate again.")
    return facts


def parse_facts(text: str, where: str) -> Facts:
    """The content of an evaluation.json from elsewhere, such as a run's artifact, as `check_facts`."""
    return check_facts(_parse(text, where), where)


def parse_scores(text: str, where: str) -> dict[str, float]:
    """The content of a scores.json from elsewhere, as `check_scores`."""
    return check_scores(_parse(text, where), where)


def _parse(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        raise UsageError(f"{where} is damaged: no valid JSON; evaluate again.") from None


def _read(scores: Path, name: str) -> Any:
    try:
        return read_json(scores / name)
    except FileNotFoundError:
        raise UsageError(f"There are no scores in {scores}: {name} is missing; evaluate first.") from None
    except OSError as error:
        raise UsageError(f"Cannot read {scores / name}: {error.strerror}.") from None
    except ValueError:
        raise UsageError(
            f"The scores in {scores} are damaged: {name} is not valid JSON; evaluate again."
        ) from None


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond what a float holds
        return False
