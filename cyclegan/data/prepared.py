"""The manifest of a prepared folder: what its arrays hold and where they came from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from cyclegan.data.layout import SUBSETS
from cyclegan.errors import UsageError
from cyclegan.io.files import read_json

MANIFEST_FILE = "manifest.json"


class Subset(TypedDict):
    """One packed array: number of images and their file names, in the order of the rows."""

    count: int
    names: list[str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds; the fields of its manifest.json."""

    uri: str
    """Where the raw images came from; empty if unknown."""
    version: str
    """DVC's MD5 of the raw folder, '<32 hex>.dir'."""
    paired: bool
    """Whether row i of testA and row i of testB show the same."""
    height: int
    width: int
    domains: dict[str, Subset]
    rejected: list[dict[str, str]] = field(default_factory=list)
    """{"file", "reason"} of every image left out."""
    duplicates: list[dict[str, str]] = field(default_factory=list)
    """{"train", "test", "kind": "exact" | "near"}: pictures of a train set that its test set holds too."""
    config: dict[str, Any] = field(default_factory=dict)
    filter: str = ""


def read_manifest(prepared: Path) -> Manifest:
    """Read a prepared folder's manifest.

    Raises UsageError if `prepared` is not a folder that preprocess wrote, or one of its arrays is missing.
    """
    path = prepared / MANIFEST_FILE
    if not path.is_file():
        raise UsageError(
            f"{prepared} is no prepared folder (no {MANIFEST_FILE}): run `cyclegan preprocess` first."
        )
    names = {f.name for f in dataclasses.fields(Manifest)}
    try:
        manifest = Manifest(**{key: value for key, value in read_json(path).items() if key in names})
        for domain in SUBSETS:
            _check_array(prepared / f"{domain}.npy", manifest, domain)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path} is damaged: run `cyclegan preprocess` again.") from None
    return manifest


def _check_array(path: Path, manifest: Manifest, domain: str) -> None:
    pixels = manifest.domains[domain]["count"] * manifest.height * manifest.width * 3
    if not path.is_file() or path.stat().st_size < pixels:
        raise UsageError(f"{path} is missing or too short: run `cyclegan preprocess` again.")
