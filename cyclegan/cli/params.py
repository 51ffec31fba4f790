"""Parameter files, `params.yaml` and the presets: a section for each step, with the fields of its config."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from cyclegan.errors import UsageError
from cyclegan.io.uri import printable

Config = TypeVar("Config")

SECTIONS = ("fetch", "preprocess", "train", "evaluate", "register")
ABOUT = "about"
"""A section for people: what a preset is for and what it costs."""
LARGEST_FILE = 256 << 10  # bytes
MOST_VALUES = 10_000
MOST_BRACKETS = 500
LARGEST_INTEGER = (1 << 63) - 1
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
            hint = suggestion(_cut(name), SECTIONS, f": the sections are {', '.join(SECTIONS)}.")
            raise UsageError(f"{path} has a section '{_cut(name)}', which no step reads{hint}")
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

    `where` names the values' origin in the message. Strings that spell a number are taken as one,
    and whole numbers as text where that is wanted, such as `channels: 4`, which Kubeflow Pipelines hands over
    as 4.0. Raises UsageError for an unknown
    name or a wrong type or value.
    """
    from pydantic import TypeAdapter, ValidationError

    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UsageError(f"{where} has no parameter '{_cut(name)}'{suggestion(_cut(name), known)}")
    texts = {field.name for field in fields(cls) if field.type == "str"}  # type: ignore[arg-type]
    plain = {
        name: str(int(value)) if name in texts and _is_count(value) else value
        for name, value in values.items()
    }
    try:
        config = TypeAdapter(cls).validate_python(plain)
        check_numbers(config)
        return config
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        shown = _cut(reprlib.repr(first["input"]))
        raise UsageError(f"{where}: {name} = {shown}: {_cut(first['msg'])}.") from None
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def check_numbers(config: Any) -> None:
    """Raise UsageError for a number, anywhere in a dataclass, that no library would take."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            check_numbers(value)
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise UsageError(f"{field.name} = {_cut(reprlib.repr(value))} is too large a number.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{field.name} = {value} is not a finite number.")


def load_section(path: Path, section: str, cls: type[Config]) -> Config:
    """One section of a parameter file as its config dataclass; fields not named keep their default."""
    return load_layers([path], section, cls)


def layers(preset: str | None, params: Path | None) -> list[Path]:
    """The files of `--preset` and `--params`, where given; the later one overrules the earlier one."""
    files = [] if preset is None else [preset_file(preset)]
    return files if params is None else [*files, params]


def load_layers(paths: Sequence[Path], section: str, cls: type[Config]) -> Config:
    """One section of several parameter files, later ones overruling earlier ones field by field."""
    values: dict[str, Any] = {}
    config = cls()
    for path in paths:
        values |= read_params(path).get(section, {})
        config = config_from(cls, values, f"Section '{section}' of {path}")
    return config


def _is_count(value: object) -> bool:
    number = type(value) is int or (type(value) is float and value.is_integer())
    return number and 0 <= value < 10**9  # type: ignore[operator]


def _cut(value: object) -> str:
    """What a message shows of a value: one line, not too long."""
    text = value if isinstance(value, str) else str(value)
    return printable(" ".join(text[:200].split()))[:80]


def _expanded(value: Any, known: dict[int, int] | None = None) -> int:
    """How many values there are once every alias is replaced by what it stands for, endless ones included."""
    known = {} if known is None else known
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) in known:
        return known[id(value)]
    known[id(value)] = MOST_VALUES + 1  # what contains itself meets this number
    inside = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    known[id(value)] = 1 + sum(_expanded(part, known) for part in inside)
    return known[id(value)]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"The parameter file {path} is larger than {LARGEST_FILE >> 10} kB.")
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > MOST_BRACKETS:  # the parser takes seconds to give up
            raise RecursionError
        # YAML 1.2, as DVC reads it: `2e-4` is a number and `off` is a word
        sections = YAML(typ="safe", pure=True).load(text)
    except OSError as error:
        raise UsageError(f"Cannot read the parameter file {path}: {error.strerror}.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"The parameter file {path} is not valid YAML{where}.") from None
    except RecursionError:
        raise UsageError(f"The parameter file {path} is nested too deeply.") from None
    except (ValueError, TypeError, KeyError, OverflowError) as error:  # 2020-13-45, !!int abc, 5000 digits
        raise UsageError(
            f"The parameter file {path} holds a value that cannot be read: {_cut(error)}."
        ) from None
    if _expanded(sections) > MOST_VALUES:
        raise UsageError(f"The parameter file {path} becomes more than {MOST_VALUES} values by its aliases.")
    if not isinstance(sections, dict) or not all(isinstance(v, dict | None) for v in sections.values()):
        raise UsageError(f"The parameter file {path} must be a mapping of sections, one for each step.")
    return {name: section or {} for name, section in sections.items()}
