"""`params.yaml`: one section a step, each section the fields of that step's config dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cyclegan.errors import UsageError

Config = TypeVar("Config")


def read_params(path: Path) -> dict[str, dict[str, Any]]:
    """Read the sections of a parameter file.

    Raises UsageError if the file is missing, is no YAML, or is not a mapping of sections.
    """
    import yaml

    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the parameter file {path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"The parameter file {path} is not valid YAML{where}.") from None
    if not isinstance(sections, dict) or not all(isinstance(v, dict | None) for v in sections.values()):
        raise UsageError(f"The parameter file {path} must be a mapping of sections, one for each step.")
    return {name: section or {} for name, section in sections.items()}


def config_from(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build the config dataclass `cls` from plain values, checking names and types.

    `where` names the values' origin in the message. Strings that spell a number are taken as one, since
    YAML 1.1 reads `2e-4` as a string. Raises UsageError for an unknown name or a wrong type or value.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] in {"unexpected_keyword_argument", "unexpected_positional_argument"}:
            raise UsageError(f"{where} has no parameter '{name}'.") from None
        raise UsageError(f"{where}: {name} = {first['input']!r}: {first['msg']}.") from None


def load_section(path: Path, section: str, cls: type[Config]) -> Config:
    """One section of a parameter file as its config dataclass; fields not named keep their default."""
    return config_from(cls, read_params(path).get(section, {}), f"Section '{section}' of {path}")
