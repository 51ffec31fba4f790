"""The scores of the model to beat, for the report: from a scores folder or from the model registry."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.files import read_json

logger = logging.getLogger(__name__)

REGISTRY = "models:/"


@dataclass(frozen=True)
class Champion:
    """Scores of another model, and what they must share with ours to be compared."""

    extractor: str
    """Name and sha256 of the feature extractor, a space between."""
    data_version: str
    scores: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def comparable(self, extractor: str, data_version: str) -> bool:
        """Whether the same extractor looked at the same data."""
        return (self.extractor, self.data_version) == (extractor, data_version)


def find_champion(address: str) -> Champion | None:
    """The champion at `address`: a scores folder, or models:/<name> for that of registered models.

    None where `address` is empty, nothing is tracked, or no model is champion yet. Raises UsageError for a
    folder without scores.
    """
    if not address:
        return None
    if address.startswith(REGISTRY):
        return _from_registry(address.removeprefix(REGISTRY).partition("@")[0])
    folder = Path(address)
    try:
        scores, details = (read_json(folder / f"{name}.json") for name in ("scores", "evaluation"))
        extractor = details["extractor"]
        return Champion(
            f"{extractor['name']} {extractor['sha256']}",
            details["data_version"],
            scores,
            {name: (low, high) for name, (low, high) in details["intervals"].items()},
        )
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"champion = {address}: there are no scores.json and evaluation.json there."
        ) from None


def _from_registry(name: str) -> Champion | None:
    from cyclegan import tracking

    if not tracking.enabled():
        return None
    tracking.check_server()
    from mlflow import MlflowClient

    from cyclegan.registry.promote import present_champion

    evidence = present_champion(MlflowClient(), name)
    if evidence is None:
        logger.info("There is no champion of %s to compare with yet.", name)
        return None
    intervals = {"score": evidence.interval} if evidence.interval else {}
    return Champion(evidence.extractor, evidence.data_version, {"score": evidence.score}, intervals)
