"""What a person reads on the page of a pipeline run: short Markdown, headline numbers, facts of an artifact.

Plain values in, text out; nothing here opens a file or asks a server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]


def training_card(model: Facts, page: str, failure: str = "") -> str:
    """What was trained on what; `model` is config.json, `page` the address of the MLflow run."""
    if failure:
        return f"# Training failed\n\n{_text(failure)}\n"
    data = model.get("data") or {}
    rows = {
        "generator": _generator(model),
        "image size": f"{model.get('image_size')} px",
        "epochs": model.get("epochs"),
        "seed": model.get("seed"),
        "data": _code(data.get("uri")),
        "data version": _code(data.get("version")),
        "commit": _code(model.get("git_commit")),
        "MLflow run": _link(model.get("mlflow_run_id"), page),
    }
    return f"# Trained {_generator(model)}\n\n{_list(rows)}"


def evaluation_card(scores: Mapping[str, float], evaluation: Facts, page: str) -> str:
    """How good a model is; `scores` and `evaluation` are scores.json and evaluation.json."""
    metric = evaluation["headline"]
    rows = {
        "score": f"**{_text(metric)} {with_interval(scores, evaluation)}** (lower is better)",
        "A to B": _number(scores.get(f"{metric}_AtoB")),
        "B to A": _number(scores.get(f"{metric}_BtoA")),
        "reconstruction of A (L1)": _number(scores.get("cycle_l1_A")),
        "reconstruction of B (L1)": _number(scores.get("cycle_l1_B")),
        "data version": _code(evaluation.get("data_version")),
        "test images": _test_images(evaluation),
        "MLflow run": _link(evaluation.get("mlflow_run_id"), page),
    }
    notes = "".join(f"\n> {_text(note)}\n" for note in evaluation.get("notes") or [])
    return f"# Score: {_text(metric)} {with_interval(scores, evaluation)}\n\n{_list(rows)}{notes}"


def registration_card(registration: Facts, limit: float, interval: str, data_version: str, page: str) -> str:
    """Whether a model was registered and why; `registration` is registration.json, `limit` the gate."""
    score, versions = registration["score"], registration["versions"]
    if limit:
        passes = score <= limit
        verdict = f"{score:.4g} {'<=' if passes else '>'} {limit:.4g}: "
        gate = verdict + ("passes the gate" if passes else "not registered")
    else:
        gate = "none set"
    listed = [
        f"{registration['name']}-{direction} version {number}" for direction, number in versions.items()
    ]
    title = f"Registered as {registration['alias']}" if versions else "Not registered"
    rows = {
        "verdict": f"**{_text(registration['reason'])}**",
        "gate": gate,
        "score": f"{_text(registration['metric'])} {interval}",
        "champion's score": _number(registration.get("champion_score")),
        "models": ", ".join(listed) or "none",
        "new": "no: these weights were registered before" if versions and not registration.get("new") else "",
        "data version": _code(data_version),
        "MLflow run": _link(registration.get("run_id"), page),
    }
    return f"# {title}\n\n{_list(rows)}"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One combination of a sweep's grid and what became of it."""

    number: int
    parameters: dict[str, Any]
    distance: float | None = None
    """Kernel distance, lower is better; None where the trial failed."""
    score: float | None = None
    failure: str = ""
    run_id: str = ""
    page: str = field(default="")

    @property
    def name(self) -> str:
        """Number and parameters, such as `trial 1: seed 0, lr 0.0002`."""
        return f"trial {self.number}: " + ", ".join(
            f"{key} {value}" for key, value in self.parameters.items()
        )


def sweep_table(trials: Sequence[Trial], best: int) -> str:
    """Which parameters gave which score, the best in bold, failed trials with their reason."""
    names = list(dict.fromkeys(key for trial in trials for key in trial.parameters))
    head = ["trial", *map(_text, names), "kernel distance", "score", "MLflow run"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for trial in trials:
        distance = _number(trial.distance) if not trial.failure else f"failed: {_text(trial.failure)}"
        cells = [str(trial.number), *(_text(trial.parameters.get(name, "")) for name in names)]
        cells += [distance, _number(trial.score), _link(trial.run_id[:8], trial.page)]
        if trial.number == best:
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    failed = sum(bool(trial.failure) for trial in trials)
    note = f"\n{failed} of {len(trials)} trials failed.\n" if failed else ""
    return f"# Best: trial {best} of {len(trials)}\n\n" + "\n".join(lines) + "\n" + note


def headline(scores: Mapping[str, float], evaluation: Facts) -> dict[str, float]:
    """The few numbers by which runs are compared: score, interval, both directions, reconstruction."""
    metric = evaluation["headline"]
    low, high = (evaluation.get("intervals") or {}).get("score") or (None, None)
    values = {
        "score": scores["score"],
        "score_low": low,
        "score_high": high,
        "score_AtoB": scores.get(f"{metric}_AtoB"),
        "score_BtoA": scores.get(f"{metric}_BtoA"),
        "reconstruction_A": scores.get("cycle_l1_A"),
        "reconstruction_B": scores.get("cycle_l1_B"),
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def model_facts(model: Facts) -> dict[str, Any]:
    """Metadata of a model artifact, from its config.json."""
    data, generator = model.get("data") or {}, model["generator"]
    facts = {
        "architecture": generator["name"],
        "image_size_px": model.get("image_size"),
        "epochs": model.get("epochs"),
        "seed": model.get("seed"),
        "data": data.get("uri"),
        "data_version": data.get("version"),
        "git_commit": model.get("git_commit"),
        "mlflow_run": model.get("mlflow_run_id"),
    }
    facts |= {key: generator[key] for key in ("blocks", "depth", "width", "norm") if key in generator}
    return {key: value for key, value in facts.items() if value is not None}


def with_interval(scores: Mapping[str, float], evaluation: Facts) -> str:
    """The score and its 95 % interval, where there is one."""
    bounds = (evaluation.get("intervals") or {}).get("score")
    text = _number(scores["score"])
    return f"{text} [{_number(bounds[0])}, {_number(bounds[1])}]" if bounds else text


def _generator(model: Facts) -> str:
    options = dict(model["generator"])
    name = options.pop("name")
    if "blocks" in options:
        return f"{name} ({options['blocks']} blocks, width {options.get('width')})"
    return str(name)


def _test_images(evaluation: Facts) -> str:
    protocol = evaluation.get("protocol") or {}
    return f"{protocol['testA']} of A, {protocol['testB']} of B" if "testA" in protocol else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _text(value: Any) -> str:
    """Words as they are: KFP's page takes even `crop_size … crop_size` for emphasis."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", str(value))


def _code(value: Any) -> str:
    return f"`{value}`" if value else ""


def _link(run_id: Any, page: str) -> str:
    if not run_id:
        return ""
    return f"[{run_id}]({page})" if page else f"`{run_id}`"


def _list(rows: Mapping[str, Any]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in rows.items() if value not in (None, ""))
