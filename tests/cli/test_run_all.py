"""How a run begins, with images around it, and how it ends, with the scores in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cyclegan.cli.run_all import in_words, run
from cyclegan.data.config import FetchConfig, PreprocessConfig
from cyclegan.data.fetch import fetch
from cyclegan.errors import UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.registry.config import RegisterConfig
from cyclegan.training.config import TrainConfig


def test_a_source_around_the_run_is_fetched_without_the_runs_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path, Path]] = []

    def stop(out: Path, config: FetchConfig, *, within: Path) -> Any:
        calls.append((out, within))
        raise UsageError("enough")

    monkeypatch.setattr(fetch, "fetch", stop)
    train = TrainConfig(generator="resnet", crop_size=128)
    rest = (PreprocessConfig(), train, EvaluateConfig(), RegisterConfig())
    with pytest.raises(UsageError, match="enough"):
        run(tmp_path, FetchConfig(source="."), *rest)
    assert calls == [(tmp_path / "raw", tmp_path)]


def test_paired_scores_are_said_in_words_a_person_understands() -> None:
    scores = {"score": 1.0, "l1_AtoB": 0.04, "l1_AtoB_mean": 0.1, "l1_AtoB_input": 0.36}
    (line,) = in_words(scores)
    assert line.startswith("AtoB")
    assert "2.5 times closer to the true picture than the best single colour" in line
    assert "9.0 times closer to it than the picture left as it is" in line


def test_a_model_that_loses_to_a_single_colour_is_called_farther() -> None:
    (line,) = in_words({"l1_BtoA": 0.2, "l1_BtoA_mean": 0.1, "l1_BtoA_input": 0.2})
    assert "2.0 times farther from the true picture than the best single colour" in line
    assert "1.0 times closer to it" in line


def test_without_pairs_there_is_the_score() -> None:
    assert in_words({"score": 0.25}) == ["score           0.2500 (lower is better)"]
