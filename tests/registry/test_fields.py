"""Every parameter of registering and comparing changes what it says it changes, as seen from the step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cyclegan.registry import compare as comparing
from cyclegan.registry import register as step
from cyclegan.registry import versions
from cyclegan.registry.compare import compare
from cyclegan.registry.compared import Compared
from cyclegan.registry.config import CompareConfig, RegisterConfig
from cyclegan.registry.decision import Decision, Evidence, read_evidence
from cyclegan.registry.pairs import promote as promotion
from cyclegan.registry.register import Registration
from cyclegan.registry.results import Measure
from cyclegan.tracking.base import Tracker


@dataclass
class Registry:
    """A registry that notes what it is given; the champion's evidence is `champion`."""

    folder: Path
    make_model: Callable[..., tuple[Path, Path]]
    champion: Evidence | None = None
    published: list[str] = field(default_factory=list)
    appointed: list[tuple[str, str]] = field(default_factory=list)

    def register(self, score: float = 5.0, **changes: Any) -> Registration:
        model, scores = self.make_model(0, score)
        found = step.register(model, scores, self.folder / "r.json", RegisterConfig(**changes))
        assert json.loads((self.folder / "r.json").read_text())["alias"] == found.alias
        return found

    def judge(self, score: float = 5.0, **changes: Any) -> Decision:
        _, scores = self.make_model(0, score)
        return step.judge(read_evidence(scores), RegisterConfig(name="x", **changes))

    def titles(self, score: float, **changes: Any) -> set[str]:
        """What a model of this score becomes, and what is foretold of it: one alias where both agree."""
        return {self.register(score, **changes).alias, self.judge(score, **changes).alias}

    def crown(self, score: float) -> None:
        """Let another model have the title."""
        _, scores = self.make_model(1, score)
        self.champion = replace(read_evidence(scores), fingerprint="another")


@pytest.fixture
def registry(
    tmp_path: Path, make_model: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> Registry:
    import mlflow

    found = Registry(tmp_path, make_model)

    def publish(client: object, name: str, direction: str, *rest: object) -> str:
        found.published.append(f"{name}-{direction}")
        return "1"

    @contextmanager
    def turn(*args: object) -> Iterator[Callable[[str], None]]:
        yield lambda alias: None

    def appoint(client: object, name: str, ticket: str, alias: str, *held: object) -> None:
        found.appointed.append((name, alias))

    client = SimpleNamespace(set_model_version_tag=lambda *args: None)
    for place, name, value in (
        (mlflow, "MlflowClient", lambda: client),
        (step, "enabled", lambda: True),
        (step, "check_server", lambda: None),
        (step, "open_run", lambda *args, **kwargs: nullcontext(Tracker())),
        (versions, "publish", publish),
        (versions, "note_verdict", lambda *args: None),
        (versions, "version_of", lambda *args: None),
        (promotion, "take_ticket", lambda *args: "1"),
        (promotion, "turn", turn),
        (promotion, "repair", lambda *args: None),
        (promotion, "_appoint", appoint),
        (promotion, "_champion_of", lambda *args: found.champion),
        (promotion, "version_by_alias", lambda *args: None),
    ):
        monkeypatch.setattr(place, name, value)
    return found


def name(registry: Registry) -> None:
    for changes, expected in (({}, "city"), ({"name": "my maps"}, "my maps")):
        registry.published.clear()
        registry.appointed.clear()
        assert registry.register(**changes).name == expected
        assert registry.published == [f"{expected}-AtoB", f"{expected}-BtoA"]
        assert registry.appointed == [(expected, "champion")]


def gate(registry: Registry) -> None:
    assert registry.register(5.0).passed
    assert registry.register(5.0, max_score=5.0).passed
    registry.published.clear()
    refused = registry.register(5.0, max_score=4.9)
    assert (refused.passed, refused.alias, refused.versions) == (False, "", {})
    assert not registry.published
    assert not registry.judge(5.0, max_score=4.9).passed


def rule(registry: Registry) -> None:
    registry.crown(5.0)  # scores have intervals of ±0.5
    assert registry.titles(4.5) == {"champion"}
    assert registry.titles(4.5, rule="certain") == {"challenger"}
    assert registry.titles(3.5, rule="certain") == {"champion"}


def force(registry: Registry) -> None:
    registry.crown(5.0)
    assert registry.titles(6.0) == {"challenger"}
    assert registry.titles(6.0, force=True) == {"champion"}
    assert registry.titles(6.0, force=True, max_score=5.5) == {""}


EFFECTS: dict[str, Callable[[Registry], None]] = {
    "name": name,
    "max_score": gate,
    "rule": rule,
    "force": force,
}


def test_no_field_is_without_a_test_of_what_it_does() -> None:
    assert {one.name for one in fields(RegisterConfig)} == EFFECTS.keys()


@pytest.mark.parametrize("field", EFFECTS)
def test_a_field_changes_what_it_says(field: str, registry: Registry) -> None:
    EFFECTS[field](registry)


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Which of nine runs a comparison shows: those of data version v have scores 0 to 8, the best first."""
    import mlflow

    def run(name: str) -> Any:
        return SimpleNamespace(
            info=SimpleNamespace(run_id=name), data=SimpleNamespace(metrics={"score": float(name)})
        )

    def search(*, filter_string: str, **rest: object) -> list[Any]:
        return [run(str(i)) for i in range(9)] if filter_string.endswith("= 'v'") else []

    def read(found: Any) -> Compared:
        return Compared(
            run_id=found.info.run_id,
            name=found.info.run_id,
            url=None,
            measure=Measure(),
            facts={},
            scores=found.data.metrics,
            intervals={},
            params={},
            pictures={},
        )

    for place, name, value in (
        (mlflow, "search_runs", search),
        (comparing, "enabled", lambda: True),
        (comparing, "check_server", lambda: None),
        (comparing, "_find", run),
        (comparing, "_read", read),
        (comparing, "_measure", lambda found: Measure()),
        (comparing, "_write_page", lambda *args: None),
    ):
        monkeypatch.setattr(place, name, value)

    def shown(*runs: str, **changes: Any) -> list[str]:
        text = compare(runs, tmp_path / "page.html", CompareConfig(**changes))
        return [word.strip("()") for word in text.splitlines()[0].split() if word.startswith("(")]

    return shown


def data_version(compared: Callable[..., list[str]]) -> None:
    assert compared("7") == ["7"]
    assert compared("7", data_version="v") == ["7", "0", "1", "2", "3", "4"]
    assert compared("7", data_version="w") == ["7"]


def count(compared: Callable[..., list[str]]) -> None:
    assert compared("7", "1", data_version="v", count=3) == ["7", "1", "0"]
    assert compared(data_version="v", count=8) == list("01234567")
    assert compared("7", "1", count=1) == ["7"]


COMPARE: dict[str, Callable[[Callable[..., list[str]]], None]] = {
    "data_version": data_version,
    "count": count,
}


def test_no_field_of_comparing_is_without_a_test_of_what_it_does() -> None:
    assert {one.name for one in fields(CompareConfig)} == COMPARE.keys()


@pytest.mark.parametrize("field", COMPARE)
def test_a_field_of_comparing_changes_what_it_says(field: str, compared: Callable[..., list[str]]) -> None:
    COMPARE[field](compared)
