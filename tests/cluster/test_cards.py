"""What the page of a pipeline run says of a training, a score, a registration, a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from cyclegan.cluster import cards

PAGE = "https://mlflow.example.com/#/experiments/1/runs/abc"
MODEL: dict[str, Any] = {
    "generator": {"name": "resnet", "norm": "instance", "blocks": 9, "width": 64},
    "image_size": 256,
    "epochs": 200,
    "seed": 3,
    "data": {"uri": "maps", "version": "0123.dir"},
    "git_commit": "c0ffee",
    "mlflow_run_id": "abc",
}
SCORES = {
    "score": 0.0391,
    "fid": 0.0391,
    "fid_AtoB": 0.03,
    "fid_BtoA": 0.0482,
    "cycle_l1_A": 5.25,
    "cycle_l1_B": 6.0,
}
EVALUATION: dict[str, Any] = {
    "headline": "fid",
    "intervals": {"score": [0.035, 0.044]},
    "data_version": "0123.dir",
    "protocol": {"testA": 30, "testB": 31},
    "mlflow_run_id": "abc",
    "notes": ["Only 30 test images."],
}


def test_training_says_what_was_trained_on_what() -> None:
    text = cards.training_card(MODEL, PAGE)
    for said in ("resnet (9 blocks, width 64)", "256 px", "epochs: 200", "seed: 3", "`maps`", "`0123.dir`"):
        assert said in text
    assert f"[abc]({PAGE})" in text
    assert "`abc`" in cards.training_card(MODEL, "")


def test_a_score_comes_with_its_interval() -> None:
    text = cards.evaluation_card(SCORES, EVALUATION, PAGE)
    assert "fid 0.0391 [0.035, 0.044]" in text
    assert "A to B: 0.03" in text and "B to A: 0.0482" in text
    assert "30 of A, 31 of B" in text
    assert "> Only 30 test images." in text


def test_headline_numbers_are_few() -> None:
    assert cards.headline(SCORES, EVALUATION) == {
        "score": 0.0391,
        "score_low": 0.035,
        "score_high": 0.044,
        "score_AtoB": 0.03,
        "score_BtoA": 0.0482,
        "reconstruction_A": 5.25,
        "reconstruction_B": 6.0,
    }
    assert "score_low" not in cards.headline(SCORES, EVALUATION | {"intervals": {}})


@pytest.mark.parametrize(
    ("limit", "versions", "gate", "title"),
    [
        (0.0001, {}, "0.0391 > 0.0001: not registered", "# Not registered"),
        (0.05, {"AtoB": "4", "BtoA": "4"}, "0.0391 <= 0.05: passes the gate", "# Registered as champion"),
        (0.0, {"AtoB": "4", "BtoA": "4"}, "none set", "# Registered as champion"),
    ],
)
def test_registration_says_the_gates_verdict(
    limit: float, versions: dict[str, str], gate: str, title: str
) -> None:
    registration = {
        "name": "cyclegan",
        "versions": versions,
        "alias": "champion" if versions else "",
        "reason": "because",
        "metric": "fid",
        "score": 0.0391,
        "champion_score": 0.05,
        "run_id": "abc",
        "new": False,
    }
    text = cards.registration_card(registration, limit, "0.0391 [0.035, 0.044]", "0123.dir", PAGE)
    assert text.startswith(title)
    assert f"gate: {gate}\n" in text
    assert "**because**" in text and "[0.035, 0.044]" in text and "`0123.dir`" in text and PAGE in text
    assert ("cyclegan-AtoB version 4" in text) is bool(versions)
    assert ("registered before" in text) is bool(versions)


def test_a_sweeps_table_has_a_row_for_each_trial() -> None:
    trials = [
        cards.Trial(number=0, parameters={"seed": 0, "lr": 0.1}, failure="Loss became NaN | at 7."),
        cards.Trial(
            number=1, parameters={"seed": 1, "lr": 0.1}, distance=0.25, score=3.5, run_id="abc", page=PAGE
        ),
    ]
    text = cards.sweep_table(trials, best=1)
    lines = text.splitlines()
    assert "| trial | seed | lr | kernel distance | score | MLflow run |" in lines
    assert "| 0 | 0 | 0.1 | failed: Loss became NaN \\| at 7. |  |  |" in lines
    assert f"| **1** | **1** | **0.1** | **0.25** | **3.5** | **[abc]({PAGE})** |" in lines
    assert "1 of 2 trials failed." in text
    assert trials[1].name == "trial 1: seed 1, lr 0.1"


def test_a_models_metadata() -> None:
    assert cards.model_facts(MODEL) == {
        "architecture": "resnet",
        "image_size_px": 256,
        "epochs": 200,
        "seed": 3,
        "data": "maps",
        "data_version": "0123.dir",
        "git_commit": "c0ffee",
        "mlflow_run": "abc",
        "norm": "instance",
        "blocks": 9,
        "width": 64,
    }
