"""The wording rules find what they are for, and leave code and good English alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.prose import RULES, findings


def found(name: str, text: str) -> list[str]:
    return [words for _, words, _ in findings(Path(name), text)]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("x.txt is no image", "is no"),
        ("'x' is none of A, B", "is none of"),
        ("starting anew", "anew"),
        ("no weights at hand", "at hand"),
        ("3 files left aside", "left aside"),
        ("colours shall stay", "shall"),
        ("the same command goes on there", "goes on"),
        ("no CUDA here: give auto or cpu", ": give"),
        ("a compiler, not to be found here", "not to be found"),
        ("not finite any more; stop", "any more"),
        ("skipped for want of a GPU", "for want of"),
        ("see to it that one process runs", "see to it"),
        ("taints that tasks put up with", "put up with"),
        ("it was passed over", "passed over"),
        ("resumed or begun again", "begun again"),
        ("the very pixels", "the very"),
        ("it stands in scores.json", "stands in"),
        ("checkpoints lie in a folder", "lie in"),
        ("122 s by the clock", "by the clock"),
        ("every verb explains itself", "verb"),
        ("what is therein", "therein"),
        ("falls for ever", "for ever"),
        ("it has another size than the first", "another size than"),
        ("it holds something else than numbers", "something else than"),
        ("after some twenty updates", "some twenty"),
        ("pictures at even distances", "even distances"),
        ("a run is called after its data", "called after"),
        ("in the order by the alphabet", "by the alphabet"),
    ],
)
def test_each_rule_finds_its_phrase(sentence: str, words: str) -> None:
    assert found("a.md", sentence) == [words]


def test_every_rule_has_an_example() -> None:
    examples = next(m for m in test_each_rule_finds_its_phrase.pytestmark if m.name == "parametrize").args[1]
    assert len(examples) == len(RULES)


@pytest.mark.parametrize(
    "sentence",
    [
        "there is no such file",
        "There are no images in x",
        "it is no longer needed",
        "do not give up",
        "the very first epoch",
        "`--anew` is a flag",
        "    this goes on, in an indented block",
        "```\nthis goes on\n```",
    ],
)
def test_good_english_and_code_pass(sentence: str) -> None:
    assert found("a.md", sentence) == []


def test_python_is_read_for_comments_docstrings_and_messages_only() -> None:
    text = 'verb = 1\n"""A docstring on a verb."""\nprint(f"{verb}: give auto")  # at hand\n'
    assert found("a.py", text) == ["verb", ": give", "at hand"]
