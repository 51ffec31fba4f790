"""The evaluate step: score a model on the test images; write scores.json, evaluation.json and report.html."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cyclegan.data.prepared import Prepared
from cyclegan.errors import CycleGANError, enough_memory
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.measure import measure
from cyclegan.evaluation.result import Evaluation
from cyclegan.io.files import atomic_dir, guard_folder, write_json
from cyclegan.io.uri import redact
from cyclegan.model import library_versions, load_model, weights_digest
from cyclegan.pixel_kind import all_rgb, in_words
from cyclegan.registry.champion import find_champion
from cyclegan.registry.metrics import headline
from cyclegan.registry.results import FORMAT

logger = logging.getLogger(__name__)

FILES = frozenset(
    {"scores.json", "headline.json", "evaluation.json", "per_image.csv", "report.html", "samples", "plots"}
)


def evaluate(prepared: Path, model: Path, out: Path, config: EvaluateConfig) -> dict[str, float]:
    """Score the generators in folder `model` on the test images in folder `prepared`; returns the scores.

    Writes into folder `out`: scores.json (name to finite float), evaluation.json (headline, intervals,
    extractor, protocol, data version), per_image.csv and report.html. All are logged to the model's MLflow
    run. The headline, lower is better, is the mean of both directions' Fréchet distance; it is in
    scores.json under its name (`fid`, `frechet_random`, …) and as `score`.
    Raises UsageError or CycleGANError for folders, weights or devices that cannot be used.
    """
    from cyclegan.evaluation.pages import summary
    from cyclegan.evaluation.pages.plots import write_plots
    from cyclegan.evaluation.pages.report import write_per_image, write_report
    from cyclegan.evaluation.pages.samples import write_samples
    from cyclegan.runtime.cpu import resolve_threads
    from cyclegan.runtime.device import machine, resolve_device
    from cyclegan.tracking.runs import open_run

    guard_folder(out, "the scores", FILES)
    data = Prepared.open(prepared)
    device = resolve_device(config.device)
    loaded = load_model(model, device)
    digest = weights_digest(model)
    with (
        machine(device, threads=resolve_threads(0), deterministic=False),
        enough_memory(f"use a batch_size below {config.batch_size}, or device = cpu"),
        open_run("evaluate", run_id=loaded.config.get("mlflow_run_id")) as tracker,
    ):
        tracker.params("evaluate", config)
        evaluation = measure(data, loaded, config, device)
        _require_finite(evaluation)
        details = describe(evaluation, run_id=tracker.run_id, model_digest=digest)
        with atomic_dir(out.resolve()) as folder:  # a link to a larger disk stays a link
            write_json(folder / "scores.json", evaluation.scores)
            write_json(folder / "headline.json", headline(evaluation.scores))
            details["samples"] = write_samples(folder / "samples", evaluation)
            write_json(folder / "evaluation.json", details)
            write_per_image(folder / "per_image.csv", evaluation)
            champion = find_champion(config.champion, folder)
            write_plots(folder / "plots", evaluation, model)
            write_report(folder / "report.html", evaluation, details, champion, model)
        tracker.metrics(headline(evaluation.scores))
        tracker.table("scores_table.json", summary.table(evaluation))
        tracker.describe(summary.markdown(evaluation, champion, tracker.page), summary.overview(evaluation))
        for key, image in summary.pictures(evaluation).items():
            tracker.image(key, image, 0)  # of a step other than 0 the UI shows nothing until it is chosen
        tracker.artifact(out, "evaluation")
        tracker.tags(
            {"evaluate.extractor": f"{evaluation.extractor.name} {evaluation.extractor.sha256[:16]}"}
        )
    for name, value in evaluation.scores.items():
        low_high = evaluation.intervals.get(name)
        logger.info("%-28s %10.4f%s", name, value, " [{:.4f}, {:.4f}]".format(*low_high) if low_high else "")
    return evaluation.scores


def _require_finite(e: Evaluation) -> None:
    """Refuse to write scores that nothing can be compared with."""
    values = e.scores | {name: sum(bounds) for name, bounds in e.intervals.items()}
    if broken := [name for name, value in values.items() if not math.isfinite(value)]:
        raise CycleGANError(
            f"{broken[0]} is not a finite number: the model's translations cannot be judged; "
            "train it again or evaluate another checkpoint."
        )


def describe(e: Evaluation, run_id: str | None, model_digest: str) -> dict[str, Any]:
    """What evaluation.json holds: how the scores came about, and how certain they are."""
    height, width = e.sets["A"].images.shape[1:3]
    return {
        "format": FORMAT,
        "headline": e.extractor.frechet,
        "headline_is": f"mean of {e.extractor.frechet}_AtoB and {e.extractor.frechet}_BtoA",
        "lower_is_better": True,
        "intervals": {name: list(bounds) for name, bounds in e.intervals.items()},
        "interval_method": e.interval_method,
        # how much less than without a model: than untranslated images, or the truths' mean colour
        "gain": {name: e.gain(name) for name in e.compared},
        "gain_intervals": {name: list(bounds) for name, bounds in e.gains.items()},
        "extractor": {
            "name": e.extractor.name,
            "features": e.extractor.dimensions,
            "sha256": e.extractor.sha256,
        },
        "model_digest": model_digest,  # so that these scores can't register another model
        "data_version": e.manifest.version,
        "names": e.names,
        "data_uri": redact(e.data.uri),
        "scale": height / e.manifest.height,  # 1: test images are as large as what training crops from
        # what decides the headline, and nothing else: scores compare where this is the same
        "protocol": {
            "compared": "translations of test images with the test images of the target domain",
            "testA": len(e.sets["A"].images),
            "testB": len(e.sets["B"].images),
            "chosen_by": f"seed {e.config.seed}" if e.config.max_images else "all",
            "prepared": f"{e.manifest.height}x{e.manifest.width}, {e.manifest.filter}",
            "image_size": f"{height}x{width}, resized where that differs by antialiased bicubic (torch)",
            "rounding": f"{e.sets['A'].images.dtype}, as if saved without loss",
            **({} if all_rgb(e.data.kinds) else {"pixels": in_words(e.data.kinds)}),
        },
        "notes": e.notes,
        "config": asdict(e.config),
        "seconds": {name: round(value, 3) for name, value in e.seconds.items()},
        "versions": library_versions(),
        "git_commit": e.model.config.get("git_commit"),
        "mlflow_run_id": run_id or e.model.config.get("mlflow_run_id"),
    }
