"""Seeded damage to bytes, to text, and to values that JSON can hold."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NASTY_BYTES = (
    b"\0\0\0\0",
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\0\0\0\1",
    b"\xff\xff",
    b"../",
    b"/",
    b"\x80",
    b'"',
    b"{",
    b"[[[[",
)
NASTY_TEXT = (
    *("", " ", "\n", "\0", "\x1b[2J", "\u202e", "\ud800", "é", "\U0001f600", "٣", "²", "nan", "-0", "1e999"),
    *(
        "../../etc/passwd",
        "/dev/null",
        "=cmd|' /C calc'!A1",
        "{{7*7}}",
        "<script>",
        "${HOME}",
        "%s%n",
        "x" * 5000,
    ),
    *("9" * 5000, "models:/x", "s3://", "http://[::1/", "true", "null", "AtoB", "instance", "resnet", "unet"),
)
NASTY_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 256, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 2.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *([], {}, [[]], [None], [0, 0], [1, 2, 3], [float("nan")] * 2, {"": ""}, {"name": []}),
)


def mutate_bytes(data: bytes, rng: Random, ends: int = 1024) -> bytes:
    """One to eight changes, mostly in the first and last `ends` bytes, where files have their structure."""
    out = bytearray(data or b"\0")
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        edge = rng.randrange(min(ends, len(out)))
        place = rng.choice([rng.randrange(len(out)), edge, len(out) - 1 - edge])
        length = rng.choice([1, 2, 8, 64, 512])
        kind = rng.randrange(7)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place] = rng.randrange(256)
        elif kind == 2:
            nasty = rng.choice(NASTY_BYTES)
            out[place : place + len(nasty)] = nasty
        elif kind == 3:
            del out[place : place + length]
        elif kind == 4:
            out[place:place] = out[place : place + length]
        elif kind == 5:
            other = rng.randrange(len(out))
            out[place : place + length] = out[other : other + length]
        else:
            del out[place + 1 :]
        out = out or bytearray(b"\0")
    return bytes(out)


def mutate_text(text: str, rng: Random, letters: str = "[]{}&*!|>'\":-?#%@`,\n\t /0a~\0\x1b\\=.") -> str:
    """One to six changes: letters, nasty words, parts cut out, doubled or moved."""
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        place, length = rng.randrange(len(text) + 1), rng.choice([1, 1, 3, 10, 40])
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:place] + rng.choice(letters) + text[place + 1 :]
        elif kind == 1:
            text = text[:place] + rng.choice(NASTY_TEXT) + text[place:]
        elif kind == 2:
            text = text[:place] + text[place + length :]
        elif kind == 3:
            text = text[:place] + text[place : place + length] + text[place:]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:place] + text[other : other + length] + text[place:]
    return text


def mutate_value(value: Any, rng: Random) -> Any:
    """A copy of what JSON can hold with one to three parts replaced, removed, renamed, doubled or wrapped."""
    box = {"value": copy.deepcopy(value)}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(_places(box))
        parent, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind <= 3:
            parent[key] = copy.deepcopy(rng.choice(NASTY_VALUES + NASTY_TEXT))
        elif kind == 4:
            parent[key] = _relative(parent[key], rng)
        elif kind == 5 and parent is not box:
            del parent[key]
        elif kind == 6 and isinstance(parent, dict) and parent is not box:
            parent[rng.choice(NASTY_TEXT)] = parent.pop(key)
        else:
            other, name = rng.choice(places)
            parent[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else _at(other, name))
    return box["value"]


def as_json(value: Any, rng: Random) -> str:
    """The value as JSON; now and then as bytes went wrong, doubled keys or a nest of brackets."""
    text = json.dumps(value)
    kind = rng.randrange(20)
    if kind == 0:
        return mutate_text(text, rng)
    if kind == 1:
        return text.replace("{", '{"format": 1, "format": [], ', 1)
    if kind == 2:
        depth = rng.choice([50, 500, 5000])
        return text.replace("1", "[" * depth + "]" * depth, 1)
    return text


def _relative(value: Any, rng: Random) -> Any:
    """Another value that is close to this one."""
    ways: list[Any] = [[value], {"x": value}, str(value), None]
    if isinstance(value, int | float):
        ways += [-value, value + 1, value * 1000]
        if abs(value) < 1e300:
            ways += [float(value)]
    if isinstance(value, str):
        ways += [mutate_text(value, rng), value.upper(), value * 2, value[:-1]]
    if isinstance(value, list):
        ways += [value[:-1], value * 2, value[::-1], dict(enumerate(value))]
    if isinstance(value, dict):
        ways += [list(value), list(value.values())]
    return rng.choice(ways)


def _places(parent: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    pending = [parent]
    while pending and len(found) < 2000:
        one = pending.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                pending.append(one[key])
    return found


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None
