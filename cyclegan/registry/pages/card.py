"""The model card: what a model translates, what it was trained on, how good it is, in Markdown."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from cyclegan.io.pages.page import interval, number
from cyclegan.io.uri import redact
from cyclegan.registry.metrics import NO_NAMES, where
from cyclegan.registry.metrics import scores as metrics_among

LIMITS = """\
The model knows pictures of the kind and scale it was trained on, and draws something for any other too: its
output is neither a measurement nor a photograph. Trained without pairs, it can move or invent details.
Colours can drift between the tiles of a large picture."""


def model_card(
    config: Mapping[str, Any],
    scores: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    license_id: str = "",
    front_matter: bool = True,
    pictures: Sequence[tuple[str, str, str]] = (),
    load_from: str = "FOLDER",
) -> str:
    """The card of a model by its config.json and, if it was evaluated, scores.json and evaluation.json.

    `pictures` are rows of the direction, and where input and translation are.
    The YAML front matter is what the Hugging Face Hub reads. Nothing in the text depends on time or place.
    """
    names = domains(config)
    ways = {direction: where(direction, names) for direction in ("AtoB", "BtoA")}
    parts = [_front_matter(license_id, scores)] if front_matter else []
    parts.append(f"# CycleGAN: {names['A']} ↔ {names['B']}")
    parts.append(facts_table(config, license_id))
    if pictures:
        rows = [
            f"| {ways.get(way, way)} | {_shown('input', before)} | {_shown('translation', after)} |"
            for way, before, after in pictures
        ]
        head = "## Pictures\n\nThe first ones of the test set.\n\n| | input | translation |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows))
    if scores:
        parts.append(f"## Scores\n\n{_scores(scores, facts or {}, names)}")
    parts.append(
        "## Use\n\n```python\nfrom cyclegan import load\n\n"
        f'load("{load_from}")("picture.jpg").save("translated.png")          # {ways["AtoB"]}\n'
        f'load("{load_from}", "BtoA")("picture.jpg").save("translated.png")  # {ways["BtoA"]}\n```'
    )
    if command := training_command(config):
        parts.append(f"## Training command\n\n```\n{command}\n```")
    parts.append(f"## Limits\n\n{LIMITS}")
    return "\n\n".join(parts) + "\n"


def _shown(what: str, address: str) -> str:
    """A picture at a size that people see, however small the images are."""
    return f'<img alt="{what}" src="{quote(address)}" width="256">'


def domains(config: Mapping[str, Any]) -> dict[str, str]:
    """What a model's domains are called, by its config.json."""
    return dict(NO_NAMES) | dict((config.get("data") or {}).get("names") or {})


def facts_table(config: Mapping[str, Any], license_id: str = "") -> str:
    """What a model is and what it was trained on, as a Markdown table."""
    data, train = config.get("data") or {}, config.get("train") or {}
    names = domains(config)
    source = redact(str(data.get("uri") or "")) or "not recorded"
    generator = dict(config.get("generator") or {})
    kind = generator.pop("name", "generator")
    size = config.get("image_size", "?")
    size = "×".join(map(str, size)) if isinstance(size, list | tuple) else size
    trained = f"elsewhere, at {size} pixels"
    if not _imported(train):
        trained = f"{config.get('epochs', '?')} epochs at {size} pixels"
        if before := redact(str(train.get("init") or "")):
            trained += f", continued from `{before}`"
    rows = [
        ("Translates", f"{where('AtoB', names)} (`AtoB`) and {where('BtoA', names)} (`BtoA`)"),
        (
            "Generator",
            f"{kind}: {', '.join(f'{key} {value}' for key, value in generator.items()) or 'defaults'}",
        ),
        ("Training data", f"`{source}`, version `{data.get('version') or 'not recorded'}`"),
        ("Trained", trained),
        ("Seed", config.get("seed", "?")),
        ("Code", f"commit `{config.get('git_commit') or 'not recorded'}`"),
        ("License", license_id or "not stated; the training data's terms may apply"),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([lines[0], "|---|---|", *lines[1:]])


def training_command(config: Mapping[str, Any]) -> str:
    """The command that trains such a model, in lines; empty for one that came from elsewhere."""
    train = config.get("train") or {}
    if not train or _imported(train):
        return ""
    flags = [redact(_flag(key, value)) for key, value in train.items() if value not in ("", None)]
    whole = [
        "cyclegan\0train",
        *(flag.replace(" ", "\0") for flag in flags),
    ]  # a flag and its value stay in a line
    lines = textwrap.wrap(" ".join(whole), 90, break_long_words=False, break_on_hyphens=False)
    return " \\\n  ".join(lines).replace("\0", " ")


def _imported(train: Mapping[str, Any]) -> bool:
    return any(key.startswith("imported_") for key in train)


def _flag(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{key}" if value else f"--no-{key}"
    if isinstance(value, list | tuple):
        return " ".join([f"--{key}", *(shlex.quote(str(item)) for item in value)])
    return f"--{key} {shlex.quote(str(value))}"


def _front_matter(license_id: str, scores: Mapping[str, float] | None) -> str:
    lines = ["---", "library_name: cyclegan-pipeline", "pipeline_tag: image-to-image"]
    lines += [f"license: {license_id}"] if license_id else []
    lines += ["tags:", "- cyclegan", "- image-to-image", "- unpaired"]
    if scores and "fid" in scores:
        lines += ["metrics:", "- fid"]
    return "\n".join([*lines, "---"])


def _scores(scores: Mapping[str, float], facts: Mapping[str, Any], names: Mapping[str, str]) -> str:
    intervals = facts.get("intervals") or {}
    lines = ["| score | | value | 95 % interval |", "|---|---|--:|--:|"]
    for metric in metrics_among(scores, names):
        if metric.order and not metric.direction and "score" in scores:
            continue  # the same number again
        label = f"{metric.label}, {metric.unit}" if metric.unit == "dB" else metric.label
        value = f"{number(scores[metric.name])} | {interval(intervals.get(metric.name))}"
        lines.append(f"| {label} | {metric.where} | {value} |")
    protocol = facts.get("protocol") or {}
    extractor = (facts.get("extractor") or {}).get("name")
    said = [f"features `{extractor}`"] if extractor else []
    plain = {key.replace("_", " "): v for key, v in protocol.items() if isinstance(v, int | float | str)}
    said += [f"{key} {value}" for key, value in plain.items()]
    return "\n".join(lines) + (f"\n\nProtocol: {', '.join(said)}." if said else "")
