"""Parameters of registering and comparing; imports nothing heavy, so that the command line stays quick."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.io.uri import data_name

DIRECTION = "(AtoB|BtoA)"


def dataset_name(uri: str, names: Mapping[str, str]) -> str:
    """What a dataset is called in MLflow: its experiment, its runs, and by default its registered models.

    By what the domains are called, as `names` has them for "A" and "B", or else by the last part of the URI:
    horses-zebras, maps. A drawn dataset always keeps its own name: city. ASCII letters, digits, _ and -, and
    never the name of a pair's direction.
    """
    domains = [names.get("A", "A"), names.get("B", "B")]
    own = uri.startswith("synthetic:") or domains == ["A", "B"]
    name = data_name(uri) if own else "-".join(domains)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "cyclegan"
    return re.sub(rf"-{DIRECTION}$", r"_\1", name)


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """When a pair of generators enters the model registry, and when it becomes the champion."""

    name: str = ""
    """The registered models are called <name>-AtoB and <name>-BtoA; empty: the dataset's name."""
    max_score: float = 0.0
    """Gate: models with a score above this are not registered; 0: no gate."""
    rule: Literal["better", "certain"] = "better"
    """To become champion: a better score is enough, or the two 95 % intervals must not overlap either."""
    force: bool = False
    """Make it the champion whatever the comparison says, for instance after a change of data; the gate
    still applies."""

    def __post_init__(self) -> None:
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_ -]*", self.name):
            raise UsageError(
                f"register: name = {self.name!r}: letters, digits, spaces, _ and - are allowed, a letter or "
                "digit first."
            )
        if direction := re.search(rf"-{DIRECTION}$", self.name):
            pair = self.name.removesuffix(direction[0])
            raise UsageError(
                f"register: name = {self.name!r} is that of a direction of the pair {pair!r}: use a name "
                "that does not end in -AtoB or -BtoA."
            )
        if not 0 <= self.max_score < float("inf"):
            raise UsageError(f"register: max_score = {self.max_score}: 0 (no gate) or more is needed.")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which runs are compared, besides those named."""

    data_version: str = ""
    """Compare the runs on this data version, the best first; those scored by another measure come last."""
    count: int = 6
    """At most this many runs."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"compare: count = {self.count}: at least 1 is needed.")
