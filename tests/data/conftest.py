"""Small datasets, and a web server that misbehaves on request."""

from __future__ import annotations

import io
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.preprocess import workers

COUNTS = {"trainA": 5, "trainB": 4, "testA": 2, "testB": 2}


def picture(seed: int, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Image.Image:
    """A smooth random picture of width × height, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def count_threads(patch: pytest.MonkeyPatch) -> list[int]:
    """With five cores and chunks of one image: how many threads each call of `for_each` starts."""
    started: list[int] = []

    def in_threads(action: Callable[[Any], Any], jobs: list[Any], count: int) -> Any:
        started.append(count)
        return map(action, jobs)

    patch.setattr(workers, "CHUNK", 1)
    patch.setattr(workers, "available_cores", lambda: 5)
    patch.setattr(workers, "_in_threads", in_threads)
    return started


@pytest.fixture(name="picture")
def _picture() -> Callable[..., Image.Image]:
    """picture(seed, size=(width, height), mode="RGB") -> a smooth random picture."""
    return picture


@pytest.fixture(name="encoded")
def _encoded() -> Callable[..., bytes]:
    """encoded(image, "JPEG", quality=90, …) -> the bytes of its file."""
    return encoded


@pytest.fixture
def make_tree() -> Callable[..., Path]:
    """make_tree(root, {"trainA": 3, "A": ["x.png", …], …}) writes small PNG pictures below root."""

    def make(root: Path, folders: dict[str, int | list[str]] | None = None, seed: int = 0) -> Path:
        number = 1000 * seed
        for folder, names in (folders or dict(COUNTS)).items():
            for name in [f"{i}.png" for i in range(names)] if isinstance(names, int) else names:
                path = root / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(picture(number)))
                number += 1
        return root

    return make


@dataclass
class Fault:
    """What goes wrong with one answer."""

    status: int = 0
    """Answer with this error …"""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """… or close the connection after this many bytes of the body …"""
    wait: float = 0.0
    """… or wait this many seconds first."""
    then: Callable[[], None] | None = None
    """Done after the answer: for files that change."""


class Web:
    """Files over HTTP on loopback with Range, If-Range and ETag, and the faults that a test plans."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.ranges = True
        self.etags = True
        self.length = True
        self.honest_if_range = True
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def fail(self, **fault: Any) -> None:
        """Plan a fault for the next answer that has none yet; the fields of Fault."""
        self.faults.append(Fault(**fault))

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        self.requests.append((to.path, dict(to.headers)))
        fault = self.faults.pop(0) if self.faults else Fault()
        time.sleep(fault.wait)
        body = self.files.get(to.path.partition("?")[0])
        status = fault.status or (200 if body is not None else 404)
        to.close_connection = True
        if status != 200 or body is None:
            to.send_response(status)
            for name, value in {"Content-Length": "0", **fault.headers}.items():
                to.send_header(name, value)
            to.end_headers()
            return
        etag = f'"{zlib.crc32(body):x}"'
        start = 0
        wanted = to.headers.get("Range")
        fresh = to.headers.get("If-Range") == etag or not self.honest_if_range
        if wanted and self.ranges and fresh:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                to.send_response(416)
                to.send_header("Content-Length", "0")
                to.end_headers()
                return
            to.send_response(206)
            to.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            to.send_response(200)
        if self.etags:
            to.send_header("ETag", etag)
        if self.length:
            to.send_header("Content-Length", str(len(body) - start))
        for name, value in fault.headers.items():
            to.send_header(name, value)
        to.end_headers()
        end = len(body) if fault.cut is None else start + fault.cut
        to.wfile.write(body[start:end])
        if fault.then:
            fault.then()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server on loopback with no files and no faults."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    served = Web()
    threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    served.server.shutdown()
    served.server.server_close()
