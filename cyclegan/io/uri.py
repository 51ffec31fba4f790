"""What may be shown of a URI, and what to call the data behind it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit


def redact(uri: str) -> str:
    """The URI without what may be secret: user and password, query and fragment."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("://")[0] + "://…"
    if not parts.netloc:  # a path, synthetic:city, sqlite:///…: no place for a password
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def data_name(uri: str) -> str:
    """The last speaking part of a URI: `synthetic:city?size=64` is city, `https://…/maps.zip` is maps.

    Two folders, as fetch notes them (`my/photos + my/paintings`), are photos-paintings.
    """
    if " + " in uri:  # two folders
        return "-".join(map(data_name, uri.split(" + ")))
    last = re.split(r"[/:]", redact(uri).partition("?")[0].rstrip("/"))[-1]
    return re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", last) or "images"
