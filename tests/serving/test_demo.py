"""The page in a real browser: a picture in, its translation out, nothing asked of any other machine."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import UsageError
from cyclegan.io.uri import in_file_name
from cyclegan.serving.config import DemoConfig
from cyclegan.serving.demo import Gallery, _examples, _translate
from tests.ports import free_port

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

PHOTO = np.random.default_rng(0).integers(0, 256, (47, 70, 3), np.uint8)


def write_model(folder: Path, names: dict[str, str], seed: int = 0) -> Path:
    import torch

    from cyclegan.model import DIRECTIONS, save_model
    from cyclegan.networks import build_generator

    torch.manual_seed(seed)
    options = {"name": "resnet", "blocks": 1, "width": 4}
    data = {"uri": "synthetic:city", "version": "abc", "names": names}
    config = {"generator": options, "epochs": 3, "data": data}
    save_model(folder, {d: build_generator(**options) for d in DIRECTIONS}, config)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("demo") / "small", {"A": "aerial", "B": "map"})


@contextlib.contextmanager
def running(model: Path, folder: Path, before: str = ""):
    """The address of a page in a process of its own, which runs `before` first, and the process."""
    port = free_port()
    code = f"{before}\nimport sys; from cyclegan.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "demo", str(model), "--port", str(port), "--prepared", "prepared"]
    (folder / "tmp").mkdir()
    environment = {"TMPDIR": str(folder / "tmp"), "GRADIO_TEMP_DIR": "", "NO_PROXY": "127.0.0.1,localhost"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        while "Open " not in (folder / "log").read_text():
            if process.poll() is not None:
                pytest.fail("the page ended:\n" + (folder / "log").read_text()[-3000:])
            time.sleep(0.2)
        yield url, process
    finally:
        process.kill()
        process.wait()


def write_examples(folder: Path) -> None:
    (folder / "prepared").mkdir()
    for domain, value in (("A", 40), ("B", 200)):
        np.save(folder / "prepared" / f"test{domain}.npy", np.full((2, 32, 32, 3), value, np.uint8))


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_examples(folder)
    with running(model, folder) as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#translate")
    yield page
    hosts = {urlsplit(url).hostname for url in asked if url.startswith(("http", "ws"))}
    page.close()
    assert hosts == {"127.0.0.1"}


def upload(page, name: str, data: bytes) -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": data}
    page.set_input_files("#picture input[type=file]", file)
    page.wait_for_selector("#picture img")


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def result(page, direction: str) -> np.ndarray:
    """What the download button gives, once the slider shows a translation of this direction."""
    page.wait_for_selector(f"#result0 img[src*='{direction}']")
    with page.expect_download() as download:
        page.click("#download0")
    assert direction in download.value.suggested_filename
    return np.asarray(Image.open(download.value.path()))


def test_a_picture_is_translated_in_both_directions_as_translate_does(page, model):
    from cyclegan.inference.translator import load

    upload(page, "photo.png", png(PHOTO))
    for label, direction in (("aerial → map", "AtoB"), ("map → aerial", "BtoA")):
        page.get_by_label(label).check()
        page.click("#translate")
        assert np.array_equal(result(page, direction), load(model, direction)(PHOTO))
    text = page.inner_text("body")
    assert "synthetic:city" in text and "Limits" in text


def test_directions_are_called_after_domains_that_all_models_share(model, tmp_path):
    def arrows(*names: dict[str, str]) -> list[str]:
        folders = [str(write_model(tmp_path / str(i), given)) for i, given in enumerate(names)]
        return list(Gallery([str(model), *folders], DemoConfig()).arrows())

    assert arrows() == arrows({"A": "aerial", "B": "map"}) == ["aerial → map", "map → aerial"]
    assert arrows({"A": "horses", "B": "zebras"}) == arrows({}) == ["A → B", "B → A"]
    same = str(write_model(tmp_path / "same", {"A": "photos", "B": "photos"}))
    assert list(Gallery([same], DemoConfig()).arrows()) == ["A → B", "B → A"]


def test_a_model_is_called_after_its_run(model, tmp_path):
    runs = [str(write_model(tmp_path / run / "model", {})) for run in ("maps", "city")]
    assert Gallery([runs[0], str(model)], DemoConfig()).names() == ["maps", "small"]
    assert Gallery(runs, DemoConfig()).names() == ["maps", "city"]
    again = str(write_model(tmp_path / "older" / "maps" / "model", {}))
    assert Gallery([runs[0], again], DemoConfig()).names() == [runs[0], again]


def test_a_phone_shows_all_of_it_in_its_width(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.wait_for_selector("#translate")
    page.wait_for_selector(".card table", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


@pytest.mark.parametrize(("scheme", "colour"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(15, 19, 23)")])
def test_it_has_the_colours_of_the_other_pages(browser, address, scheme, colour):
    page = browser.new_page(color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#translate")
    for place in ("body", ".gradio-container"):
        assert page.eval_on_selector(place, "element => getComputedStyle(element).backgroundColor") == colour
    page.close()


def test_an_example_of_the_test_set(page, model):
    from cyclegan.inference.translator import load

    page.locator("button:has(img), .gallery-item, td:has(img)").first.click()
    page.wait_for_selector("#picture img")
    page.click("#translate")
    expected = load(model, "AtoB")(np.full((32, 32, 3), 40, np.uint8))
    assert np.array_equal(result(page, "AtoB"), expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"no picture at all", "This picture cannot be read: not an image"), (None, "Drop a picture first")],
)
def test_what_cannot_be_read_is_a_sentence(page, data, words):
    if data:
        upload(page, "broken.png", data)
    page.click("#translate")
    page.wait_for_selector(f"text={words}")


def test_two_users_at_once(browser, address, model):
    from cyclegan.inference.translator import load

    pages = [browser.new_page(), browser.new_page()]
    pictures = [PHOTO, PHOTO[:, ::-1].copy()]
    for page, picture in zip(pages, pictures, strict=True):
        page.set_default_timeout(60_000)
        page.goto(address)
        upload(page, "same-name.png", png(picture))
    for page in pages:
        page.click("#translate")
    for page, picture in zip(pages, pictures, strict=True):
        assert np.array_equal(result(page, "AtoB"), load(model, "AtoB")(picture))
        page.close()


def test_models_and_sizes_do_not_share_their_files(model, tmp_path):
    from cyclegan.inference.translator import load

    other = load(str(write_model(tmp_path / "other", {}, seed=1)), "AtoB")
    first = load(str(model), "AtoB")
    uploaded = tmp_path / "photo.png"
    uploaded.write_bytes(png(PHOTO))
    shown = [_translate(*asked, 1024) for asked in ((first, str(uploaded), 0), (other, str(uploaded), 0))]
    small = [_translate(first, str(uploaded), size, 1024) for size in (32, 16)]
    for translator, (before, after) in zip((first, other), shown, strict=True):
        assert np.array_equal(np.asarray(Image.open(before)), PHOTO)
        assert np.array_equal(np.asarray(Image.open(after)), translator(PHOTO))
        assert Path(after).name == "photo-AtoB.png"
    named = _translate(first, str(uploaded), 0, 1024, f"-{in_file_name('models:/maps-AtoB@champion')}")
    assert Path(named[1]).name == "photo-models-maps-AtoB-champion-AtoB.png"
    for side, files in zip((32, 16), small, strict=True):
        assert [min(Image.open(file).size) for file in files] == [side, side]


def wait_until(reached) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_pictures_do_not_stay_on_disk(browser, model, tmp_path):
    def kept(name: str) -> list[Path]:
        return list((tmp_path / "tmp").rglob(name))

    def translated(page, name: str) -> None:
        page.click("#translate")
        page.wait_for_selector(f"#result0 img[src*='{name}-AtoB']", state="attached")

    write_examples(tmp_path)
    every_second_once_the_hour_is_over = """
import pathlib, cyclegan.serving.demo as demo
made, demo.CHECKED = demo._page, 1
def page(*given):
    import gradio.route_utils as routes
    remove = routes.delete_files_created_by_app
    def removed(page, age): remove(page, None if pathlib.Path("hour").exists() else age)
    routes.delete_files_created_by_app = removed
    return made(*given)
demo._page = page
"""
    with running(model, tmp_path, every_second_once_the_hour_is_over) as (url, process):
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        upload(page, "secret.png", png(PHOTO))
        translated(page, "secret")
        (tmp_path / "hour").touch()
        wait_until(lambda: not kept("secret*") and not kept("input.png"))
        page.click("#translate")
        page.wait_for_selector("text=removed in the meantime: drop it again")
        (tmp_path / "hour").unlink()
        page.locator("button:has(img), .gallery-item, td:has(img)").first.click()
        page.wait_for_selector("#picture img[src*='testA']")
        translated(page, "testA-0")
        page.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_one_ctrl_c_ends_it_with_tabs_open_and_a_translation_under_way(model, tmp_path):
    endless = """
import threading, time, cyclegan.serving.demo as demo
close = demo._close
def translate(*_):
    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()  # as an engine might have
    print("translating", flush=True); time.sleep(600)
def closing(page): close(page); print("the server runs:", page.server.thread.is_alive(), flush=True)
demo._translate, demo._close = translate, closing
"""
    with running(model, tmp_path, endless) as (url, process), contextlib.ExitStack() as connections:
        host = urlsplit(url).netloc

        def ask(method: str, path: str, body: str | None = None, **headers: str):
            connection = http.client.HTTPConnection(host, timeout=60)
            connections.callback(connection.close)
            connection.request(
                method, f"/gradio_api{path}", body, {"Content-Type": "application/json"} | headers
            )
            return connection

        assert b"ALIVE" in ask("GET", "/heartbeat/tab").getresponse().readline()
        asked = ask("POST", "/call/translate", json.dumps({"data": [None, "aerial → map", 0, 1024]}))
        event = json.loads(asked.getresponse().read())["event_id"]
        stream = ask("GET", f"/call/translate/{event}").getresponse()
        ask(
            "POST",
            "/upload",
            "--x",
            **{"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "999"},
        )
        log = tmp_path / "log"
        while "translating" not in log.read_text():
            time.sleep(0.1)
        assert stream.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    said = log.read_text()
    assert said.endswith("Closing the page.\nthe server runs: False\n"), said


@pytest.mark.parametrize("what", ["damaged", "1 channel", "4 channels", "16 bits", "cut short"])
def test_an_unusable_test_set_gives_no_examples_and_one_warning(tmp_path, caplog, what):
    write_examples(tmp_path)
    prepared = tmp_path / "prepared"
    assert len(_examples(prepared, tmp_path)) == 4 and not caplog.text
    bad = prepared / "testB.npy"
    if what in {"damaged", "cut short"}:
        bad.write_bytes(b"\x93NUMPY\1\0v\0{'descr" if what == "damaged" else bad.read_bytes()[:-1])
    else:
        channels = int(what[0]) if "channel" in what else 3
        np.save(bad, np.zeros((2, 32, 32, channels), "u2" if what == "16 bits" else "u1"))
    assert _examples(prepared, tmp_path) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"No examples: {bad} holds no readable RGB pictures of 8 bits."
    ]


def test_wrong_port():
    with pytest.raises(UsageError, match="port = 70000"):
        DemoConfig(port=70000)
