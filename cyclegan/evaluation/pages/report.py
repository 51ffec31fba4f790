"""The report: one page with everything inside it, for the browser, MLflow, Kubeflow and paper."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.evaluation.pages.samples import Shown, shown, spread
from cyclegan.evaluation.pages.verdict import verdict
from cyclegan.evaluation.result import Evaluation
from cyclegan.evaluation.translations import ENDS
from cyclegan.io.files import atomic_file
from cyclegan.io.pages import charts
from cyclegan.io.pages.page import interval, number, picture, write_page
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.registry.champion import Champion
from cyclegan.registry.metrics import GROUPS, describe, scores, where

FAILURES = 4
"""Pictures of each kind of failure."""


@dataclass(frozen=True)
class Row:
    """A line of a table of scores."""

    label: str
    value: str
    interval: str = ""
    champion: str = ""
    tone: str = ""
    """'good' or 'bad' where the value is certainly better or worse than the champion's."""
    hint: str = ""


@dataclass(frozen=True)
class Example:
    """One test image and what became of it; pictures as data: addresses by 'input', 'translation', …."""

    name: str
    caption: str
    pictures: dict[str, str]


@dataclass(frozen=True)
class Failures:
    """The worst images by one measure."""

    title: str
    explanation: str
    examples: list[Example]


def write_report(
    path: Path, e: Evaluation, details: dict[str, Any], champion: Champion | None, model: Path
) -> None:
    """Render report.html into `path`."""
    old = champion or Champion("")
    curves = charts.read_losses(model / "losses.csv", e.names)
    write_page(
        path,
        "evaluation/pages/report.html.j2",
        title=e.data.title,
        details=details,
        verdict=verdict(e, champion),
        notes=_notes(details["notes"]),
        directions=[
            {
                "title": where(d, e.names),
                "source": e.names[ENDS[d][0]],
                "target": e.names[ENDS[d][1]],
                "examples": _examples(e, d),
                "failures": _failures(e, d),
                "nearest": _nearest(e, d),
                "groups": _groups(e, d, old),
            }
            for d in DIRECTIONS
        ],
        distances=_distance_bars(e, old),
        errors=_error_bars(e, old),
        frechet=_frechet_label(e),
        champion=champion,
        champion_column=len(old.scores) > 1,  # the registry knows the headline alone
        charts=[charts.lines(name, "update", series) for name, series in curves.items()],
        all_scores=[_row(name, name, e, old) for name in e.scores],
        parameters=[(name, str(value)) for name, value in (e.model.config.get("train") or {}).items()],
        facts=_facts(e, details),
    )


def _notes(notes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is bad, then what a reader has to know."""
    bad = [note for note in notes if note.startswith("Worse")]
    rest = [note for note in notes if note not in bad]
    return [(tone, part) for tone, part in (("bad", bad), ("warn", rest)) if part]


def write_per_image(path: Path, e: Evaluation) -> None:
    """per_image.csv: direction, file, and each value measured on single images."""
    names = list(dict.fromkeys(name for values in e.per_image.values() for name in values))
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["direction", "image", *names])
        for d, values in e.per_image.items():
            for i, image in enumerate(e.sets[ENDS[d][0]].names):
                writer.writerow([d, _cell(image), *(_number(values, name, i) for name in names)])


def _number(values: Mapping[str, np.ndarray], name: str, i: int) -> str:
    return f"{values[name][i]:.6g}" if name in values else ""  # two images have no influence


def _cell(name: str) -> str:
    """A file's name as text: spreadsheets compute what begins as a formula does, and run what it names."""
    return f"'{name}" if name.lstrip().startswith(("=", "+", "-", "@")) or name[:1].isspace() else name


def _frechet_label(e: Evaluation) -> str:
    return "FID" if e.extractor.frechet == "fid" else f"Fréchet distance ({e.extractor.name})"


def _distance_bars(e: Evaluation, champion: Champion) -> charts.Bars:
    known = e.scores.get(f"{e.extractor.frechet}_input")
    untranslated = {} if known is None else {"untranslated": known}
    names = {f"{e.extractor.frechet}_{d}": where(d, e.names) for d in DIRECTIONS} | {"score": "both"}
    return charts.bars(
        [_level(e, champion, n, label, untranslated) for n, label in names.items()], "0 is alike"
    )


def _error_bars(e: Evaluation, champion: Champion) -> charts.Bars | None:
    """L1 to the truth beside what no model at all reaches; None without test pairs."""
    if "l1_AtoB" not in e.scores:
        return None
    levels = []
    for d in DIRECTIONS:
        known = {"untranslated": f"l1_{d}_input", "mean colour": f"l1_{d}_mean"}
        baselines = {label: e.scores[name] for label, name in known.items() if name in e.scores}
        levels.append(_level(e, champion, f"l1_{d}", where(d, e.names), baselines))
    return charts.bars(levels, "0 is the truth")


def _level(
    e: Evaluation, champion: Champion, name: str, label: str, baselines: dict[str, float]
) -> charts.Level:
    return charts.Level(
        label,
        e.scores[name],
        e.intervals.get(name),
        champion.scores.get(name),
        champion.intervals.get(name),
        baselines,
    )


def _row(name: str, label: str, e: Evaluation, champion: Champion, hint: str = "") -> Row:
    bounds, value, old = e.intervals.get(name), e.scores[name], champion.scores.get(name)
    tone = ""
    metric, theirs = describe(name), champion.intervals.get(name)
    if metric and metric.higher_is_better is not None and bounds and theirs:
        if bounds[0] > theirs[1]:
            tone = "good" if metric.higher_is_better else "bad"
        elif bounds[1] < theirs[0]:
            tone = "bad" if metric.higher_is_better else "good"
    return Row(label, number(value), interval(bounds), "" if old is None else number(old), tone, hint)


def _groups(e: Evaluation, d: Direction, champion: Champion) -> list[tuple[str, list[Row]]]:
    """The scores of a direction by group: (what the group is about, its rows)."""
    source, target = ENDS[d]
    # the cycle starts in the source; the generator that makes the target is given target images
    wanted = {d: d, f"cycle_l1_{source}": d, f"identity_l1_{target}": d}
    real = e.scores[f"nearest_train_{target}"]
    hints = {
        f"nearest_train_{d}": f"real test images: {number(real)}; a copy is near 0",
        f"map_accuracy_{d}": f"share of pixels with all channels within {e.config.map_threshold} of 255",
    }
    groups: dict[str, list[Row]] = {group: [] for group in GROUPS}
    for metric in scores(e.scores, e.names):
        if metric.direction != d and metric.name not in wanted:
            continue
        hint = hints.get(metric.name, metric.hint)
        if metric.name in e.compared:
            hint = _beside_the_baseline(e, metric.name)
        if metric.name.startswith(("cycle", "identity")):
            hint = f"{metric.where}, mean absolute error"
        unit = f", {metric.unit}" if metric.unit == "dB" else ""
        groups[metric.group].append(_row(metric.name, metric.label + unit, e, champion, hint))
    return [(group, rows) for group, rows in groups.items() if rows]


def _beside_the_baseline(e: Evaluation, name: str) -> str:
    """What can be had without a model, and how much less a distance or an error is now."""
    known, gain, bounds = e.baseline(name), e.gain(name), e.gains.get(name)
    if name in e.distances:
        what, zero, less, more = "untranslated input", "alike", "of the way", "farther than the input"
    else:
        what, zero = "the truths' mean colour", "the truth"
        less, more = "below the mean colour's", "above the mean colour's"
    if known is None:
        return f"0 is {zero}"
    hint = f"{what}: {number(known)}; 0 is {zero}"
    if gain is None or bounds is None:
        return hint
    if gain < 0:
        less, gain, bounds = more, -gain, (-bounds[1], -bounds[0])
    low, high = (round(100 * bound) for bound in bounds)
    return f"{hint}; {100 * gain:.0f} % {less} (95 %: {low} to {high} %)"


def _examples(e: Evaluation, d: Direction) -> list[Example]:
    rows = spread(len(e.translations[d].images), e.config.examples)
    return _with_captions(shown(e, d, rows), [_caption(e, d, row) for row in rows])


def _caption(e: Evaluation, d: Direction, row: int) -> str:
    values = e.per_image[d]
    caption = f"cycle error {values['cycle_l1'][row]:.3f}"
    return caption + (f" · L1 to the truth {values['l1'][row]:.3f}" if "l1" in values else "")


def _with_captions(some: Shown, captions: Sequence[str]) -> list[Example]:
    return [
        Example(name, caption, {kind: picture(images[i]) for kind, images in some.pictures.items()})
        for i, (name, caption) in enumerate(zip(some.names, captions, strict=True))
    ]


def _failures(e: Evaluation, d: Direction) -> list[Failures]:
    """Where to look for faults: three measures of single images, each with the worst by it."""
    target = e.names[ENDS[d][1]]
    values = e.per_image[d]
    found = []

    def add(kind: str, title: str, explanation: str, caption: str, scale: float, *, positive: bool) -> None:
        order = [int(row) for row in np.argsort(-values[kind], kind="stable")[:FAILURES]]
        rows = [row for row in order if not positive or values[kind][row] > 0]
        if rows:
            captions = [caption.format(values[kind][row] / scale) for row in rows]
            found.append(Failures(title, explanation, _with_captions(shown(e, d, rows), captions)))

    add(
        "cycle_l1",
        "Lost on the way back",
        f"Largest cycle error: translated to {target} and back, these differ most from what they were, so "
        "the translation dropped or invented something.",
        "cycle error {:.3f}",
        1.0,
        positive=False,
    )
    add(
        "nearest_real",
        f"Least like any real {target} image",
        f"Largest distance, in {e.extractor.name} features, to the nearest real test image. 1 is the "
        f"median distance between a real {target} image and the nearest other one.",
        "{:.2f} × the distance of real neighbours",
        e.spacing[d] or 1.0,
        positive=False,
    )
    if "influence" in values:
        add(
            "influence",
            "These carry the score",
            f"Leave-one-out influence: by how much the {_frechet_label(e)} would drop if the test set did "
            "not have this image. Share of the whole in per cent.",
            "{:.1f} % of the distance",
            max(e.scores[f"{e.extractor.frechet}_{d}"], 1e-12) / 100,
            positive=True,
        )
    return found


def _nearest(e: Evaluation, d: Direction) -> list[tuple[str, str, str]]:
    """The four translations nearest to a training image: caption, translation, training image."""
    target = ENDS[d][1]
    train = e.data.array(f"train{target}")
    found = e.nearest[d]
    return [
        (
            f"{found.distance[i]:.3f}",
            picture(e.views[target](e.translations[d].images[i]), 200),
            picture(e.views[target](np.asarray(train[found.row[i]])), 200),
        )
        for i in np.argsort(found.distance, kind="stable")[:4]
    ]


def _facts(e: Evaluation, details: dict[str, Any]) -> list[tuple[str, str]]:
    protocol = details["protocol"]
    generator = e.model.config.get("generator") or {}
    options = ", ".join(f"{key} {value}" for key, value in generator.items() if key != "name")
    facts = [
        ("Data", f"{details['data_uri']}"),
        ("Data version", details["data_version"]),
        (
            "Domains",
            f"A is {e.names['A']}, B is {e.names['B']}" if set(e.names.values()) != {"A", "B"} else "",
        ),
        ("Test images", f"{protocol['testA']} A, {protocol['testB']} B ({protocol['chosen_by']})"),
        ("Pairs", "test A and B are pairs" if e.manifest.paired else "unpaired"),
        ("Generator", f"{generator.get('name', '')} ({options})"),
        ("Epochs", e.model.config.get("epochs")),
        ("Git commit", details["git_commit"]),
        ("MLflow run", details["mlflow_run_id"]),
        ("Extractor", f"{e.extractor.name}, sha256 {e.extractor.sha256[:16]}…"),
        ("Compared", protocol["compared"]),
        ("Prepared", protocol["prepared"]),
        ("Image size", protocol["image_size"]),
        ("Rounding", protocol["rounding"]),
        ("Intervals", details["interval_method"]),
        ("Time", ", ".join(f"{name} {value:.1f} s" for name, value in details["seconds"].items())),
        ("Versions", ", ".join(f"{name} {value}" for name, value in details["versions"].items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
