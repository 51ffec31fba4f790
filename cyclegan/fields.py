"""What the fields of configuration dataclasses say about themselves, beside their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

Role = Literal["weights", "schedule", "none"]
"""What a field decides: the weights after every update, the learning rate by epoch, or neither."""


def indifferent(default: T, *, recorded: bool = True, pixels: bool = True) -> T:
    """A field that leaves the weights as they are, up to rounding: a run may be resumed with another.

    One that is not `recorded` does not appear among the settings that a step writes beside its result; one
    without `pixels` decides which images are kept, and not what an image becomes.
    """
    return field(default=default, metadata={"role": "none", "recorded": recorded, "pixels": pixels})


def later(default: T) -> T:
    """A field that came after results had been written without it, and whose default does what was done then.

    It is recorded only where it differs from that, so that those results stay what they were to the byte.
    """
    return field(default=default, metadata={"later": True})


def about_rows(default: T) -> T:
    """A field of preprocess that decides which images are kept, and not what an image becomes."""
    return field(default=default, metadata={"pixels": False})


def schedule(default: T) -> T:
    """A field of the schedule: a run may be resumed with another value as far as the rate was the same."""
    return field(default=default, metadata={"role": "schedule"})


def role(of: Field[Any]) -> Role:
    """What a field decides; the weights unless it says otherwise, so that forgetting to say so is safe."""
    return cast(Role, of.metadata.get("role", "weights"))


def recorded(config: DataclassInstance) -> dict[str, Any]:
    """The settings that a step writes beside its result, and that must be the same to keep that result."""
    return {
        one.name: value
        for one in fields(config)
        if one.metadata.get("recorded", True)
        and ((value := getattr(config, one.name)) != one.default or not one.metadata.get("later"))
    }


def of_pixels(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a configuration's recorded values that decide what an image becomes."""
    known = {one.name: one for one in fields(cls)}
    return {
        name: value
        for name, value in values.items()
        if name not in known or known[name].metadata.get("pixels", True)
    }


def deciding(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a configuration's values that decide the weights and differ from the defaults of `cls`.

    A field that is added later, with a default that does what was done before, is not among them; so it
    changes no run's key. Values of unknown names are kept: they come from a newer version.
    """
    known = {one.name: one for one in fields(cls)}
    found = {}
    for name, value in values.items():
        one = known.get(name)
        if one is None or (role(one) == "weights" and value != default_of(one)):
            found[name] = value
    return found


def default_of(one: Field[Any]) -> Any:
    """The default of a field; an object equal to nothing where it has none."""
    return object() if one.default is MISSING else one.default
