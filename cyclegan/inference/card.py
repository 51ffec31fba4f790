"""The model card: what a model translates, what it was trained on, how good it is, in Markdown."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan.io.uri import redact

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
    data = config.get("data") or {}
    names = data.get("names") or {}
    a, b = names.get("A", "A"), names.get("B", "B")
    source = redact(str(data.get("uri") or "")) or "not recorded"
    generator = dict(config.get("generator") or {})
    kind = generator.pop("name", "generator")
    size = config.get("image_size", "?")
    size = "×".join(map(str, size)) if isinstance(size, list | tuple) else size
    train = config.get("train") or {}
    imported = any(key.startswith("imported_") for key in train)
    trained = (
        f"elsewhere, at {size} pixels" if imported else f"{config.get('epochs', '?')} epochs at {size} pixels"
    )
    rows = [
        ("Translates", f"{a} → {b} (`AtoB`) and {b} → {a} (`BtoA`)"),
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
    parts = [_front_matter(license_id, scores)] if front_matter else []
    parts.append(f"# CycleGAN: {a} ↔ {b}")
    lines = [f"| {name} | {value} |" for name, value in rows]
    parts.append("\n".join([lines[0], "|---|---|", *lines[1:]]))
    if pictures:
        rows_ = [
            f"| {name} | ![input]({before}) | ![translation]({after}) |" for name, before, after in pictures
        ]
        parts.append(
            "## Pictures\n\nThe first ones of the test set.\n\n| | input | translation |\n|---|---|---|\n"
            + "\n".join(rows_)
        )
    if scores:
        parts.append(f"## Scores\n\n{_scores(scores, facts or {})}")
    parts.append(
        "## Use\n\n```python\nfrom cyclegan import load\n\n"
        f'load("{load_from}")("photo.jpg").save("translated.png")        # A → B\n'
        f'load("{load_from}", "BtoA")("map.png").save("translated.png")  # B → A\n```'
    )
    if train and not imported:
        command = "cyclegan train " + " ".join(
            _flag(key, value) for key, value in train.items() if value not in ("", None)
        )
        wrapped = textwrap.wrap(redact(command), 90, break_long_words=False, break_on_hyphens=False)
        parts.append("## Training command\n\n```\n" + " \\\n  ".join(wrapped) + "\n```")
    parts.append(f"## Limits\n\n{LIMITS}")
    return "\n\n".join(parts) + "\n"


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


def _scores(scores: Mapping[str, float], facts: Mapping[str, Any]) -> str:
    intervals = facts.get("intervals") or {}
    lines = ["| score | value | 95 % interval |", "|---|---|---|"]
    for name, value in scores.items():
        if name.endswith("_se"):
            continue
        low_high = intervals.get(name)
        interval = f"{low_high[0]:.4g} to {low_high[1]:.4g}" if low_high else ""
        lines.append(f"| {name} | {value:.4g} | {interval} |")
    protocol = facts.get("protocol") or {}
    extractor = (facts.get("extractor") or {}).get("name")
    said = [f"features `{extractor}`"] if extractor else []
    said += [f"{key} {value}" for key, value in protocol.items() if isinstance(value, int | float | str)]
    return "\n".join(lines) + (f"\n\nProtocol: {', '.join(said)}." if said else "")
