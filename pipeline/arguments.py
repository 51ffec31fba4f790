"""`name=value` words as the arguments of a compiled pipeline, checked before anything runs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cyclegan.cli.params import config_from
from cyclegan.cluster.sweep import plan
from cyclegan.errors import UsageError
from cyclegan.inference.config import TranslateConfig
from cyclegan.io.storage import open_store
from pipeline.compiled.documents import read_documents
from pipeline.defaults import CONFIGS
from pipeline.parameters import FORMER, STEPS, own_fields

KINDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "LIST": "a JSON list",
    "STRUCT": "a JSON object",
    "BOOLEAN": "true or false",
}
QUANTITIES = {
    "node_cpu_cores": (r"\d+(\.\d+)?|\d+m", "cores, such as 4 or 0.5"),
    "node_memory": (r"\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?", "bytes with a unit, such as 16Gi"),
    "node_accelerators": (r"\d*", "a whole number"),
}
"""What the backend reads as text though it is a number: pattern, and how to say it."""


def load_spec(file: Path) -> dict[str, Any]:
    """The specification in a compiled file, whose second document is for Kubernetes alone."""
    if not file.is_file():
        raise UsageError(f"The compiled pipeline {file} was not found: run `make compile`.")
    return read_documents(file)[0]


def inputs_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's parameters by name: type, default, description."""
    inputs: dict[str, Any] = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return inputs


def parse(spec: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The arguments that `words` give, each checked against the pipeline's parameters.

    Raises UsageError for a word without '=', an unknown name, a value of another type, or
    step options with a field that the step does not have. `complete` checks the rest.
    """
    known = inputs_of(spec)
    arguments: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}' is not a parameter: write name=value, such as train_epochs=1.")
        if name not in known:
            raise UsageError(f"The pipeline has no parameter '{name}'; {_hint(name, known)}")
        arguments[name] = _value(name, text, known[name]["parameterType"])
        if name.endswith("_options"):
            _check_names(name, arguments[name])
    if arguments.get("node_accelerators") == "0":
        arguments["node_accelerators"] = ""  # the pod then says nothing about accelerators
    return arguments


def defaults_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The default of every parameter that has one, with whole numbers as int."""
    return {
        name: _natural(facts.get("defaultValue", _empty(facts["parameterType"])), facts)
        for name, facts in inputs_of(spec).items()
        if facts.get("isOptional")
    }


def complete(spec: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """`arguments` and the default of every other parameter: what a run's page shows, and a clone starts from.

    Raises UsageError where a parameter without a default is not given, and for whatever a step would refuse:
    the last of them may begin days after the first.
    """
    values = defaults_of(spec) | arguments
    for name, facts in inputs_of(spec).items():
        if name not in values:
            raise UsageError(f"{name} is missing: {facts['description']}")
    _check(values)
    return values


def _check(values: dict[str, Any]) -> None:
    for step in CONFIGS:
        given = _fields_of(step, values)
        if "://" in given.get("version", ""):
            del given["version"]  # the address of a version, which is read in the run
        where = f"The parameters of {step}"
        if step == "train" and "sweep_grid" in values:
            for trial in plan(values["sweep_grid"], given.pop("options", {})):
                config_from(CONFIGS[step], given | trial, where)
        elif given:
            config_from(CONFIGS[step], given | given.pop("options", {}), where)
    if "translate_shards" in values:
        options = {"shards": values["translate_shards"]} | values["translate_options"]
        config_from(TranslateConfig, options, "The parameters of translate")
    for name in ("train_checkpoints", "translate_images", "translate_out"):
        if not values.get(name, "s3://").startswith("s3://"):
            open_store(values[name])


def _fields_of(step: str, values: dict[str, Any]) -> dict[str, Any]:
    """What the parameters say about a step's fields; under `options` those without a parameter."""
    mine = [p for p in STEPS if p.step == step and p.name in values]
    return {"options" if p.field == "*" else p.field: values[p.name] for p in mine}


def _hint(name: str, known: dict[str, Any]) -> str:
    if FORMER.get(name) in known:
        return f"it is called '{FORMER[name]}' now."
    close = get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}."


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        pattern, said = QUANTITIES.get(name, ("(?s).*", ""))
        if not re.fullmatch(pattern, text):
            raise UsageError(f"{name} must be {said}, not '{text}'.")
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


def _check_names(name: str, values: dict[str, Any]) -> None:
    """Raise UsageError where a `<group>_options` parameter holds a field that its step does not have."""
    step = next((p.step for p in STEPS if p.name == name), "")
    if not step:
        return
    known = {field.name for field in fields(CONFIGS[step])} - set(own_fields(step))
    for field in values:
        if field in own_fields(step):
            parameter = next(p.name for p in STEPS if p.step == step and p.field == field)
            raise UsageError(f"{name} holds '{field}', which has its own parameter: use {parameter}=…")
        if field not in known:
            raise UsageError(f"{name} has no field '{field}'; there are {', '.join(sorted(known))}.")


def _empty(kind: str) -> Any:
    return {"STRING": "", "LIST": [], "STRUCT": {}, "BOOLEAN": False}.get(kind, 0)


def _natural(value: Any, facts: dict[str, Any]) -> Any:
    """A default as people write it: the compiled file holds every number as a float."""
    if isinstance(value, dict):
        return {key: _natural(item, {}) for key, item in value.items()}
    if isinstance(value, list):
        return [_natural(item, {}) for item in value]
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and facts.get("parameterType") != "NUMBER_DOUBLE" else value
