"""Download over http(s): resumed by Range after a broken connection, repeated with back-off, checked."""

from __future__ import annotations

import base64
import hashlib
import http.client
import logging
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from tqdm import tqdm

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.store import NotFound
from cyclegan.io.uri import printable, redact, reveal, scrub

logger = logging.getLogger(__name__)

T = TypeVar("T")

BLOCK = 1 << 18
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to try: up to `retries` attempts in a row without progress; times in seconds."""

    retries: int = 5
    timeout: float = 30.0
    pause: float = 0.5
    max_bytes: int = 100 << 30


@dataclass(frozen=True)
class Downloaded:
    """What came of a download."""

    sha256: str
    served_by: str
    """Host that the server redirected to and that sent the file; empty where it sent it itself."""


def download(url: str, path: Path, patience: RetryPolicy | None = None) -> Downloaded:
    """Write what `url` serves to the file `path`.

    Continues where a connection broke off when the server can and the file is still the same, else begins
    again. 4xx answers end it at once; 408, 429 and 5xx are tried again after the time that the server asks
    for. Raises NotFound for 404 and 410, CycleGANError otherwise, naming `url` less its secrets; `path` is
    then gone.
    """
    transfer = _Transfer(url, path, patience or RetryPolicy())
    try:
        return transfer.run()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def mark_of(url: str, patience: RetryPolicy | None = None) -> str:
    """What the server says about what `url` serves, without downloading it: ETag, time of change, length.

    Empty where it says neither of the first two. Raises as `download` does.
    """
    return _Transfer(url, Path(), patience or RetryPolicy()).mark()


class _Broken(Exception):
    """An attempt failed in a way that may pass; the message says how."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoSuchPart(Exception):
    """The server cannot continue where the last connection ended."""


class _Transfer:
    """One download over as many connections as it takes."""

    def __init__(self, url: str, path: Path, patience: RetryPolicy) -> None:
        self.path, self.patience = path, patience
        self.name = redact(url)
        self.opener, self.plain_url, self.headers = _opener(reveal(url))
        self.received = 0
        self.furthest = 0
        self.total: int | None = None
        self.validator = ""
        self.digest = hashlib.sha256()
        self.served_by = ""

    def run(self) -> Downloaded:
        with self.path.open("wb") as file, self._bar() as bar:
            self._persist(lambda: self._attempt(file, bar))
        return Downloaded(self.digest.hexdigest(), self.served_by)

    def mark(self) -> str:
        return self._persist(self._look)

    def _persist(self, action: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return action()
            except _Broken as error:
                # only bytes never seen before count as progress: a server that cannot resume and always
                # cuts at the same place would otherwise be asked without end
                failures = 0 if self.received > self.furthest else failures + 1
                self.furthest = max(self.furthest, self.received)
                if failures > self.patience.retries:
                    raise CycleGANError(f"Cannot download {self.name}: {error}.") from None
                self._pause(failures, error)

    def _look(self) -> str:
        with self._failing(), self._open() as answer:
            parts = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
        return " ".join(filter(None, parts)) if any(parts[:2]) else ""

    def _bar(self) -> tqdm[NoReturn]:
        name = self.name.rpartition("/")[2][:40]
        return tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=None)

    def _pause(self, failures: int, error: _Broken) -> None:
        wait = self.patience.pause * 2 ** max(failures - 1, 0) * random.uniform(0.8, 1.2)
        wait = min(max(wait, error.wait or 0.0), LONGEST_PAUSE)
        logger.info("%s: %s; trying again in %.1f s", self.name, error, wait)
        time.sleep(wait)

    def _attempt(self, file: IO[bytes], bar: tqdm[NoReturn]) -> None:
        try:
            with self._failing(), self._open() as answer:
                host = urlsplit(answer.url).netloc
                self.served_by = "" if host == urlsplit(self.plain_url).netloc else printable(host)
                self._place(answer, file, bar)
                while block := answer.read1(BLOCK):
                    self._take(block, file, bar)
        except _NoSuchPart as error:
            self._restart(file, bar)
            raise _Broken(str(error)) from None
        if self.total is not None and self.received != self.total:
            raise _Broken(f"the connection broke off after {self.received} of {self.total} bytes")

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as error:
            self._judge(error)
        except urllib.error.URLError as error:
            self._unreachable(error.reason)
        except (http.client.HTTPException, OSError) as error:
            self._unreachable(error)
        except ValueError:  # a host name that cannot be encoded, or is too long
            raise UsageError(f"{self.name} is not an http(s) address.") from None

    def _open(self) -> http.client.HTTPResponse:
        request = urllib.request.Request(self.plain_url, headers={"Accept-Encoding": "identity"})
        request.add_header("User-Agent", "cyclegan-pipeline")
        for name, value in self.headers.items():
            request.add_unredirected_header(name, value)
        if self.received and self.validator:
            request.add_header("Range", f"bytes={self.received}-")
            request.add_header("If-Range", self.validator)
        answer: http.client.HTTPResponse = self.opener.open(request, timeout=self.patience.timeout)
        return answer

    def _place(self, answer: http.client.HTTPResponse, file: IO[bytes], bar: tqdm[NoReturn]) -> None:
        """Settle where the answer's bytes belong: after those received so far, or at the beginning."""
        validator = _validator(answer.headers)
        if answer.status == 206:
            match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if not match or int(match[1]) != self.received or (validator and validator != self.validator):
                self._restart(file, bar)
                raise _Broken("the server sends a different part or a different file than before")
            return
        if answer.headers.get_content_type() == "text/html" and answer.status == 200:
            raise CycleGANError(f"{self.name} is a web page, not a file: look at the address in a browser.")
        self._restart(file, bar)
        self.validator = validator
        length = answer.headers.get("Content-Length", "")
        self.total = int(length) if length.isdecimal() else None
        bar.total = self.total
        self._check_size(self.total or 0)

    def _restart(self, file: IO[bytes], bar: tqdm[NoReturn]) -> None:
        self.furthest = max(self.furthest, self.received)
        if self.received:
            file.seek(0)
            file.truncate()
        self.received, self.total, self.validator, self.digest = 0, None, "", hashlib.sha256()
        bar.reset()

    def _take(self, block: bytes, file: IO[bytes], bar: tqdm[NoReturn]) -> None:
        self._check_size(self.received + len(block))
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise CycleGANError(f"Cannot write {self.path}: {error.strerror}.") from None
        self.digest.update(block)
        self.received += len(block)
        bar.update(len(block))

    def _check_size(self, size: int) -> None:
        if size > self.patience.max_bytes:
            raise CycleGANError(f"{self.name} has more than {self.patience.max_bytes} bytes: see max_bytes.")

    def _judge(self, error: urllib.error.HTTPError) -> NoReturn:
        code, reason = error.code, printable(" ".join(str(error.reason).split()))[:200]
        if code == 416 and self.received:
            raise _NoSuchPart("the server has no such part (416)")
        if code in TRANSIENT:
            raise _Broken(f"the server answers {code} {reason}", _retry_after(error.headers))
        if code in {404, 410}:
            raise NotFound(f"There is no {self.name} (the server answers {code}).")
        hint = {401: "; it wants a password", 403: "; access is denied or the link has expired"}.get(code, "")
        raise CycleGANError(f"Cannot download {self.name}: the server answers {code} {reason}{hint}.")

    def _unreachable(self, reason: object) -> NoReturn:
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise CycleGANError(f"Cannot download {self.name}: its certificate is not trusted.")
        if isinstance(reason, TimeoutError):
            raise _Broken(f"no answer within {self.patience.timeout:g} s")
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        text = printable(scrub(" ".join(text.split())))[:200]
        if isinstance(reason, http.client.InvalidURL):
            raise UsageError(f"{self.name} is not an http(s) address.")
        raise _Broken(f"the connection failed ({text})")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted connection to one that others can read or change."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise CycleGANError(
                f"{redact(req.full_url)} redirects from https to {redact(newurl)}, which is not encrypted; "
                "use that address itself if you trust it."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> tuple[urllib.request.OpenerDirector, str, dict[str, str]]:
    """An opener for http(s) alone, the URL without user and password, and the header in their place."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
        url.encode()  # a name from the command line may hold bytes that are not text
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise UsageError(f"{redact(url)} is not an http(s) address.")
    headers = {}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    quoted = urllib.request.quote(parts.path, safe="/%:@!$&'()*+,;=~-._")  # type: ignore[attr-defined]
    return opener, urlunsplit((parts.scheme, netloc, quoted, parts.query, "")), headers


def _validator(headers: Message) -> str:
    """What If-Range can be asked with: a strong ETag, else the time of the last change."""
    etag = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified", "")


def _retry_after(headers: Message) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
