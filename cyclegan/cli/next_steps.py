"""How a command ends: what it made, and what to run next."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cyclegan.io.uri import redact

logger = logging.getLogger(__name__)


def command_line(words: Sequence[str | Path]) -> str:
    """A `cyclegan` command as one types it."""
    return "cyclegan " + " ".join(shlex.quote(redact(str(word))) for word in words)


def tell(made: Path | str, what: str, *then: Sequence[str | Path]) -> None:
    """Say where the result is and which commands come next; in a DVC stage nothing comes next by hand."""
    logger.info("\n%s: %s", what[0].upper() + what[1:], redact(str(made)))
    if "DVC_STAGE" not in os.environ:
        lead = ["Next:", *[" or:"] * len(then)][: len(then)]
        for word, words in zip(lead, then, strict=True):
            logger.info("%-6s%s", word, command_line(words))
