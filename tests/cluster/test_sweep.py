"""The trials of a sweep: planned, one of them failing, judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cyclegan.cluster import tasks
from cyclegan.cluster.sweep import plan
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.training.config import TrainConfig


def test_every_combination_with_whole_numbers_whole_again() -> None:
    assert plan({"seed": [0.0, 1.0], "lr": [1e-4]}, {"blocks": 3.0}) == [
        {"blocks": 3, "seed": 0, "lr": 1e-4},
        {"blocks": 3, "seed": 1, "lr": 1e-4},
    ]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"sed": [0]}, "sed"),
        ({"seed": 3}, "list of values"),
        ({"seed": []}, "list of values"),
        ({"lr": [-1]}, "lr"),
    ],
)
def test_a_wrong_grid_fails_before_any_training(grid: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(grid, {})


def test_a_failed_trial_leaves_its_reason_and_only_a_trial_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclegan.training import launch

    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")

    def fails(*args: object, **kwargs: object) -> dict[str, float]:
        raise CycleGANError("Loss became NaN at update 7.")

    monkeypatch.setattr(launch, "train_everywhere", fails)
    config = TrainConfig(seed=5)
    with pytest.raises(CycleGANError, match="NaN"):
        tasks.train_task(tmp_path, tmp_path / "model", config, "checkpoints")
    shown = tasks.train_task(tmp_path, tmp_path / "model", config, "checkpoints", trial="one")
    assert "Loss became NaN at update 7." in shown.summary
    assert json.loads((tmp_path / "model" / tasks.FAILED).read_text())["parameters"]["seed"] == 5
    passed_on = tasks.evaluate_task(
        tmp_path, tmp_path / "model", tmp_path / "scores", EvaluateConfig(), trial="one"
    )
    assert "Loss became NaN" in passed_on.summary
    assert not passed_on.metrics


def test_a_trial_whose_attempts_were_all_killed_ends_at_the_last_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclegan.evaluation import evaluate
    from cyclegan.training import launch

    class Reached(BaseException):
        pass

    def goes_on(*args: object, **kwargs: object) -> None:
        raise Reached

    monkeypatch.setattr(launch, "train_everywhere", goes_on)
    monkeypatch.setattr(evaluate, "evaluate", goes_on)
    attempts = iter(
        [tasks.TRAIN_RETRIES, tasks.TRAIN_RETRIES + 1, tasks.SCORE_RETRIES, tasks.SCORE_RETRIES + 1]
    )
    monkeypatch.setattr(tasks, "count_attempt", lambda *of: next(attempts))
    model, scores, config = tmp_path / "model", tmp_path / "scores", TrainConfig(seed=5)
    with pytest.raises(Reached):
        tasks.train_task(tmp_path, model, config, "checkpoints", trial="one")
    shown = tasks.train_task(tmp_path, model, config, "checkpoints", trial="one")
    assert "It was killed 5 times" in shown.summary
    assert json.loads((model / tasks.FAILED).read_text())["parameters"]["seed"] == 5

    (model / tasks.FAILED).unlink()
    (model / "config.json").write_text('{"mlflow_run_id": "1", "train": {"seed": 5}}')
    with pytest.raises(Reached):
        tasks.evaluate_task(tmp_path, model, scores, EvaluateConfig(), trial="one")
    shown = tasks.evaluate_task(tmp_path, model, scores, EvaluateConfig(), trial="one")
    assert "It was killed 2 times" in shown.summary
    assert json.loads((scores / tasks.FAILED).read_text())["parameters"] == {"seed": 5}
    with pytest.raises(Reached):  # outside of a sweep nobody counts
        tasks.train_task(tmp_path, model, config, "checkpoints")


def _trial(folder: Path, seed: int, kid: float | None) -> Path:
    folder.mkdir()
    if kid is None:
        failure = {"error": "out of luck", "parameters": {"seed": seed}}
        (folder / tasks.FAILED).write_text(json.dumps(failure))
    else:
        (folder / "config.json").write_text(
            json.dumps({"generator": {"name": "resnet"}, "train": {"seed": seed}})
        )
        (folder / "scores.json").write_text(json.dumps({"score": 2 * kid, "kid_AtoB": kid, "kid_BtoA": kid}))
    return folder


def test_the_best_of_those_that_finished_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    folders = [_trial(tmp_path / str(n), n, kid) for n, kid in enumerate((None, 0.3, 0.1))]
    best, trials, shown = tasks.pick_task(folders, folders, ["seed"])
    assert best == 2
    assert [trial.failure for trial in trials] == ["out of luck", "", ""]
    assert trials[2].distance == pytest.approx(0.1)
    assert shown.metrics == {"score": 0.2, "kernel_distance": 0.1, "failed_trials": 1.0}
    assert "failed: out of luck" in shown.summary
    assert shown.facts["trial_1"] == "trial 1: seed 1"


def test_a_sweep_without_a_finished_trial_fails(tmp_path: Path) -> None:
    folders = [_trial(tmp_path / "0", 0, None)]
    with pytest.raises(CycleGANError, match="All 1 trials failed: out of luck"):
        tasks.pick_task(folders, folders, ["seed"])
