"""The newest published version of a dataset, by the address of the `data.dvc` that names it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from cyclegan.errors import CycleGANError
from cyclegan.io.download import download
from cyclegan.io.storage import open_store
from cyclegan.io.uri import redact


def resolve_version(version: str) -> str:
    """`version` itself, or the version that is published at the http(s):// or s3:// address that it is.

    The address is of a `data.dvc`, as in a Git host's raw view of a branch, or of a text file with the
    version alone. Raises CycleGANError where it cannot be read or names no version.
    """
    if "://" not in version:
        return version
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.dvc"
        if version.startswith("s3://"):
            prefix, _, key = version.rpartition("/")
            open_store(prefix).get(key, path)
        else:
            download(version, path)
        text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"\b[0-9a-f]{32}(\.dir)?\b", text)
    if not found:
        raise CycleGANError(f"{redact(version)} names no data version: expected the md5 of a data.dvc.")
    return found.group()
