"""What may be shown of an address, and what to call the data behind it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)(.*)", re.DOTALL)
_LOCAL = frozenset({"synthetic", "file", "sqlite", "models", "runs"})  # nobody logs in there
_REMOTE = frozenset({"http", "https", "s3", "gs", "ftp", "ftps", "ssh", "mysql", "postgresql"})
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(:[0-9]*)?")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_BUCKET = re.compile(r"[a-z0-9.-]{3,63}")
_HUB = re.compile(r"[\w.-]+/[\w.-]+@[\w./-]+")  # organisation/name@revision: nobody logs in there either
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+[^\s'\"<>]+|[^\s'\"<>:/]+:[^\s'\"<>]+@[^\s'\"<>]+")
HIDDEN = "…"


class Address(str):
    """An address that is its redacted self wherever it is printed, stored, logged or compared.

    What was given stays inside, and only `reveal` gives it back, to whoever opens the connection. So an
    address can't leak by being forgotten: code that does not reveal it works with the part that may be seen.
    """

    _whole: str

    def __new__(cls, text: str) -> Address:
        whole = reveal(text)
        self = super().__new__(cls, redact(whole))
        self._whole = whole
        return self

    def __getnewargs__(self) -> tuple[str]:
        return (self._whole,)  # for pickle, on the way to another process of the same run


def reveal(address: str) -> str:
    """The address as the user wrote it, with its secrets: only for what connects to it."""
    return address._whole if isinstance(address, Address) else str(address)


def hide_secrets(config: Any, *names: str) -> None:
    """Make fields of a frozen dataclass addresses; to be called by its `__post_init__`."""
    for name in names:
        object.__setattr__(config, name, Address(getattr(config, name)))


def redact(text: str) -> str:
    """An address without what may be secret: user and password, query and fragment.

    Covers what people mistype as well: a password with / ? # or @ in it, one slash too few, no scheme. If it
    is unclear where the secret ends, only the scheme is shown.
    """
    text = printable(reveal(text))
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _without_user(text)
    scheme, slashes, rest = match.groups()
    if scheme.lower() in _LOCAL or (len(scheme) == 1 and "@" not in rest):  # C:\images
        return text
    if not slashes and scheme.lower() not in _REMOTE:
        return _without_user(text)
    if scheme.lower() == "hf" and _HUB.fullmatch(rest):
        return text
    front = f"{scheme}:{slashes}"
    end = re.search(r"[/?#\\]|$", rest)
    authority = rest[: end.start()] if end else rest
    beyond = rest[len(authority) :]
    if "@" in beyond:  # of the path, or of a password that holds a slash, as in user:/pass/@host?
        plain = _BUCKET if scheme == "s3" else _PLAIN_HOST
        if scheme.lower() not in _REMOTE or slashes != "//" or not plain.fullmatch(authority):
            return front + HIDDEN
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return front + HIDDEN
    return front + host + _without_query(beyond)


def _without_user(path: str) -> str:
    """A path as it is, but not user:password@host, nor a query."""
    before, at, after = path.rpartition("@")
    if at and ":" in before:
        return f"{HIDDEN}@{_without_query(after)}"
    return re.sub(r"\?.*=.*", "", path)


def _without_query(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0]


def scrub(text: str, *addresses: str) -> str:
    """A sentence from elsewhere, with the addresses in it redacted; `addresses` are those it may quote."""
    for address in addresses:
        if len(reveal(address)) > 3:
            text = text.replace(reveal(address), redact(address))

    def one(found: re.Match[str]) -> str:
        address = found[0].rstrip(".,:;)")  # what follows is the sentence's
        return redact(address) + found[0][len(address) :]

    return _IN_TEXT.sub(one, text)


def printable(text: str) -> str:
    """The text with control characters escaped, so that a name can't forge a line on a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text
    )


def data_name(uri: str) -> str:
    """The last speaking part of a URI: `synthetic:city?size=64` is city, `https://…/maps.zip` is maps.

    Two folders, as fetch notes them (`my/photos + my/paintings`), are photos-paintings.
    """
    if " + " in uri:  # two folders
        return "-".join(map(data_name, uri.split(" + ")))
    last = re.split(r"[/:]", redact(uri).partition("?")[0].rstrip("/"))[-1]
    return re.sub(r"\.(zip|tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz)$", "", last) or "images"


def in_file_name(text: str) -> str:
    """The text as part of a file's name: letters, digits, `_`, `.` and `-`; empty where it has none."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def path_of(uri: str) -> str:
    """The path within an address; empty where the address is malformed."""
    try:
        return urlsplit(reveal(uri)).path
    except ValueError:
        return ""
