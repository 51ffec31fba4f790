"""The newest published version of a dataset, by the address of the `data.dvc` that names it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from cyclegan.data.version import version_of
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
    if re.fullmatch(r"\s*[0-9a-f]{32}(\.dir)?\s*", text):
        return text.strip()
    try:
        return version_named_by(text)
    except ValueError:
        raise CycleGANError(
            f"{redact(version)} names no data version: expected the md5 of a data.dvc."
        ) from None


def version_named_by(text: str) -> str:
    """The data version in the text of a `.dvc` file; raises ValueError where it names none.

    For a cloud-versioned remote DVC lists the files there instead of the folder's MD5: then it is computed
    from theirs.
    """
    tracked = _tracked(text)
    try:
        found = tracked.get("md5") or version_of({f["relpath"]: str(f["md5"]) for f in tracked["files"]})
    except (TypeError, KeyError):
        found = ""
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", str(found)):
        raise ValueError("no data version")
    return str(found)


def lists_files(text: str) -> bool:
    """Whether a `.dvc` file is of data in a cloud-versioned remote, where files have their own names."""
    tracked = _tracked(text)
    return "files" in tracked and "md5" not in tracked


def _tracked(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        (tracked,) = YAML(typ="safe", pure=True).load(text)["outs"]
    except (YAMLError, TypeError, KeyError, ValueError):
        return {}
    return tracked if isinstance(tracked, dict) else {}
