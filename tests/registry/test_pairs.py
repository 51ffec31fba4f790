"""Who is champion when many register at once, against a real MLflow server."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.decision import Evidence
from cyclegan.registry.pairs import turns
from cyclegan.registry.pairs.aliases import pair_of
from cyclegan.registry.pairs.promote import present_champion, promote
from cyclegan.registry.pairs.turns import persistently, take_ticket

# one process of several, with threads of its own; prints the alias that each score got
REGISTRAR = """
import sys
from concurrent.futures import ThreadPoolExecutor
from mlflow import MlflowClient
sys.path.insert(0, sys.argv[1])
from test_pairs import offer
name, scores = sys.argv[2], [float(score) for score in sys.argv[3:]]
with ThreadPoolExecutor(len(scores)) as pool:
    print(*pool.map(lambda score: offer(MlflowClient(), name, score).alias, scores))
"""


def evidence(score: float) -> Evidence:
    return Evidence(score=score, metric="fid", data_version="one.dir", fingerprint=f"weights of {score}")


def offer(client, name, score):
    """Register a pair of versions without files, which is all that the decision looks at."""
    versions = {}
    for direction in ("AtoB", "BtoA"):
        tags = {"score": str(score)}
        make = partial(client.create_model_version, f"{name}-{direction}", "s3://none/none", tags=tags)
        versions[direction] = str(persistently(make).version)
    return promote(client, RegisterConfig(name=name), evidence(score), versions, {}, "")


def aliases(client, name):
    """Alias to score, read from both directions and from the pair; fails where they disagree."""
    found = []
    for registered in (f"{name}-AtoB", f"{name}-BtoA"):
        pointers = dict(client.get_registered_model(registered).aliases)
        versions = {alias: client.get_model_version(registered, v) for alias, v in pointers.items()}
        found.append({alias: float(version.tags["score"]) for alias, version in versions.items()})
    assert found[0] == found[1]
    champion = present_champion(client, name)
    assert champion is not None
    assert champion.score == found[0]["champion"]
    return found[0]


@pytest.fixture
def client(mlflow_server: str):
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture
def name(client) -> str:
    name = f"pairs-{uuid.uuid4().hex[:8]}"
    for direction in ("AtoB", "BtoA"):
        client.create_registered_model(f"{name}-{direction}")
    return name


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "processes", "each"), [(8, 2, 4)])
def test_of_many_threads_and_processes_the_best_becomes_champion_as_a_pair(
    client, name, threads, processes, each
):
    scores = [float(score) for score in range(1, threads + processes * each + 1)]
    random.Random(0).shuffle(scores)
    shares = [scores[start : start + each] for start in range(threads, len(scores), each)]
    command = [sys.executable, "-c", REGISTRAR, Path(__file__).parent, name]
    others = [
        subprocess.Popen([*command, *map(str, share)], stdout=subprocess.PIPE, text=True) for share in shares
    ]
    with ThreadPoolExecutor(threads) as pool:
        decided = list(pool.map(lambda score: offer(client, name, score).alias, scores[:threads]))
    said = [process.communicate(timeout=2400)[0].split() for process in others]
    assert [process.returncode for process in others] == [0] * processes
    got = dict(zip(scores, sum(said, decided), strict=True))
    assert got[1.0] == "champion"
    assert aliases(client, name)["champion"] == 1.0

    # the same as one after the other: who is better than all before becomes champion
    best = float("inf")
    for version in sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: int(v.version)):
        score = Evidence.from_json(version.tags["evidence"]).score
        assert version.tags["state"] == got[score] == ("champion" if score < best else "challenger")
        best = min(best, score)


def test_a_registration_that_dies_before_deciding_is_passed_over(client, name, monkeypatch):
    monkeypatch.setattr(turns, "STALE_SECONDS", 0.5)
    offer(client, name, 5.0)
    dead = take_ticket(client, name, {"AtoB": "1", "BtoA": "1"}, evidence(1.0), {}, "")
    assert offer(client, name, 4.0).alias == "champion"
    assert client.get_model_version(name, dead).tags["state"] == "skipped"
    assert aliases(client, name) == {"champion": 4.0}


@pytest.mark.parametrize("moment", ["before the pair's alias", "between both directions"])
def test_a_registration_that_fails_while_writing_leaves_a_pair(client, name, monkeypatch, moment):
    offer(client, name, 5.0)
    first = dict(pair_of(client, name, alias="champion"))
    broken = type(client)()
    whole = broken.set_registered_model_alias
    allowed = {"before the pair's alias": (), "between both directions": (name, f"{name}-AtoB")}[moment]

    def fails(registered, alias, version):
        if registered not in allowed:
            raise ConnectionError("the server went away")
        whole(registered, alias, version)

    monkeypatch.setattr(broken, "set_registered_model_alias", fails)
    with pytest.raises(ConnectionError):
        offer(broken, name, 4.0)
    read = pair_of(client, name, alias="champion")
    assert read in (first, {"AtoB": "2", "BtoA": "2"})
    monkeypatch.setattr(turns, "STALE_SECONDS", 60)  # the failed one has given up its turn
    assert offer(client, name, 6.0).alias == "challenger"
    assert aliases(client, name) == {"champion": 4.0 if allowed else 5.0, "challenger": 6.0}


def test_a_registration_that_was_stalled_does_not_take_the_title_from_a_better_one(client, name, monkeypatch):
    """The worst case: it stands still right between looking whether it is its turn and writing."""
    monkeypatch.setattr(turns, "STALE_SECONDS", 0.5)
    offer(client, name, 9.0)
    stalled, writing, resumed = type(client)(), threading.Event(), threading.Event()
    whole = stalled.set_registered_model_alias

    def stalls(registered, alias, version):
        if registered == name and not writing.is_set():
            writing.set()
            assert resumed.wait(60)
        whole(registered, alias, version)

    monkeypatch.setattr(stalled, "set_registered_model_alias", stalls)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(offer, stalled, name, 5.0)
        assert writing.wait(60)
        assert offer(client, name, 1.0).alias == "champion"
        resumed.set()
        assert slow.result().alias == "challenger"
    assert aliases(client, name) == {"champion": 1.0, "challenger": 5.0}


def test_a_pair_that_would_keep_its_alias_gets_no_other_version(client, name):
    def again(score, version, renewed=None):
        members = {"AtoB": version, "BtoA": version}
        found = evidence(score) if renewed is None else replace(evidence(score), score=renewed)
        return promote(client, RegisterConfig(name=name), found, members, {}, "").alias

    def count():
        return len(client.search_model_versions(f"name = '{name}'"))

    offer(client, name, 5.0)
    offer(client, name, 7.0)
    assert [again(5.0, "1"), again(7.0, "2"), count()] == ["champion", "challenger", 2]
    assert aliases(client, name) == {"champion": 5.0, "challenger": 7.0}
    assert [again(7.0, "2", renewed=4.0), count()] == ["champion", 3]  # measured again: another decision
    assert dict(pair_of(client, name, alias="champion")) == {"AtoB": "2", "BtoA": "2"}
    client.set_registered_model_alias(f"{name}-BtoA", "champion", "1")  # and what is wrong is set right
    assert [again(7.0, "2", renewed=4.0), count()] == ["champion", 4]
    assert dict(client.get_registered_model(f"{name}-BtoA").aliases)["champion"] == "2"


def test_who_moves_the_pairs_alias_by_hand_is_obeyed(client, name):
    offer(client, name, 5.0)
    offer(client, name, 4.0)
    client.set_registered_model_alias(name, "champion", "1")
    assert offer(client, name, 4.5).alias == "champion"
    client.set_registered_model_alias(f"{name}-BtoA", "champion", "1")  # not so on half of a pair
    assert offer(client, name, 8.0).alias == "challenger"
    assert aliases(client, name) == {"champion": 4.5, "challenger": 8.0}
