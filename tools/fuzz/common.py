"""What every class of attacks uses."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock

Attack = Callable[[Random], None]
"""Makes one mutation and gives it to the code that reads such things. Returns where it was taken as valid."""


class WrongAccept(Exception):
    """Something was taken as valid that is not."""


def require(holds: bool, what: str) -> None:
    """Raise WrongAccept where a thing taken as valid lacks a property."""
    if not holds:
        raise WrongAccept(what)


def encodable(value: Any) -> bool:
    """Whether JSON without NaN, in UTF-8, holds the value, as files, pages and MLflow require."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False, default=str).encode()
    except (ValueError, RecursionError):
        return False
    return True


def damaged(text: str) -> bytes:
    """The text as bytes even where it is not Unicode, such as half of a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


@contextmanager
def offline() -> Iterator[None]:
    """No name resolves and no address answers."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with mock.patch("socket.getaddrinfo", refuse), mock.patch("socket.create_connection", refuse):
        yield
