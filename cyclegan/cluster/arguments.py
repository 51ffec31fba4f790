"""The arguments of a task and the fields of its step's config: what they mean, and the config they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from cyclegan.cli.params import config_from

Config = TypeVar("Config")


def describe_fields(cls: type) -> dict[str, str]:
    """What the docstring below each field of the config dataclass `cls` says, in one line each."""
    import ast
    import inspect
    import textwrap

    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            texts[node.target.id] = " ".join(str(after.value.value).split())
    return texts


def pick(cls: type[Config], given: Mapping[str, Any], where: str) -> Config:
    """The config from a task's arguments: those of `given` that are fields of `cls`, and `given["options"]`.

    What `options` says wins. Raises UsageError as `config_from`.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    typed = {name: value for name, value in given.items() if name in known}
    return config_from(cls, typed | dict(given.get("options") or {}), where)
