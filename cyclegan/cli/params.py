"""`params.yaml`: one section a step, each section the fields of that step's config dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from cyclegan.errors import UsageError

Config = TypeVar("Config")


def read_params(path: Path) -> dict[str, dict[str, Any]]:
    """Read the sections of a parameter file.

    Raises UsageError if the file is missing, is no YAML, or is not a mapping of sections.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # YAML 1.2, as DVC reads it: `2e-4` is a number and `off` is a word
        sections = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise UsageError(f"Cannot read the parameter file {path}: {error.strerror}.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"The parameter file {path} is not valid YAML{where}.") from None
    if not isinstance(sections, dict) or not all(isinstance(v, dict | None) for v in sections.values()):
        raise UsageError(f"The parameter file {path} must be a mapping of sections, one for each step.")
    return {name: section or {} for name, section in sections.items()}


def config_from(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build the config dataclass `cls` from plain values, checking names and types.

    `where` names the values' origin in the message. Strings that spell a number are taken as one. Raises
    UsageError for an unknown name or a wrong type or value.
    """
    from pydantic import TypeAdapter, ValidationError

    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    for name in values.keys() - known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise UsageError(f"{where} has no parameter '{name}'{hint}")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {name} = {first['input']!r}: {first['msg']}.") from None


def load_section(path: Path, section: str, cls: type[Config]) -> Config:
    """One section of a parameter file as its config dataclass; fields not named keep their default."""
    return config_from(cls, read_params(path).get(section, {}), f"Section '{section}' of {path}")
