"""What many registrations at once ask of the server, by counted requests and a clock of the test's own."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

mlflow = pytest.importorskip("mlflow")

from cyclegan.registry import versions  # noqa: E402
from cyclegan.registry.config import RegisterConfig  # noqa: E402
from cyclegan.registry.decision import Evidence  # noqa: E402
from cyclegan.registry.pairs import promote as promotion  # noqa: E402
from cyclegan.registry.pairs import turns  # noqa: E402

DIRECTIONS = ("AtoB", "BtoA")


class Registry:
    """MLflow's registry in memory; counts the requests of each kind."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[int, Any]] = {}
        self.aliases: dict[str, dict[str, str]] = {}
        self.requests: Counter[str] = Counter()

    def create_registered_model(self, name, description=""):
        self.requests["create model"] += 1
        if name in self.versions:
            raise mlflow.MlflowException(
                "there", error_code=mlflow.protos.databricks_pb2.RESOURCE_ALREADY_EXISTS
            )
        self.versions[name], self.aliases[name] = {}, {}

    def create_model_version(self, name, source, run_id=None, tags=None, **_):
        self.requests["create version"] += 1
        found = self._versions(name)
        version = SimpleNamespace(version=str(len(found) + 1), tags=dict(tags or {}))
        found[len(found) + 1] = version
        return version

    def get_model_version(self, name, version):
        self.requests["version"] += 1
        return self._versions(name)[int(version)]

    def get_model_version_by_alias(self, name, alias):
        self.requests["alias"] += 1
        if alias not in self.aliases.get(name, {}):
            raise mlflow.MlflowException(
                "none", error_code=mlflow.protos.databricks_pb2.RESOURCE_DOES_NOT_EXIST
            )
        return self.versions[name][int(self.aliases[name][alias])]

    def get_registered_model(self, name):
        self.requests["model"] += 1
        self._versions(name)
        return SimpleNamespace(aliases=self.aliases[name])

    def search_model_versions(self, wanted, max_results=10_000, order_by=("version_number DESC",)):
        self.requests["search"] += 1
        name, key, value = re.fullmatch(r"name = '(.*)' and tags\.(\w+) = '(.*)'", wanted).groups()
        found = [version for version in self._versions(name).values() if version.tags.get(key) == value]
        assert max_results <= 2, "an answer that grows with the number of versions"
        return sorted(found, key=lambda v: int(v.version), reverse="DESC" in order_by[0])[:max_results]

    def set_registered_model_alias(self, name, alias, version):
        self.requests["set alias"] += 1
        self.aliases[name][alias] = version

    def delete_registered_model_alias(self, name, alias):
        self.requests["delete alias"] += 1
        del self.aliases[name][alias]

    def set_model_version_tag(self, name, version, key, value):
        self.requests["tag"] += 1
        self.versions[name][int(version)].tags[key] = value

    def _versions(self, name):
        if name not in self.versions:
            raise mlflow.MlflowException(
                "none", error_code=mlflow.protos.databricks_pb2.RESOURCE_DOES_NOT_EXIST
            )
        return self.versions[name]


class Clock:
    """The time of a process that only waits; every request takes `request_seconds`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


def register(registry: Registry, score: float) -> str:
    """Register a new pair of versions; returns its alias."""
    evidence = Evidence(score=score, metric="fid", data_version="one.dir", fingerprint=f"weights of {score}")
    members = {d: registry.create_model_version(f"city-{d}", "", tags={}).version for d in DIRECTIONS}
    registry.requests.clear()
    return promotion.promote(registry, RegisterConfig(name="city"), evidence, members, {}, "").alias


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for direction in DIRECTIONS:
        registry.create_registered_model(f"city-{direction}")
    return registry


def test_a_registration_takes_few_requests_however_many_versions_there_are(registry):
    assert register(registry, 1000.0) == "champion"
    counts = []
    for score in range(900, 870, -1):
        assert register(registry, float(score)) == "champion"
        counts.append(registry.requests.total())
        assert register(registry, float(1000 + score)) == "challenger"
        counts.append(registry.requests.total())
    assert max(counts[2:]) <= 21
    assert counts[2:4] == counts[-2:]
    assert (
        registry.aliases["city-AtoB"]
        == registry.aliases["city-BtoA"]
        == {"champion": "60", "challenger": "61"}
    )


class Server:
    """Serves any number of threads, one request after another, each in a millisecond, as a database does."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._turn = registry, threading.Lock()

    def __getattr__(self, name):
        def request(*args, **options):
            with self._turn:
                time.sleep(0.001)
                found = getattr(self._registry, name)(*args, **options)
                return deepcopy(found)

        return request


@pytest.mark.slow
def test_of_two_hundred_at_once_the_best_becomes_champion_as_a_pair(registry):
    """With a registry in memory; test_pairs.py does so with MLflow's, and with fewer."""
    client, scores = Server(registry), [float(score) for score in range(1, 201)]
    random.Random(0).shuffle(scores)
    together = threading.Barrier(len(scores))

    def offer(score: float) -> str:
        evidence = Evidence(score=score, metric="fid", data_version="one.dir", fingerprint=f"{score}")
        members = {d: client.create_model_version(f"city-{d}", "", tags={}).version for d in DIRECTIONS}
        together.wait(300)
        return promotion.promote(client, RegisterConfig(name="city"), evidence, members, {}, "").alias

    with ThreadPoolExecutor(len(scores)) as pool:
        got = dict(zip(scores, pool.map(offer, scores), strict=True))
    assert got[1.0] == "champion"
    assert promotion.present_champion(registry, "city").score == 1.0
    champion = registry.versions["city"][int(registry.aliases["city"]["champion"])]
    assert {d: registry.aliases[f"city-{d}"]["champion"] for d in DIRECTIONS} == {
        d: champion.tags[d] for d in DIRECTIONS
    }
    best = float("inf")  # the same as one after the other
    for _, version in sorted(registry.versions["city"].items()):
        score = Evidence.from_json(version.tags["evidence"]).score
        assert version.tags["state"] == got[score] == ("champion" if score < best else "challenger")
        best = min(best, score)


def test_a_decision_takes_the_requests_by_which_others_wait(registry, monkeypatch):
    register(registry, 5.0)
    turn, spent = turns.turn, []

    def counted(*arguments):
        context = turn(*arguments)
        enter, leave = context.__enter__, context.__exit__

        class Counted:
            def __enter__(self):
                settle = enter()
                spent.append(-registry.requests.total())
                return settle

            def __exit__(self, *error):
                spent.append(registry.requests.total())
                return leave(*error)

        return Counted()

    monkeypatch.setattr(promotion, "turn", counted)
    register(registry, 4.0)
    assert abs(sum(spent) - turns.DECISION_REQUESTS) <= 1


def looks(clock, monkeypatch, *, ahead, decision, request) -> tuple[int, float]:
    """How often a process with `ahead` before it looks, and how late it sees that it is its turn."""
    count = 0
    turn = clock.now + ahead * decision

    def search(*_: object, **__: object) -> list[Any]:
        nonlocal count
        count += 1
        clock.now += request
        left = max(0.0, turn - clock.now)
        head = ahead + 1 - min(ahead, -int(-left // decision))
        return [SimpleNamespace(version=str(head))]

    turns.wait_for_turn(SimpleNamespace(search_model_versions=search), "city", str(ahead + 1))
    return count, clock.now - turn


@pytest.mark.parametrize(("decision", "request_seconds"), [(0.15, 0.01), (1.0, 0.07), (15.0, 1.0)])
def test_two_hundred_that_wait_ask_little_and_none_sleeps_through_its_turn(
    clock, monkeypatch, decision, request_seconds
):
    found = [
        looks(clock, monkeypatch, ahead=n, decision=decision, request=request_seconds) for n in range(200)
    ]
    busy = sum(count for count, _ in found) * request_seconds / (200 * decision)
    assert busy < (0.7 if decision < 10 else 10)  # requests under way at a time, of all that wait
    assert max(late for _, late in found) <= decision / 2 + request_seconds
    assert found[0] == (1, pytest.approx(request_seconds))  # a registration alone does not wait


def test_whose_turn_comes_sooner_than_expected_is_awake_before_others_skip_it(clock):
    """The server is slow when all begin at once, and then those ahead decide within a moment."""
    late, looks = [], 0

    def search(*_: object, **__: object) -> list[Any]:
        nonlocal looks
        clock.now, looks = clock.now + (0.01 if looks else 1.0), looks + 1
        return [SimpleNamespace(version="1" if looks == 1 else "200")]

    for _ in range(20):  # waits are random
        began, looks = clock.now, 0
        turns.wait_for_turn(SimpleNamespace(search_model_versions=search), "city", "200")
        late.append(clock.now - began)
    assert 10 < max(late) < turns.STALE_SECONDS - 10


@pytest.mark.parametrize("ahead", [1, 14, 199])
def test_one_that_died_is_skipped_by_whoever_waits(clock, ahead):
    skipped: list[str] = []

    def search(*_: object, **__: object) -> list[Any]:
        clock.now += 0.05
        return [SimpleNamespace(version=str(len(skipped) + 1))]

    def tag(name, version, key, value):
        assert (key, value) == ("state", "skipped")
        skipped.append(version)

    began = clock.now
    client = SimpleNamespace(search_model_versions=search, set_model_version_tag=tag)
    turns.wait_for_turn(client, "city", str(ahead + 1))
    assert skipped == [str(number) for number in range(1, ahead + 1)]
    assert (clock.now - began) / ahead <= turns.STALE_SECONDS + turns.LONGEST_WAIT


def test_who_was_skipped_learns_of_it(clock):
    for found in ([], [SimpleNamespace(version="8")]):
        client = SimpleNamespace(search_model_versions=lambda *_, found=found, **__: found)
        with pytest.raises(turns.PassedOver):
            turns.wait_for_turn(client, "city", "7")


def test_numbers_that_collide_are_asked_for_again_at_random_moments(clock, monkeypatch):
    def create() -> str:
        if len(waits) < 5:
            raise mlflow.MlflowException(
                "Model Version creation error (name=city). Giving up after 3 attempts."
            )
        return "6"

    waits: list[float] = []
    monkeypatch.setattr(clock, "sleep", waits.append)
    assert turns.persistently(create) == "6"
    first, waits[:] = waits[:], []
    assert turns.persistently(create) == "6"
    assert first != waits
    assert all(later > earlier / 2 for earlier, later in pairwise(first))


def test_a_version_of_a_direction_is_numbered_in_as_many_attempts(clock, monkeypatch, tmp_path):
    monkeypatch.setattr(versions, "version_of", lambda *_: None)
    monkeypatch.setattr(versions, "_log_model", lambda *_: "m-1")
    monkeypatch.setattr(versions, "_ensure_registered_model", lambda *_: None)
    answers = [mlflow.MlflowException("Model Version creation error (name=city-AtoB).")] * 2

    def create(*_: object, **__: object) -> Any:
        if answers:
            raise answers.pop()
        return SimpleNamespace(version="3")

    client: Any = SimpleNamespace(create_model_version=create)
    model: Any = None
    assert versions.publish(client, "city", "AtoB", model, tmp_path, "", {"fingerprint": "x"}, {}) == "3"
