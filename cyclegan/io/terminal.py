"""The last door to a terminal or a log: nothing secret and no control character passes it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import PurePath
from typing import TextIO

from cyclegan.io.uri import printable, redact, scrub

LONGEST = 1000
"""Characters of a message; what it quotes may be as long as someone else likes."""


_TYPED: list[str] = []


def hide(words: Iterable[str]) -> None:
    """What was typed on the command line: messages that quote an address of it show it without its secrets.

    In a sentence alone it may not be clear where a password with spaces or quotes in it ends.
    """
    values = [value for word in words for value in (word, word.partition("=")[2])]
    forms = [form for value in values for form in (value, str(PurePath(value)))]
    _TYPED[:] = [form for form in forms if redact(form) != form]


class CleanFormatter(logging.Formatter):
    """Formats a record with its text arguments made safe.

    Names of files and answers of servers are arguments; line breaks in the message itself are the program's.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        if isinstance(record.args, tuple):
            record = logging.makeLogRecord(record.__dict__)
            record.args = tuple(clean(str(a)) if _is_text(a) else a for a in record.args or ())
        return super().format(record)


def _is_text(value: object) -> bool:
    return isinstance(value, str | PurePath | BaseException)


def clean(text: str) -> str:
    """The text without secrets of addresses in it, and with control characters escaped."""
    return printable(scrub(text, *_TYPED))


def sentence(error: BaseException) -> str:
    """What to print of an error: one line, clean, and its middle left out where it is very long."""
    said = clean(" ".join(scrub(str(error), *_TYPED).split()))
    half = LONGEST // 2
    return said if len(said) <= LONGEST else f"{said[:half]} … {said[-half:]}"


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error, above the progress bar if there is one.

    tqdm's own `logging_redirect_tqdm` does this too, but loads tqdm for commands that have no bar.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def log_to_terminal() -> None:
    """Send the package's log to standard error, cleaned."""
    handler = TerminalHandler(sys.stderr)
    handler.setFormatter(CleanFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("cyclegan").setLevel(logging.INFO)
