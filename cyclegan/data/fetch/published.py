"""The newest published version of a dataset, by the address of the `data.dvc` that names it."""

from __future__ import annotations

import hashlib
import re
import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cyclegan.data.config import FetchConfig
from cyclegan.data.fetch.archives import is_archive
from cyclegan.data.version import version_of
from cyclegan.errors import CycleGANError
from cyclegan.io.download import download, mark_of
from cyclegan.io.files import is_dir, is_file
from cyclegan.io.storage import open_store
from cyclegan.io.uri import path_of, redact, reveal


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


def images_state(config: FetchConfig) -> str:
    """Another text when the images that `config` names are others, as `source_state` says of each source."""
    if config.sha256:
        return ""
    sources = [config.a, config.b] if config.a else [config.source]
    return "".join(source_state(source) for source in sources)


def source_state(source: str) -> str:
    """Another text when the images at `source` are others; nothing is fetched.

    Taken from the keys, sizes and ETags of objects, from the names, sizes and times of files, or from what a
    server says about an archive. Empty for datasets that stay what they are: those known by name or drawn.
    Where a server says nothing it is another text each time. Raises CycleGANError where the source cannot be
    reached.
    """
    address = reveal(source)
    if address.startswith("file:"):
        address = unquote(urlsplit(address).path)
    path = Path(address)
    if address.startswith(("http://", "https://")):
        known = mark_of(address) or uuid.uuid4().hex
    elif address.startswith("s3://") and is_archive(path_of(address)):
        prefix, _, key = address.rpartition("/")
        known = repr([entry for entry in _marks(prefix, key) if entry[0] == key])
    elif not address.startswith("synthetic:") and ("/" in address or is_dir(path) or is_file(path)):
        known = repr(_marks(address))
    else:
        return ""
    return hashlib.md5(known.encode(), usedforsecurity=False).hexdigest()


def _marks(uri: str, prefix: str = "") -> list[tuple[str, int, str]]:
    path = Path(uri)
    if path.is_file():
        status = path.stat()
        return [(path.name, status.st_size, str(status.st_mtime_ns))]
    return [(entry.key, entry.size, entry.mark) for entry in open_store(uri).list(prefix)]


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
