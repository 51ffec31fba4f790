"""Every `cyclegan` command that the documentation shows is one that the parser takes."""

from __future__ import annotations

import re
import shlex

import pytest

from cyclegan.cli.commands import COMMANDS
from cyclegan.cli.main import parse
from cyclegan.errors import UsageError
from tests.tools.test_named_files import PAGES, ROOT

OPERATORS = {"|", "&&", "||", ";", "&", ">", ">>", "<", "2>", "2>&1"}
SHELLS = {"", "bash", "sh", "console", "shell"}
LEFT_OUT = ("…", "$(", "[", "COMMAND")
"""What stands for something that a page does not spell out."""


def commands(text: str) -> list[list[str]]:
    """The words of each command line of a page's code blocks, up to the shell's first operator."""
    fences = r"^```(.*)\n((?:.*\n)*?)```"
    fenced = [code for kind, code in re.findall(fences, text, re.MULTILINE) if kind in SHELLS]
    indented = re.findall(r"(?:^ {4}.*\n)+", re.sub(fences, "", text, flags=re.MULTILINE), re.MULTILINE)
    found = []
    for line in "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines():
        line = re.sub(r"^\s*(?:\$ )?(?:\w+=\S* +)*", "", line)
        if not re.match(r"cyclegan [a-z]", line):
            continue
        words = shlex.split(line, comments=True)
        if any(mark in word for word in words for mark in LEFT_OUT):
            continue
        end = next((i for i, word in enumerate(words) if word in OPERATORS), len(words))
        found.append(words[1:end])
    return found


SHOWING = [*PAGES, ROOT / "cyclegan" / "cli" / "project" / "README.md"]
SHOWN = [(page.name, words) for page in SHOWING for words in commands(page.read_text(encoding="utf-8"))]


def refusal(words: list[str]) -> str:
    """Why the command is refused; empty where it is not."""
    name, *args = words
    if name not in COMMANDS:
        return f"no command {name}"
    if {"-h", "--help"} & set(args):
        return ""
    try:
        parse(name, args)
    except (SystemExit, UsageError) as error:
        return str(error) or "refused"
    return ""


@pytest.mark.parametrize(
    ("page", "words"), SHOWN, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in SHOWN]
)
def test_a_command_that_a_page_shows_is_taken(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where params.yaml is
    assert refusal(words) == "", page


def test_a_wrong_command_is_noticed() -> None:
    text = """As in

    X=1 cyclegan preprocess data --names "aerial photo" map

```python
load("cyclegan")
```

```bash
cyclegan train \\
  --epoch 3  # few
```
"""
    said = commands(text)
    assert said == [["train", "--epoch", "3"], ["preprocess", "data", "--names", "aerial photo", "map"]]
    assert all(map(refusal, said)) and refusal(["fly"])
    assert not refusal(["train", "--epochs", "3"])
