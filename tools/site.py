"""MkDocs hook: pages that are made from files outside docs/, so that nothing is written twice.

README.md, CHANGELOG.md, CONTRIBUTING.md and SECURITY.md become pages with their links adapted. The API
reference lists what `cyclegan` exports, from wherever it is defined.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import cyclegan

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
STEPS = ("fetch", "preprocess", "train", "evaluate", "register")
CONFIGS = {step: f"{step.capitalize()}Config" for step in STEPS}
INNER = (
    "cyclegan.networks",
    "cyclegan.training.updates.losses",
    "cyclegan.training.updates.schedule",
    "cyclegan.evaluation.distances",
    "cyclegan.evaluation.paired",
    "cyclegan.io.storage",
)
"""Modules worth reading for people who build on the parts rather than on the steps."""


def at_home(name: str, options: Sequence[str] = ()) -> str:
    lines = [f"::: {cyclegan._HOMES[name]}.{name}"]
    if options:
        lines += ["    options:", *(f"      {option}" for option in options)]
    return "\n".join(lines)


def reference() -> str:
    """The Markdown of the API reference."""
    parts = [
        "# API reference",
        "Each step takes paths and one configuration. Steps, configurations, `load` and the errors can be "
        "imported from `cyclegan` itself.",
    ]
    for step in STEPS:
        parts += [f"## {step.capitalize()}", at_home(step), at_home(CONFIGS[step])]
    translator = cyclegan._HOMES["load"]
    parts += ["## Using a model", at_home("load"), f"::: {translator}.Translator"]
    parts += ["## Errors", at_home("UsageError"), at_home("CycleGANError")]
    listed = {*STEPS, *CONFIGS.values(), "load", "UsageError", "CycleGANError", "__version__"}
    if unlisted := set(cyclegan.__all__) - listed:
        raise KeyError(
            f"tools/site.py does not list {', '.join(sorted(unlisted))} of cyclegan in the reference"
        )
    parts.append("## The parts")
    parts += [f"::: {module}" for module in INNER]
    return "\n\n".join(parts) + "\n"


def adapted(text: str) -> str:
    """The text of a file in the root as a page in docs/: links lead to the pages."""

    def target(match: re.Match[str]) -> str:
        link = match[1]
        name, mark, fragment = link.removeprefix("docs/").partition("#")
        return f"]({PAGES.get(name, name)}{mark}{fragment})"

    return re.sub(r"\]\((?![a-z]+:)([^)\s]+)\)", target, text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=adapted(text)))
    files.append(File.generated(config, "api.md", content=reference()))
    return files
