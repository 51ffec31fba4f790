"""The work of the pipeline's heavier tasks, with what Kubeflow Pipelines shows of it beside the results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cyclegan.cluster import cards
from cyclegan.errors import CycleGANError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.io.files import read_json, sha256, write_json
from cyclegan.registry.config import RegisterConfig
from cyclegan.tracking.runs import count_attempt, forget_attempts, run_page
from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)

TRAIN_RETRIES, SCORE_RETRIES = 5, 2
"""How often the backend may try a training and an evaluation again, where it repeats such failures at all."""
FAILED = "failed.json"
"""Stands alone in the folder of a sweep's trial that failed."""
NOT_LOSSES = frozenset({"images_per_second", "epochs", "steps"})


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of a finished task."""

    summary: str
    """Markdown."""
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """Metadata of the artifact."""
    digest: str = ""
    run_id: str = ""


def train_task(
    prepared: Path, model: Path, config: TrainConfig, checkpoints: str, *, trial: str = ""
) -> Shown:
    """Train as `cyclegan.training.launch.train_everywhere` does.

    `trial` is the identity of a sweep's trial, shared by all its attempts; empty where it is none. A failed
    one leaves its reason in the folder instead of ending the sweep, and so does the last attempt where all
    before it were killed; raises as `train_everywhere` otherwise.
    """
    from cyclegan.training.launch import train_everywhere

    if trial and count_attempt("train", trial) > TRAIN_RETRIES:
        return _failed(model, _killed(TRAIN_RETRIES), asdict(config))
    try:
        results = train_everywhere(prepared, model, config, checkpoints=checkpoints)
    except Exception as error:
        if not trial:
            raise
        return _failed(model, _reason(error), asdict(config))
    about = read_json(model / "config.json")
    losses = {name: float(value) for name, value in results.items() if name not in NOT_LOSSES}
    facts = cards.model_facts(about) | {"images_per_second": results.get("images_per_second", 0.0)}
    run_id = about.get("mlflow_run_id") or ""
    if trial:
        forget_attempts(trial, run_id)
    return Shown(
        summary=cards.training_card(about, run_page(run_id)),
        metrics=losses,
        facts=facts,
        digest=sha256(model / "config.json"),
        run_id=run_id,
    )


def evaluate_task(
    prepared: Path, model: Path, scores: Path, config: EvaluateConfig, *, trial: str = ""
) -> Shown:
    """Evaluate as `cyclegan.evaluation.evaluate.evaluate` does; a failed `trial` as `train_task` says."""
    from cyclegan.evaluation.evaluate import evaluate

    if trial and (model / FAILED).exists():
        return _failed(scores, **read_json(model / FAILED))
    if trial:
        about = read_json(model / "config.json")
        run_id = about.get("mlflow_run_id") or ""
        if run_id and count_attempt("evaluate", trial, run_id) > SCORE_RETRIES:
            return _failed(scores, _killed(SCORE_RETRIES), about.get("train") or {})
    try:
        values = evaluate(prepared, model, scores, config)
    except Exception as error:
        if not trial:
            raise
        trained = read_json(model / "config.json").get("train") or {}
        return _failed(scores, _reason(error), trained)
    details = read_json(scores / "evaluation.json")
    run_id = details.get("mlflow_run_id") or ""
    facts = {"headline": details["headline"], "data_version": details["data_version"], "mlflow_run": run_id}
    return Shown(
        summary=cards.evaluation_card(values, details, run_page(run_id)),
        metrics=cards.headline(values, details),
        facts=facts,
        run_id=run_id,
    )


def register_task(model: Path, scores: Path, out: Path, config: RegisterConfig) -> Shown:
    """Register as `cyclegan.registry.register.register` does; writes registration.json to the file `out`."""
    from cyclegan.registry.register import register

    done = asdict(register(model, scores, out, config))
    values, details = read_json(scores / "scores.json"), read_json(scores / "evaluation.json")
    interval, version = cards.with_interval(values, details), str(details["data_version"])
    facts = {key: done[key] for key in ("reason", "alias", "metric", "score")}
    facts |= {f"version_{direction}": number for direction, number in done["versions"].items()}
    facts |= {"data_version": version, "mlflow_run": done["run_id"]}
    facts = {key: value for key, value in facts.items() if value is not None}
    page = run_page(done["run_id"])
    return Shown(
        summary=cards.registration_card(done, config.max_score, interval, version, page),
        facts=facts,
        digest=done["alias"],
    )


def pick_task(
    models: Sequence[Path], scores: Sequence[Path], grid: Sequence[str]
) -> tuple[int, list[cards.Trial], Shown]:
    """The best of a sweep's trials that finished; `grid` names the fields that were tried.

    Returns its index, all trials and what the page shows. Raises CycleGANError where every trial failed.
    """
    from cyclegan.registry.sweep import best_trial

    folders = list(zip(models, scores, strict=True))
    finished = [number for number, (_, folder) in enumerate(folders) if not (folder / FAILED).exists()]
    trials: list[cards.Trial] = []
    if not finished:
        reasons = {read_json(folder / FAILED)["error"] for _, folder in folders}
        raise CycleGANError(f"All {len(folders)} trials failed: {' '.join(sorted(reasons))}")
    place, distances, score = best_trial([folders[number] for number in finished])
    for number, (model, folder) in enumerate(folders):
        if number not in finished:
            failure = read_json(folder / FAILED)
            chosen = {key: failure.get("parameters", {}).get(key) for key in grid}
            trials.append(cards.Trial(number=number, parameters=chosen, failure=failure["error"]))
            logger.warning("Trial %d failed: %s", number, failure["error"])
            continue
        about = read_json(model / "config.json")
        run_id = about.get("mlflow_run_id") or ""
        trials.append(
            cards.Trial(
                number=number,
                parameters={key: (about.get("train") or {}).get(key) for key in grid},
                distance=distances[finished.index(number)],
                score=read_json(folder / "scores.json")["score"],
                run_id=run_id,
                page=run_page(run_id),
            )
        )
    best = finished[place]
    metrics = {
        "score": score,
        "kernel_distance": distances[place],
        "failed_trials": len(folders) - len(finished),
    }
    shown = Shown(
        summary=cards.sweep_table(trials, best),
        metrics={name: float(value) for name, value in metrics.items()},
        facts={"best": trials[best].name} | {f"trial_{trial.number}": trial.name for trial in trials},
    )
    return best, trials, shown


def show(shown: Shown, summary: Any, metrics: Any = None) -> None:
    """Fill the artifacts of Kubeflow Pipelines that its page shows: Markdown and, where given, metrics.

    Numbers go to the page's tables, and as JSON to the artifact's own file, which "View all" opens.
    """
    Path(summary.path).write_text(shown.summary, encoding="utf-8")
    print(shown.summary)
    if metrics is not None:
        for name, value in shown.metrics.items():
            metrics.log_metric(name, value)
        write_json(Path(metrics.path), shown.metrics)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if isinstance(error, CycleGANError) and said else f"{type(error).__name__}: {said}"


def _killed(times: int) -> str:
    return f"It was killed {times} times, most likely for its memory or with its node."


def _failed(folder: Path, error: str, parameters: dict[str, Any]) -> Shown:
    logger.error("This trial failed, and the sweep continues without it: %s", error)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FAILED, {"error": error, "parameters": parameters})
    return Shown(summary=cards.training_card({}, "", error), digest="failed")
