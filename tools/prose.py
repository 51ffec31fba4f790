"""Check the wording of docs, help, messages, docstrings and comments against a few rules of plain English.

    python -m tools.prose                  # what [tool.prose] in pyproject.toml names; part of `make lint`
    python -m tools.prose cyclegan docs    # these files and folders, whatever the settings exclude

Code is not prose: fenced blocks and `code spans` are skipped in Markdown, and of Python files only comments
and string literals are read. Exits with 1 when a rule matches.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

RULES: tuple[tuple[str, str], ...] = (
    (r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b)", "write 'is not a', 'are not', 'has no'"),
    (r"\bis none of\b", "write 'is not one of', or say what was expected"),
    (r"\banew\b", "write 'again' or 'from scratch'"),
    (r"\bat hand\b", "write 'available' or 'found'"),
    (r"\b(?:left|leaves?|leaving) aside\b", "write 'ignored' or 'skipped'"),
    (r"\bshall\b", "write 'must' or 'should'"),
    (r"\b(?:go|goes|going|went|gone) on\b", "write 'continue' or 'resume'"),
    (r"(?:[:;,.] |^)[Gg]ive (?!up\b)", "write 'use', 'set' or 'pass'"),
    (r"\bnot to be (?:found|had)\b", "write 'not found'"),
    (r"\bany more(?=[.;,:]|$)", "write 'no longer'"),
    (r"\bfor (?:want|lack) of\b", "write 'without' or 'because there is no'"),
    (r"\bsees? to it\b", "write 'make sure'"),
    (r"\bputs? up with\b", "write 'tolerate'"),
    (r"\bpassed over\b", "write 'skipped'"),
    (r"\bbeg[aiu]n again\b", "write 'restarted'"),
    (r"\bthe very (?!first\b|last\b)", "write 'the same' or 'exactly the'"),
    (r"\bstands? (?:in|under|beside|behind|there|with)\b", "write 'is in' or 'is under'"),
    (r"\blies? (?:in|under|beside|there)\b", "write 'is in' or 'is under'"),
    (r"\bby the clock\b", "write 'wall time'"),
    (r"\bverbs?\b", "the word is 'command'"),
    (r"\b(?:here|there|where)(?:in|of|upon|by|with)\b(?! to)", "say it in present-day words"),
    (r"\bfor ever\b", "write 'indefinitely' or 'without end'"),
    (r"\banother (?:\w+ ){1,2}than\b", "write 'a different …' or '… other than'"),
    (r"\bsomething else than\b", "write 'something other than'"),
    (r"\b[Ss]ome (?:\d+|ten|twenty|hundred|thousand|seconds|minutes|MB)\b", "write 'about' or 'a few'"),
    (r"\beven distances\b", "write 'evenly spaced'"),
    (r"\bcalled after\b", "write 'named after'"),
    (r"\bby the alphabet\b", "write 'alphabetically'"),
)
_COMPILED = [(re.compile(pattern), advice) for pattern, advice in RULES]
_MARKUP = {".md"}
_HASH_COMMENTS = {".yaml", ".yml", ".toml", ".env", ".example", ""}
_TEMPLATES = {".j2", ".html"}


def markdown_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without fenced or indented blocks and code spans."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, re.sub(r"`[^`]*`", "`", line)


def python_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines of comments and of string literals."""
    prose = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in prose:
            words = token.string
            if words[0] in "fF":  # up to Python 3.11 an f-string is one token, code included
                words = re.sub(r"\{[^{}\n]*\}", "{}", words)
            for offset, line in enumerate(words.splitlines()):
                yield token.start[0] + offset, re.sub(r"`[^`]*`", "`", line)


def comment_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if "#" in line:
            yield number, line[line.index("#") :]


def findings(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Line, words and advice for each match, in the order of the file."""
    if path.suffix == ".py":
        lines = python_lines(text)
    elif path.suffix in _MARKUP:
        lines = markdown_lines(text)
    elif path.suffix in _HASH_COMMENTS:
        lines = comment_lines(text)
    elif path.suffix in _TEMPLATES:
        lines = iter(enumerate(text.splitlines(), 1))
    else:
        return
    for number, line in lines:
        for rule, advice in _COMPILED:
            for match in rule.finditer(line):
                yield number, match.group().strip(), advice


def files(names: list[str], excluded: list[str]) -> Iterator[Path]:
    """The files named, and those in the folders named, but for excluded and hidden ones."""

    def wanted(path: Path, top: Path) -> bool:
        relative = path.relative_to(ROOT).as_posix()
        parts = path.relative_to(top).parts
        hidden = any(part == "__pycache__" or part.startswith(".") for part in parts)
        return not hidden and not any(relative == out or relative.startswith(out + "/") for out in excluded)

    for name in names:
        top = ROOT / name
        if top.is_file() and name not in excluded:
            yield top
        yield from (path for path in sorted(top.rglob("*")) if path.is_file() and wanted(path, top))


def main(arguments: list[str]) -> int:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["prose"]
    missing = [name for name in arguments or settings["paths"] if not (ROOT / name).exists()]
    if missing:
        print(f"not found: {', '.join(missing)}", file=sys.stderr)
        return 2
    excluded = [] if arguments else settings["exclude"]
    count = 0
    for path in files(arguments or settings["paths"], excluded):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        for number, words, advice in findings(path, text):
            count += 1
            print(f"{path.relative_to(ROOT)}:{number}: '{words}': {advice}")
    if count:
        print(f"{count} phrases to reword", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
