"""examples/browser: the exported file in a real browser draws what `translate` writes."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from cyclegan.inference.export import ExportConfig, export
from cyclegan.inference.translator import load
from tests.inference.conftest import write_model

pytest.importorskip("onnxscript")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "browser"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm on the PATH"),
]
PHOTO = np.random.default_rng(0).integers(0, 256, (47, 70, 3), np.uint8)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The example as its page in the docs says: installed, the exported file beside it, served as files."""
    folder = tmp_path_factory.mktemp("browser") / "site"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "*.onnx"))
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if installed.returncode:
        pytest.skip("npm could not install onnxruntime-web: " + installed.stderr.strip()[-200:])
    model = write_model(folder / "model")
    export(str(model), folder, ExportConfig(images="uint8", direction="AtoB"))
    export(str(model), folder, ExportConfig(direction="AtoB"))
    serve = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(site):
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = chromium.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(60_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(site[1])
        yield page
        chromium.close()
    assert {urlsplit(url).hostname for url in asked if url.startswith("http")} == {"127.0.0.1"}


def says(page, words: str) -> None:
    page.wait_for_function(
        "words => document.getElementById('status').textContent.includes(words)", arg=words
    )


def test_a_picture_is_what_translate_makes_of_it(site, page):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    page.set_input_files("#picture", {"name": "a.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    says(page, "a.png, 70×47, took")
    data = page.get_attribute("#download", "href").partition("base64,")[2]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    expected = load(site[0] / "model", "AtoB", engine="torch", precision="fp32")(PHOTO)
    assert shown.shape == PHOTO.shape
    assert np.abs(shown.astype(int) - expected).max() <= 1
    assert np.abs(shown.astype(int) - PHOTO).mean() > 5
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_mistakes_are_said(site, page):
    says(page, "is ready")
    page.set_input_files("#picture", {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"})
    says(page, "Cannot translate no.png")
    page.set_input_files("#model", str(site[0] / "AtoB.onnx"))
    says(page, "takes no uint8 picture")
