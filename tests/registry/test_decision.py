"""The verdict on a candidate, from plain values."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cyclegan.errors import UsageError
from cyclegan.registry.config import RegisterConfig, dataset_name
from cyclegan.registry.decision import Evidence, decide, passes_gate, read_evidence

CHAMPION = Evidence(
    score=50.0,
    metric="fid",
    data_version="one.dir",
    extractor="inception2048 abc",
    protocol="testA 32",
    interval=(45.0, 55.0),
    fingerprint="old",
)
BETTER = replace(CHAMPION, score=40.0, interval=(36.0, 44.0), fingerprint="new")
PLAIN = RegisterConfig()


def test_the_first_model_is_the_champion():
    verdict = decide(BETTER, None, PLAIN)
    assert (verdict.passed, verdict.alias, verdict.champion_score) == (True, "champion", None)
    assert "fid 40" in verdict.reason


@pytest.mark.parametrize(
    ("score", "lower_is_better", "alias"),
    [
        (49.9, True, "champion"),
        (50.0, True, "challenger"),
        (50.1, True, "challenger"),
        (50.1, False, "champion"),
        (49.9, False, "challenger"),
    ],
)
def test_only_a_better_score_takes_the_title(score, lower_is_better, alias):
    champion = replace(CHAMPION, lower_is_better=lower_is_better)
    verdict = decide(replace(champion, score=score, fingerprint="new"), champion, PLAIN)
    assert verdict.passed
    assert verdict.alias == alias
    assert verdict.champion_score == 50.0


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("data_version", "two.dir", "two.dir against one.dir"),
        ("metric", "frechet_random", "frechet_random against fid"),
        ("extractor", "inception2048 xyz", "inception2048 xyz against inception2048 abc"),
        ("protocol", "testA 16", "testA 16 against testA 32"),
    ],
)
def test_scores_that_do_not_compare_leave_the_champion(field, value, named):
    verdict = decide(replace(BETTER, **{field: value}), CHAMPION, PLAIN)
    assert (verdict.passed, verdict.alias, verdict.champion_score) == (True, "challenger", None)
    assert named in verdict.reason


@pytest.mark.parametrize(
    ("interval", "alias"),
    [((36.0, 44.9), "champion"), ((36.0, 45.0), "challenger"), (None, "challenger")],
)
def test_the_rule_certain_wants_intervals_apart(interval, alias):
    verdict = decide(replace(BETTER, interval=interval), CHAMPION, RegisterConfig(rule="certain"))
    assert verdict.alias == alias


def test_the_rule_certain_where_more_is_better():
    champion = replace(CHAMPION, lower_is_better=False)
    candidate = replace(champion, score=60.0, interval=(56.0, 64.0), fingerprint="new")
    config = RegisterConfig(rule="certain")
    assert decide(candidate, champion, config).alias == "champion"
    assert decide(replace(candidate, interval=(54.0, 66.0)), champion, config).alias == "challenger"


@pytest.mark.parametrize(
    ("limit", "lower_is_better", "passed"),
    [(40.0, True, True), (39.9, True, False), (40.0, False, True), (40.1, False, False), (0.0, True, True)],
)
def test_the_gate(limit, lower_is_better, passed):
    verdict = decide(replace(BETTER, lower_is_better=lower_is_better), None, RegisterConfig(max_score=limit))
    assert verdict.passed == passed
    assert verdict.alias == ("champion" if passed else "")
    assert ("gate" in verdict.reason) != passed


def test_force_overrules_the_comparison_but_not_the_gate():
    worse = replace(BETTER, score=60.0)
    elsewhere = replace(BETTER, data_version="two.dir")
    assert decide(worse, CHAMPION, RegisterConfig(force=True)).alias == "champion"
    assert decide(elsewhere, CHAMPION, RegisterConfig(force=True)).alias == "champion"
    assert "force" in decide(worse, CHAMPION, RegisterConfig(force=True)).reason
    assert "force" not in decide(BETTER, CHAMPION, RegisterConfig(force=True)).reason
    assert not decide(worse, CHAMPION, RegisterConfig(force=True, max_score=55.0)).passed


def test_the_champion_stays_champion_when_registered_again():
    rescored = replace(CHAMPION, score=52.0, metric="kid")
    assert decide(rescored, CHAMPION, PLAIN).alias == "champion"


def test_evidence_is_read_from_what_evaluate_writes(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps({"fid": 40.0, "score": 40.0, "l1_AtoB": 0.1}))
    facts = {
        "headline": "fid",
        "lower_is_better": True,
        "extractor": {"name": "inception2048", "features": 2048, "sha256": "abc"},
        "protocol": {"testB": 12, "testA": 32},
        "data_version": "one.dir",
        "model_digest": "new",
        "intervals": {"fid": [36, 44]},
    }
    (tmp_path / "evaluation.json").write_text(json.dumps(facts))
    assert read_evidence(tmp_path, "new") == Evidence(
        score=40.0,
        metric="fid",
        data_version="one.dir",
        extractor="inception2048 abc",
        protocol="testA 32, testB 12",
        interval=(36.0, 44.0),
        fingerprint="new",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "evaluate first"),
        ({"scores.json": "{}"}, "evaluation.json is missing"),
        ({"scores.json": "{", "evaluation.json": "{}"}, "damaged"),
        ({"scores.json": "{}", "evaluation.json": "{}"}, "headline"),
        ({"scores.json": "{}", "evaluation.json": '{"headline": "fid"}'}, "score"),
        ({"scores.json": '{"score": NaN}', "evaluation.json": "{}"}, "damaged"),
        ({"scores.json": '{"score": 1e999}', "evaluation.json": "{}"}, "damaged"),
        ({"scores.json": '{"score": true}', "evaluation.json": "{}"}, "'score' is True, not a finite"),
        ({"scores.json": "[1]", "evaluation.json": "{}"}, "does not contain an object"),
        ({"scores.json": "[" * 100_000, "evaluation.json": "{}"}, "damaged"),
        (
            {
                "scores.json": '{"score": 1}',
                "evaluation.json": '{"headline": 1, "extractor": 3, "data_version": 1}',
            },
            "damaged",
        ),
        (
            {"scores.json": '{"score": 1}', "evaluation.json": '{"format": 2, "headline": ["fid"]}'},
            r"evaluation\.json has format 2 and this version reads up to 1: update",
        ),
    ],
)
def test_folders_without_scores(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_evidence(tmp_path)


@pytest.mark.parametrize("values", [{"name": "-a"}, {"name": "a/b"}, {"name": "a.b"}, {"max_score": -1.0}])
def test_wrong_configs(values):
    with pytest.raises(UsageError, match="register: "):
        RegisterConfig(**values)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_no_pair_has_the_name_of_a_direction_of_another(direction):
    with pytest.raises(UsageError, match=f"'city-{direction}' is that of a direction of the pair 'city'"):
        RegisterConfig(name=f"city-{direction}")
    assert dataset_name(f"data/city-{direction}.zip", {}) == f"city_{direction}"
    assert RegisterConfig(name=f"city_{direction}")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_digest": "other"}, "belong to a different model"),
        ({}, "lack 'model_digest'"),
        ({"model_digest": "mine", "intervals": {"score": [1, float("1e999")]}}, "not valid JSON"),
    ],
)
def test_scores_vouch_for_their_own_model_only(tmp_path, facts, message):
    (tmp_path / "scores.json").write_text('{"score": 1.0}')
    text = json.dumps({"headline": "fid", "data_version": "one.dir"} | facts)
    (tmp_path / "evaluation.json").write_text(text.replace("Infinity", "1e999"))
    with pytest.raises(UsageError, match=message):
        read_evidence(tmp_path, "mine")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_neither_registered_nor_in_the_way(score):
    broken = replace(CHAMPION, score=score)
    for config in (PLAIN, RegisterConfig(force=True), RegisterConfig(rule="certain")):
        with pytest.raises(UsageError, match="not a finite number"):
            decide(replace(broken, fingerprint="new"), CHAMPION, config)
        assert decide(BETTER, broken, config).alias == "champion"
    assert not passes_gate(score, 0.0)
    assert not passes_gate(score, 5.0, lower_is_better=False)


def test_a_model_is_called_after_its_data_by_default() -> None:
    default = {"A": "A", "B": "B"}
    assert dataset_name("https://example.org/maps.zip", default) == "maps"
    assert dataset_name("my/photos + my/paintings", default) == "photos-paintings"
    assert dataset_name("x.zip", {"A": "old horses", "B": "zebras"}) == "old-horses-zebras"
    assert dataset_name("synthetic:city?size=64", {"A": "aerial", "B": "map"}) == "city"
    assert dataset_name("", default) == "images"
    for uri in ("s3://bucket/ähm!/", "a/.hidden", "…"):
        RegisterConfig(name=dataset_name(uri, default))  # is a name that may be registered
