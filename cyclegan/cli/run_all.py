"""All five steps one after another in this process: what `make run` does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.cli import experiments, offer_weights, preflight
from cyclegan.cli.places import RunFolder

if TYPE_CHECKING:
    from cyclegan.data.config import FetchConfig, PreprocessConfig
    from cyclegan.evaluation.config import EvaluateConfig
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)


@contextmanager
def _timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    logger.info("── %s", step)
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def in_words(scores: Mapping[str, float]) -> list[str]:
    """What the scores mean to a person; paired test images say most."""
    from cyclegan.io.pages.page import nearer

    lines = []
    for direction in ("AtoB", "BtoA"):
        error = scores.get(f"l1_{direction}")
        mean, unchanged = (scores.get(f"l1_{direction}_{what}") for what in ("mean", "input"))
        if error is None or mean is None or unchanged is None:
            continue
        lines.append(
            f"{direction}            {nearer(error, mean)} the true picture than the best single colour, "
            f"{nearer(error, unchanged)} it than the picture left as it is (L1 {error:.4f}, {mean:.4f}, "
            f"{unchanged:.4f})"
        )
    if not lines and "score" in scores:
        lines = [f"score           {scores['score']:.4f} (lower is better)"]
    return lines


def run(
    out: Path,
    fetch_config: FetchConfig,
    preprocess_config: PreprocessConfig,
    train_config: TrainConfig,
    evaluate_config: EvaluateConfig,
    register_config: RegisterConfig,
    *,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Fetch, preprocess, train, evaluate and register below the folder `out`.

    Returns the wall time of each step in seconds. `say` receives the closing summary line by line.
    """
    here = RunFolder(out)
    raw = out / "raw"
    known, size = preflight.with_initial(train_config), preprocess_config.size()
    kinds = preprocess_config.kinds()
    if known and size:
        preflight.check_sizes(known, *size)
    if known:
        known.check_kinds(kinds)
    preflight.check_train_alone(train_config, here.checkpoints)
    preflight.check_evaluate(evaluate_config, kinds)

    from cyclegan.data.fetch.fetch import fetch
    from cyclegan.data.prepared import Prepared
    from cyclegan.data.preprocess.preprocess import preprocess
    from cyclegan.evaluation.evaluate import evaluate
    from cyclegan.registry.register import register
    from cyclegan.tracking.runs import enabled
    from cyclegan.training.launch import train_everywhere

    seconds: dict[str, float] = {}
    with _timed("fetch", seconds):
        fetch(raw, fetch_config, within=out)
    with _timed("preprocess", seconds):
        preprocess(raw, here.prepared, preprocess_config)
    prepared = Prepared.open(here.prepared)
    if known:
        preflight.check_sizes(known, prepared.height, prepared.width)
    preflight.check_test_images(prepared)
    preflight.check_disk(train_config, prepared, here.checkpoints, here.model)
    offer_weights.offer_evaluation_weights(evaluate_config, kinds)
    offer_weights.get_evaluation_weights(evaluate_config)
    experiments.name_experiment(prepared)
    experiments.warn_of_champion(register_config, prepared)
    with _timed("train", seconds):
        train_everywhere(here.prepared, here.model, train_config, checkpoints=here.checkpoints)
    with _timed("evaluate", seconds):
        values = evaluate(here.prepared, here.model, here.scores, evaluate_config)
    with _timed("register", seconds):
        registration = register(here.model, here.scores, here.registration, register_config)

    say("")
    say("  ".join(f"{step} {took:.0f} s" for step, took in seconds.items()))
    for line in in_words(values):
        say(line)
    say(f"registration    {registration.reason}")
    say(f"report          {here.scores / 'report.html'}")
    if enabled():
        say("MLflow          cyclegan ui")
    return seconds
