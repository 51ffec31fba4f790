"""Files and fields that the documentation names exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.defaults import CONFIGS

ROOT = Path(__file__).resolve().parents[2]
CODE = ("cyclegan", "components", "pipeline", "tests", "benchmarks", "tools", "deploy")
FILES = {
    path.relative_to(ROOT).as_posix() for top in CODE for path in (ROOT / top).rglob("*") if path.is_file()
}
ROOMS = "|".join(path.name for path in (ROOT / "cyclegan").iterdir() if path.is_dir())
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def missing(text: str) -> list[str]:
    """Python files, and folders of the package, that code spans or drawings name and that are nowhere."""
    said = re.findall(rf"`([\w./-]+\.py|(?:{ROOMS})(?:/[a-z_]+)*/)(?::[^`]*)?`", text)
    for drawing in re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL):
        said += re.findall(r"[\w/]+\.py|(?<![\w/])(?:[a-z_]+/)+(?![\w/])", drawing.replace("<br/>", " "))
    folders = {"/".join(file.split("/")[:i]) + "/" for file in FILES for i in range(1, file.count("/") + 1)}
    known = FILES | folders
    return [name for name in said if not any(f"/{one}".endswith(f"/{name}") for one in known)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


def test_a_file_that_was_moved_is_noticed() -> None:
    text = "`data/packed.py: PackedImages`, `training/updates/`, `data/moved.py` and `training/elsewhere/`"
    assert missing(text) == ["data/moved.py", "training/elsewhere/"]
    drawing = '```mermaid\na["packed.py<br/>a crop"] --> b["updates/gone.py · old/ · progress/"]\n```'
    assert missing(drawing) == ["updates/gone.py", "old/"]


def test_options_of_a_step_that_a_page_names_are_its_fields() -> None:
    named = [
        (step, field)
        for page in PAGES
        for step, options in re.findall(r"(\w+)_options='(\{[^']*\})'", page.read_text(encoding="utf-8"))
        for field in re.findall(r'"(\w+)":', options)
    ]
    assert len(named) >= 3
    known = {step: {one.name for one in fields(config)} for step, config in CONFIGS.items()}
    assert [(step, field) for step, field in named if field not in known[step]] == []
