"""Parameter files, `params.yaml` and the presets: a section for each step, with the fields of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from cyclegan.errors import UsageError

Config = TypeVar("Config")

SECTIONS = ("fetch", "preprocess", "train", "evaluate", "register")
ABOUT = "about"
"""A section for people: what a preset is for and what it costs."""
PRESETS = Path(__file__).resolve().parents[1] / "presets"


def suggestion(name: str, known: Sequence[str], else_say: str = ".") -> str:
    """How a sentence about an unknown name ends: with the nearest known one, if any is near."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else else_say


def read_params(path: Path) -> dict[str, dict[str, Any]]:
    """Read the sections of a parameter file.

    Raises UsageError if the file is missing, is not valid YAML, is not a mapping of sections, or has a
    section that no step reads.
    """
    sections = _read(path)
    sections.pop(ABOUT, None)
    for name in sections:
        if name not in SECTIONS:
            hint = suggestion(str(name), SECTIONS, f": the sections are {', '.join(SECTIONS)}.")
            raise UsageError(f"{path} has a section '{name}', which no step reads{hint}")
    return sections


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def preset_file(name: str) -> Path:
    """The parameter file of a preset; raises UsageError for an unknown name."""
    names = preset_names()
    if name not in names:
        known = "; `cyclegan presets` lists them." if name else f": there are {', '.join(names)}."
        raise UsageError(f"There is no preset '{name}'{suggestion(name, names, known)}")
    return PRESETS / f"{name}.yaml"


def about(name: str) -> dict[str, str]:
    """What a preset is for and what it costs: `purpose`, `cost`."""
    return {key: str(value) for key, value in _read(preset_file(name)).get(ABOUT, {}).items()}


def config_from(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build the config dataclass `cls` from plain values, checking names and types.

    `where` names the values' origin in the message. Strings that spell a number are taken as one. Raises
    UsageError for an unknown name or a wrong type or value.
    """
    from pydantic import TypeAdapter, ValidationError

    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UsageError(f"{where} has no parameter '{name}'{suggestion(str(name), known)}")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {name} = {first['input']!r}: {first['msg']}.") from None
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def load_section(path: Path, section: str, cls: type[Config]) -> Config:
    """One section of a parameter file as its config dataclass; fields not named keep their default."""
    return load_layers([path], section, cls)


def load_layers(paths: Sequence[Path], section: str, cls: type[Config]) -> Config:
    """One section of several parameter files, later ones overruling earlier ones field by field."""
    values: dict[str, Any] = {}
    config = cls()
    for path in paths:
        values |= read_params(path).get(section, {})
        config = config_from(cls, values, f"Section '{section}' of {path}")
    return config


def _read(path: Path) -> dict[str, dict[str, Any]]:
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
