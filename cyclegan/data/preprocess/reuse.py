"""Rows of the former prepared folder: a thousand new images do not have a hundred thousand packed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.layout.files import SUBSETS
from cyclegan.data.prepared import MANIFEST_FILE, Manifest, Prepared, write_manifest
from cyclegan.data.source import FORMAT
from cyclegan.errors import UsageError
from cyclegan.fields import of_pixels
from cyclegan.io.files import read_json, sha256, write_json

ROWS_FILE = "rows.json"

Deep = tuple[float, float, float]


class Row(NamedTuple):
    """Where an image is packed already, and its `Outcome.deep`."""

    npy: str
    row: int
    deep: Deep | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The content of rows.json."""

    format: int = FORMAT
    manifest: str
    """SHA-256 of the manifest.json that it belongs to."""
    md5: dict[str, list[str]]
    """By subset, of the image file of each row."""
    deep: dict[str, dict[int, Deep]] = field(default_factory=dict)
    """By subset and row, of images of more than 8 bits a channel: what `Outcome.deep` says."""


def write_rows(folder: Path, md5: dict[str, list[str]], deep: dict[str, dict[int, Deep]]) -> None:
    """Note which files the rows of a prepared folder came from."""
    values = Rows(manifest=sha256(folder / MANIFEST_FILE), md5=md5, deep=deep)
    write_json(folder / ROWS_FILE, vars(values))


def change_manifest(folder: Path, manifest: Manifest) -> None:
    """Write another manifest of the same rows, such as one with other names, and let rows.json follow it."""
    former = sha256(folder / MANIFEST_FILE)
    write_manifest(folder, manifest)
    try:
        rows = read_json(folder / ROWS_FILE)
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(rows, dict) and rows.get("manifest") == former:
        write_json(folder / ROWS_FILE, rows | {"manifest": sha256(folder / MANIFEST_FILE)})


def former_rows(
    out: Path, settings: Mapping[str, Any], method: Sequence[str], size: tuple[int, int]
) -> dict[tuple[str, str], Row]:
    """By domain and MD5 of an image file, its row in `out`; empty for other sizes, rules and settings.

    Empty too where rows.json is missing, damaged or of another manifest.
    """
    try:
        former = Prepared.open(out)
        from pydantic import TypeAdapter

        rows = TypeAdapter(Rows).validate_json((out / ROWS_FILE).read_bytes())
    except (UsageError, OSError, ValueError, RecursionError):
        return {}
    manifest = former.manifest
    same = (
        rows.format == FORMAT
        and rows.manifest == sha256(out / MANIFEST_FILE)
        and (manifest.filter, manifest.decoding) == tuple(method)
        and (manifest.height, manifest.width) == size
        and of_pixels(PreprocessConfig, manifest.config) == of_pixels(PreprocessConfig, settings)
        and all(len(rows.md5.get(subset, ())) == former.count(subset) for subset in SUBSETS)
    )
    if not same:
        return {}
    return {
        (subset[-1], md5): Row(str(out / f"{subset}.npy"), row, rows.deep.get(subset, {}).get(row))
        for subset in SUBSETS
        for row, md5 in enumerate(rows.md5[subset])
    }
