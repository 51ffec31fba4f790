"""`name=value` words as the arguments of a compiled pipeline, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cyclegan.errors import UsageError
from pipeline.defaults import CONFIGS, check_options

KINDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "LIST": "a JSON list",
    "STRUCT": "a JSON object",
    "BOOLEAN": "true or false",
}


def load_spec(file: Path) -> dict[str, Any]:
    """The specification in a compiled file, whose second document is for Kubernetes alone."""
    if not file.is_file():
        raise UsageError(f"There is no compiled pipeline {file}: run `make compile`.")
    return next(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def parse(spec: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The arguments that `words` give, each checked against the pipeline's parameters.

    Raises UsageError for a word without '=', a name that the pipeline has not, a value of another type, or
    step options that the step would refuse.
    """
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    arguments: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}' is no parameter: write name=value, such as epochs=1.")
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}."
            raise UsageError(f"The pipeline has no parameter '{name}'; {hint}")
        arguments[name] = _value(name, text, known[name]["parameterType"])
        step = name.removesuffix("_options")
        if name != step and step in CONFIGS:
            check_options(step, text)
    return arguments


def check_complete(spec: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Raise UsageError where a parameter without a default is not given."""
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    missing = [name for name, facts in known.items() if not facts.get("isOptional") and name not in arguments]
    if missing:
        raise UsageError(f"{missing[0]} is missing: {known[missing[0]]['description']}")


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    try:
        if kind == "NUMBER_INTEGER":
            return int(text)
        if kind == "NUMBER_DOUBLE":
            return float(text)
        value = json.loads(text)
    except ValueError:
        raise UsageError(f"{name} must be {KINDS[kind]}, not '{text}'.") from None
    if not isinstance(value, {"LIST": list, "STRUCT": dict, "BOOLEAN": bool}[kind]):
        raise UsageError(f"{name} must be {KINDS[kind]}, not '{text}'.")
    return value
