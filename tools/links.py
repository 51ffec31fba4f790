"""Check that every relative link in the Markdown files leads to a file, and every #fragment to a heading.

    python -m tools.links    # part of `make lint`; needs no network, so addresses on the web are not checked

Headings get their fragments as GitHub and the documentation site make them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tools.prose import ROOT

FOLDERS = (".github", "docs", "deploy")
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")


def without_code(text: str) -> str:
    """The text with fenced and indented blocks and code spans emptied, line for line."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        lines.append("" if fenced or line.startswith("    ") else re.sub(r"`[^`]*`", "", line))
    return "\n".join(lines)


def fragments(text: str) -> set[str]:
    """The fragments that a file's headings can be reached by."""
    found: set[str] = set()
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading and not fenced:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
            number = 0
            while (name := slug if not number else f"{slug}-{number}") in found:
                number += 1
            found.add(name)
    return found


def broken(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, target and reason of every link in `file` that leads nowhere."""
    text = file.read_text(encoding="utf-8")
    for number, line in enumerate(without_code(text).splitlines(), 1):
        for link in LINK.findall(line):
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            name, _, fragment = unquote(link).partition("#")
            target = (file.parent / name).resolve() if name else file
            if not target.is_relative_to(ROOT):
                yield number, link, "leaves the repository"
            elif not target.exists():
                yield number, link, "no such file"
            elif target.suffix == ".md" and fragment and fragment not in fragments(target.read_text("utf-8")):
                yield number, link, f"no heading '#{fragment}' in {target.name}"


def markdown_files() -> list[Path]:
    files = {file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md")}
    return sorted(files | set(ROOT.glob("*.md")))


def main() -> int:
    count = 0
    for file in markdown_files():
        for number, link, reason in broken(file):
            count += 1
            print(f"{file.relative_to(ROOT)}:{number}: {link}: {reason}")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
