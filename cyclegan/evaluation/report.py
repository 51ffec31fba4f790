"""The report: one page with everything inside it, for the browser, MLflow, Kubeflow and paper."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.evaluation.measure import Evaluation
from cyclegan.evaluation.translations import ENDS, reconstruct
from cyclegan.io import charts
from cyclegan.io.files import atomic_file
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.registry.champion import Champion

LARGEST = 320
"""Pixels of the longer side of a picture in the page."""


@dataclass(frozen=True)
class Row:
    """A line of a table of scores."""

    label: str
    value: str
    interval: str = ""
    champion: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Example:
    """One test image and what became of it; pictures as data: addresses."""

    name: str
    group: str
    caption: str
    given: str
    translation: str
    reconstruction: str
    truth: str | None


def picture(image: np.ndarray, quality: int = 85) -> str:
    """An H×W×3 uint8 image as a data: address of a WebP of at most LARGEST pixels a side."""
    shown = Image.fromarray(image)
    shown.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def number(value: float) -> str:
    """Four significant digits, at most five decimals, never an exponent: for people who compare."""
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 5)}f}"


def pick_examples(errors: Sequence[float], most: int) -> list[tuple[str, int]]:
    """Group and row of best, median and worst by `errors`, `most` in all; every row when they are few."""
    order = [int(i) for i in np.argsort(errors, kind="stable")]
    n, third = len(order), max(1, most // 3)
    if n <= 3 * third:
        return [
            ("median" if 0 < i < n - 1 else "best" if i == 0 else "worst", row) for i, row in enumerate(order)
        ]
    middle = (n - third) // 2
    parts = {"best": order[:third], "median": order[middle : middle + third], "worst": order[n - third :]}
    return [(group, row) for group, rows in parts.items() for row in rows]


def write_report(
    path: Path, e: Evaluation, details: dict[str, Any], champion: Champion | None, model: Path
) -> None:
    """Render report.html into `path`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cyclegan.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    old_scores = champion.scores if champion else {}
    old_intervals = champion.intervals if champion else {}
    curves = charts.read_losses(model / "losses.csv")
    page = environment.get_template("report.html.j2").render(
        title=e.data.title,
        details=details,
        config=e.model.config,
        score=_row("score", "Score", e, old_scores),
        headline_bars=charts.bars(
            [
                (label, e.scores[name], e.intervals.get(name), old_scores.get(name), old_intervals.get(name))
                for name, label in _headline_names(e)
            ]
        ),
        verdict=champion.verdict if champion else "",
        champion_comparable=bool(old_scores),
        champion_column=len(old_scores) > 1,  # the registry knows the headline alone
        directions=[_direction(e, d, old_scores) for d in DIRECTIONS],
        examples={d: _examples(e, d) for d in DIRECTIONS},
        nearest={d: _nearest(e, d) for d in DIRECTIONS},
        charts=[charts.lines(title, "step", series) for title, series in curves.items()],
        all_scores=[_row(name, name, e, old_scores) for name in e.scores],
        parameters=_flat(e.model.config.get("train") or {}),
        facts=_facts(e, details),
    )
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def write_per_image(path: Path, e: Evaluation) -> None:
    """per_image.csv: direction, file, and each value measured on single images."""
    names = list(dict.fromkeys(name for values in e.per_image.values() for name in values))
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["direction", "image", *names])
        for d, values in e.per_image.items():
            for i, image in enumerate(e.sets[ENDS[d][0]].names):
                writer.writerow([d, image, *(f"{values[name][i]:.6g}" for name in names)])


def _headline_names(e: Evaluation) -> list[tuple[str, str]]:
    frechet = e.extractor.frechet
    return [("score", "both (score)"), (f"{frechet}_AtoB", "A → B"), (f"{frechet}_BtoA", "B → A")]


def _row(name: str, label: str, e: Evaluation, champion: dict[str, float], hint: str = "") -> Row:
    bounds = e.intervals.get(name)
    return Row(
        label,
        number(e.scores[name]),
        f"{number(bounds[0])} – {number(bounds[1])}" if bounds else "",
        number(champion[name]) if name in champion else "",
        hint,
    )


def _direction(e: Evaluation, d: Direction, champion: dict[str, float]) -> dict[str, Any]:
    source, target = ENDS[d]
    x = e.extractor
    frechet = "FID" if x.frechet == "fid" else f"Fréchet distance ({x.name})"
    kernel = "KID" if x.kernel == "kid" else f"Kernel distance ({x.name})"
    wanted = [
        (f"{x.frechet}_{d}", frechet, f"untranslated input: {number(e.scores[f'{x.frechet}_input'])}"),
        (f"{x.kernel}_{d}", kernel, "unbiased; 0 is alike"),
        (f"l1_{d}", "L1 to the truth", _baselines(e, d)),
        (f"map_accuracy_{d}", "Pixel accuracy", f"all channels within {e.config.map_threshold} of 255"),
        (f"ssim_{d}", "SSIM", "1 is the truth"),
        (f"psnr_{d}", "PSNR, dB", "higher is better"),
        (f"cycle_l1_{source}", "Cycle error", f"{source} → {target} → {source}, L1"),
        (f"identity_l1_{target}", "Identity error", f"{target} given to {source} → {target}, L1"),
        (f"precision{x.suffix}_{d}", "Precision", "share that looks real"),
        (f"recall{x.suffix}_{d}", "Recall", "share of the real that is covered"),
        (
            f"nearest_train_{d}",
            "Nearest training image",
            f"real test images: {number(e.scores[f'nearest_train_{target}'])}",
        ),
    ]
    rows = [_row(name, label, e, champion, hint) for name, label, hint in wanted if name in e.scores]
    return {"title": f"{source} → {target}", "rows": rows}


def _baselines(e: Evaluation, d: Direction) -> str:
    if f"l1_{d}_input" not in e.scores:
        return ""
    given, mean = number(e.scores[f"l1_{d}_input"]), number(e.scores[f"l1_{d}_mean"])
    return f"input unchanged: {given}; mean colour: {mean}"


def _examples(e: Evaluation, d: Direction) -> list[Example]:
    source, target = ENDS[d]
    chosen = pick_examples(list(e.translations[d].cycle), e.config.examples)
    rows = [row for _, row in chosen]
    given = e.sets[source].images
    back = reconstruct(e.model, d, given[rows], e.extractor.device)
    examples = []
    for (group, row), returned in zip(chosen, back, strict=True):
        values = e.per_image[d]
        caption = f"cycle {values['cycle_l1'][row]:.3f}"
        if "l1" in values:
            caption += f" · L1 {values['l1'][row]:.3f}"
        truth = picture(e.sets[target].images[row]) if e.manifest.paired else None
        shown = picture(given[row]), picture(e.translations[d].images[row]), picture(returned)
        examples.append(Example(e.sets[source].names[row], group, caption, *shown, truth))
    return examples


def _nearest(e: Evaluation, d: Direction) -> list[tuple[str, str, str]]:
    """The four translations nearest to a training image: caption, translation, training image."""
    target = ENDS[d][1]
    train = e.data.array(f"train{target}")
    found = e.nearest[d]
    return [
        (
            f"{found.distance[i]:.3f}",
            picture(e.translations[d].images[i]),
            picture(np.asarray(train[found.row[i]])),
        )
        for i in np.argsort(found.distance, kind="stable")[:4]
    ]


def _flat(values: dict[str, Any]) -> Iterable[tuple[str, str]]:
    return [(name, str(value)) for name, value in values.items()]


def _facts(e: Evaluation, details: dict[str, Any]) -> list[tuple[str, str]]:
    protocol = details["protocol"]
    generator = e.model.config.get("generator") or {}
    facts = [
        ("Data", f"{details['data_uri']}"),
        ("Data version", details["data_version"]),
        ("Test images", f"{protocol['testA']} A, {protocol['testB']} B ({protocol['chosen_by']})"),
        ("Pairs", "test A and B are pairs" if e.manifest.paired else "unpaired"),
        ("Generator", " ".join(f"{k}={v}" if k != "name" else str(v) for k, v in generator.items())),
        ("Epochs", e.model.config.get("epochs")),
        ("Git commit", details["git_commit"]),
        ("MLflow run", details["mlflow_run_id"]),
        ("Extractor", f"{e.extractor.name}, sha256 {e.extractor.sha256[:16]}…"),
        ("Compared with", protocol["compared"]),
        ("Prepared", protocol["prepared"]),
        ("Image size", protocol["image_size"]),
        ("Rounding", protocol["rounding"]),
        ("Intervals", details["interval_method"]),
        ("Time", ", ".join(f"{name} {value:.1f} s" for name, value in details["seconds"].items())),
        ("Versions", ", ".join(f"{name} {value}" for name, value in details["versions"].items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
