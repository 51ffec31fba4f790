"""source.json: the note that fetch leaves of where a raw folder came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cyclegan.data.version import SOURCE_FILE
from cyclegan.io.files import read_json, refuse_newer, write_json
from cyclegan.io.uri import printable

FORMAT = 1
"""Of source.json, and of manifest.json and the arrays of a prepared folder."""

Names = dict[str, str]
"""What domain A and B are called: {"A": "horses", "B": "zebras"}."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was fetched; the content of source.json."""

    format: int = FORMAT
    uri: str
    """Where it came from, without credentials."""
    version: str
    """DVC's MD5 of the folder, '<32 hex>.dir'."""
    counts: dict[str, int]
    """Images in trainA, trainB, testA and testB."""
    paired: bool
    """Whether test A and B hold the same file stems, an `_A` or `_B` ending aside."""
    sha256: str = ""
    """SHA-256 of the archive that it came in."""
    names: Names = field(default_factory=lambda: {"A": "A", "B": "B"})
    """What the domains are called."""
    served_by: str = ""
    """Host that sent the archive, where the server in `uri` redirected to another; not written if empty."""


def write_source(folder: Path, source: Source) -> None:
    """Write the note into a raw folder."""
    values = asdict(source)
    if not source.served_by:
        del values["served_by"]
    write_json(folder / SOURCE_FILE, values)


def read_origin(path: Path) -> tuple[str, Names]:
    """URI and names of the domains as in source.json or provenance.json; empty and A, B where it has none.

    Nothing depends on such a note, so a missing or damaged one is not an error. Raises UsageError for one of
    a newer format.
    """
    try:
        values = read_json(path)
    except (OSError, ValueError, RecursionError):
        values = {}
    refuse_newer(values, FORMAT, str(path))
    values = values if isinstance(values, Mapping) else {}
    uri, names = values.get("uri"), values.get("names")
    return uri if isinstance(uri, str) else "", domain_names(names if isinstance(names, Mapping) else {})


def domain_names(*given: Mapping[str, Any]) -> Names:
    """What the domains are called, by the first of `given` that names each; A and B where none does."""
    found = {side: [name for names in given if isinstance(name := names.get(side), str)] for side in "AB"}
    return {side: next(filter(None, map(printable, found[side])), side) for side in "AB"}
