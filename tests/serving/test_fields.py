"""Every parameter of serve and demo changes what it says it changes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cyclegan.pixel_kind import RGB, PixelKind
from cyclegan.serving import demo as page
from cyclegan.serving import serve as server
from cyclegan.serving import served as models
from cyclegan.serving.config import DemoConfig, ServeConfig
from cyclegan.serving.demo import Gallery, demo
from cyclegan.serving.served import Served, load_all
from tests.ports import free_port

pytest.importorskip("fastapi_offline")
pytest.importorskip("uvicorn")


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (9, 90, 200)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Translates:
    """Gives every picture back, and notes how many it works on at a time."""

    work: Callable[[], None] = lambda: None
    running: int = 0
    most: int = 0
    tiles: list[int] = field(default_factory=list)
    source: PixelKind = RGB
    target: PixelKind = RGB
    is_rgb: bool = True

    def array(self, picture: np.ndarray, tile: int) -> np.ndarray:
        self.running += 1
        self.most = max(self.most, self.running)
        self.tiles.append(tile)
        self.work()
        self.running -= 1
        return picture


@dataclass
class Bench:
    """A model's address, and what the server was told when it was started."""

    model: str
    patch: pytest.MonkeyPatch
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What each translator was asked to be."""
    address: tuple[str, int] = ("", 0)
    settings: Any = None

    def names(self, **changes: Any) -> list[str]:
        """The models of a server with some fields changed."""
        self.asked.clear()
        return list(load_all([f"m={self.model}"], ServeConfig(**changes)))

    def start(self, **changes: Any) -> None:
        """Start a server that ends at once."""
        server.serve([self.model], ServeConfig(**changes))

    def post(
        self,
        *bodies: bytes,
        translator: Translates | None = None,
        pause: float = 0,
        path: str = "/translate",
        **changes: Any,
    ) -> list[tuple[int, str]]:
        """Status and error of requests that come at once, each in two halves with a pause between them."""
        from cyclegan.serving.app import create_app

        config = ServeConfig(**changes)
        app = create_app({"m": Served("m", translator or Translates(), config)}, config)  # type: ignore[arg-type]

        async def one(body: bytes) -> tuple[int, str]:
            halves = iter((body[: len(body) // 2], body[len(body) // 2 :]))
            sent: list[Any] = []
            said, _, query = path.partition("?")

            async def receive() -> dict[str, Any]:
                part = next(halves, None)
                if part is None:  # the client stays to the end
                    await asyncio.sleep(3600)
                more = not part.endswith(body[-1:])  # type: ignore[union-attr]
                if not more:
                    await asyncio.sleep(pause)
                return {"type": "http.request", "body": part, "more_body": more}

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "http_version": "1.1",
                "method": "POST",
                "path": said,
                "query_string": query.encode(),
                "headers": [],
            }
            await app(scope, receive, send)
            answer = b"".join(part.get("body", b"") for part in sent[1:])
            status = sent[0]["status"]
            return status, json.loads(answer)["error"] if status >= 400 else ""

        async def all_at_once() -> list[tuple[int, str]]:
            return list(await asyncio.gather(*map(one, bodies)))

        return asyncio.run(all_at_once())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    import uvicorn

    (tmp_path / "model").mkdir()
    found = Bench(str(tmp_path / "model"), monkeypatch)

    def load(address: str, direction: str, **options: Any) -> Any:
        found.asked.append({"direction": direction, **options})
        return SimpleNamespace(direction=direction, engine=SimpleNamespace(name="none"), is_rgb=True)

    class Ends:
        def __init__(self, settings: Any) -> None:
            found.settings = settings

        def run(self, sockets: list[socket.socket]) -> None:
            found.address = sockets[0].getsockname()[:2]

    both = {"auto": ["AtoB", "BtoA"]}
    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr(models, "directions_of", lambda address, wanted: both.get(wanted, [wanted]))
    monkeypatch.setattr(uvicorn, "Server", Ends)
    return found


def host(bench: Bench) -> None:
    bench.start(port=0)
    assert bench.address[0] == "127.0.0.1"
    bench.start(port=0, host="0.0.0.0")
    assert bench.address[0] == "0.0.0.0"


def port(bench: Bench) -> None:
    chosen = free_port()
    bench.start(port=chosen)
    assert bench.address[1] == chosen
    bench.start(port=0)
    assert bench.address[1] > 0


def direction(bench: Bench) -> None:
    assert bench.names() == ["m-AtoB", "m-BtoA"]
    assert bench.names(direction="BtoA") == ["m"]
    assert bench.asked[0]["direction"] == "BtoA"


def asks(name: str, value: Any) -> Callable[[Bench], None]:
    """The field reaches the translators, which have something else by default."""

    def check(bench: Bench) -> None:
        bench.names()
        assert all(asked[name] != value for asked in bench.asked)
        bench.names(**{name: value})
        assert [asked[name] for asked in bench.asked] == [value, value]

    return check


def tile(bench: Bench) -> None:
    asks("tile", 256)(bench)
    used = Translates()
    for changes, query, expected in (
        ({}, "", 200),
        ({"tile": 256}, "", 200),
        ({"tile": 256}, "?tile=256", 200),
        ({"tile": 256}, "?tile=320", 400),
    ):
        ((status, error),) = bench.post(png(4, 4), translator=used, path=f"/translate{query}", **changes)
        assert (status, "use up to 256" in error) == (expected, expected == 400)
    assert used.tiles == [1024, 256, 256]


def max_pixels(bench: Bench) -> None:
    picture = png(20, 10)
    assert bench.post(picture) == bench.post(picture, max_pixels=200) == [(200, "")]
    ((status, error),) = bench.post(picture, max_pixels=199)
    assert status == 400
    assert "199" in error


def max_bytes(bench: Bench) -> None:
    picture = png(20, 10)
    assert bench.post(picture, max_bytes=len(picture)) == [(200, "")]
    ((status, error),) = bench.post(picture, max_bytes=len(picture) - 1)
    assert status == 413
    assert str(len(picture) - 1) in error


def concurrency(bench: Bench) -> None:
    alone = Translates(lambda: time.sleep(0.02))
    bench.post(*[png(4, 4)] * 3, translator=alone)
    assert alone.most == 1
    meeting = threading.Barrier(3)  # which none passes before three are at work
    together = Translates(lambda: (meeting.wait(30), None)[1])
    assert bench.post(*[png(4, 4)] * 3, translator=together, concurrency=3) == [(200, "")] * 3


def queue(bench: Bench) -> None:
    for waiting, refused in ((0, 2), (1, 1), (32, 0)):
        answers = bench.post(*[png(4, 4)] * 3, queue=waiting)
        assert [status for status, _ in answers].count(503) == refused


def upload_seconds(bench: Bench) -> None:
    assert bench.post(png(4, 4), pause=0.1) == [(200, "")]
    assert bench.post(png(4, 4), pause=3, upload_seconds=0.05) == [
        (408, "The body did not arrive within 0.05 seconds.")
    ]


def grace_seconds(bench: Bench) -> None:
    for changes, expected in (({}, 30), ({"grace_seconds": 7}, 7)):
        bench.start(port=0, **changes)
        assert bench.settings.timeout_graceful_shutdown == expected


SERVE: dict[str, Callable[[Bench], None]] = {
    "host": host,
    "port": port,
    "direction": direction,
    "device": asks("device", "cpu:0"),
    "precision": asks("precision", "fp32"),
    "engine": asks("engine", "onnx"),
    "tile": tile,
    "max_pixels": max_pixels,
    "max_bytes": max_bytes,
    "concurrency": concurrency,
    "queue": queue,
    "upload_seconds": upload_seconds,
    "grace_seconds": grace_seconds,
}


@dataclass
class Page:
    """The page of the demo as Gradio was told to open it; `share_url` is what its tunnel answers."""

    share_url: str | None = None
    local_url: str = "http://here"
    is_running: bool = False
    opened: dict[str, Any] = field(default_factory=dict)

    def queue(self, **options: Any) -> None:
        pass

    def launch(self, **options: Any) -> None:
        self.opened = options
        if options["share"]:
            self.share_url = "https://everywhere"


@dataclass
class Hall:
    """Where the demo's page is opened, without Gradio."""

    patch: pytest.MonkeyPatch
    asked: dict[str, Any] = field(default_factory=dict)

    def open(self, **changes: Any) -> dict[str, Any]:
        """What Gradio is told by a demo with some fields changed."""
        shown = Page()
        self.patch.setattr(page, "_page", lambda gallery, examples: shown)
        demo(["model"], DemoConfig(**changes), Path("nothing prepared"))
        return shown.opened


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    found, gradio = Hall(monkeypatch), ModuleType("gradio")
    gradio.__spec__ = ModuleSpec("gradio", None)
    gradio.themes = SimpleNamespace(Default=lambda **options: None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    # which the demo sets for Gradio, and which would outlive this test
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")

    def load(model: str, direction: Any, **options: Any) -> Any:
        found.asked = options
        return SimpleNamespace(direction="AtoB", is_rgb=True)

    monkeypatch.setattr(page, "load", load)
    monkeypatch.setattr(page.StopRequest, "wait", lambda stop: None)
    return found


def opens(name: str, option: str, *values: tuple[Any, Any]) -> Callable[[Hall], None]:
    """Of each pair the first, as the field's value, makes Gradio's option the second."""

    def check(hall: Hall) -> None:
        for value, expected in values:
            assert hall.open(**{name: value})[option] == expected

    return check


def reaches(name: str, value: Any) -> Callable[[Hall], None]:
    """The field reaches the translator, which has something else by default."""

    def check(hall: Hall) -> None:
        Gallery(["model"], DemoConfig())
        assert hall.asked[name] != value
        Gallery(["model"], DemoConfig(**{name: value}))
        assert hall.asked[name] == value

    return check


DEMO: dict[str, Callable[[Hall], None]] = {
    "host": opens("host", "server_name", ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")),
    "port": opens("port", "server_port", (7860, 7860), (8123, 8123), (0, None)),
    "open_browser": opens("open_browser", "inbrowser", (False, False), (True, True)),
    "share": opens("share", "share", (False, False), (True, True)),
    "device": reaches("device", "cpu:0"),
    "precision": reaches("precision", "fp32"),
    "engine": reaches("engine", "torch"),
}


@pytest.mark.parametrize(("config", "checks"), [(ServeConfig, SERVE), (DemoConfig, DEMO)])
def test_no_field_is_without_a_test_of_what_it_does(config: Any, checks: dict[str, Any]) -> None:
    assert {one.name for one in fields(config)} == checks.keys()


@pytest.mark.parametrize("name", SERVE)
def test_a_field_of_serving_changes_what_it_says(name: str, bench: Bench) -> None:
    SERVE[name](bench)


@pytest.mark.parametrize("name", DEMO)
def test_a_field_of_the_demo_changes_what_it_says(name: str, hall: Hall) -> None:
    DEMO[name](hall)


def test_a_batch_is_refused_before_any_of_it_is_translated(bench: Bench) -> None:
    used = Translates()
    pictures = [base64.b64encode(png(*size)).decode() for size in ((4, 4), (16384, 1))]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": pictures}
    body = json.dumps({"inputs": [tensor], "parameters": {"format": "webp"}}).encode()
    ((status, error),) = bench.post(body, translator=used, path="/v2/models/m/infer")
    assert status == 400
    assert "this picture has 16384x1" in error
    assert not used.tiles


def test_the_address_that_the_tunnel_gives_is_shown(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    for shared in (False, True):
        hall.open(share=shared)
        assert ("https://everywhere" in capsys.readouterr().out) is shared
