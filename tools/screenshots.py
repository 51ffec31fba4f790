"""Make the pictures of pages in docs/images again, from runs on the sample data.

    make screenshots                     # trains five short runs in a temporary folder first: 10 minutes
    python -m tools.screenshots FOLDER   # the same in a folder that is kept; a second time only the pages

Needs the development group (Playwright) and a Chromium: one in the PATH, or that of Playwright
(`playwright install chromium`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tools.prose import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes of a picture
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
ATTEMPTS = 4
LOADS = 20_000  # milliseconds until a page of MLflow and its pictures are there on a busy machine
# the first run is the one whose pages are shown; the others, shorter, are what it is compared with
RUNS: dict[str, list[str]] = {
    "city": ["--epochs", "6", "--decay_epochs", "6"],
    "seed1": ["--seed", "1", "--epochs", "2", "--decay_epochs", "2"],
    "fast": ["--lr", "2e-3", "--epochs", "2", "--decay_epochs", "1"],
    "narrow": ["--width", "8", "--epochs", "2", "--decay_epochs", "1"],
    "short": ["--epochs", "1", "--decay_epochs", "1"],
}
CLOSED = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
"""What a click on the cross of MLflow's Assistant leaves in the browser."""


def main() -> int:
    """Make the runs that are missing and the pictures of all pages; returns the exit code."""
    if len(sys.argv) > 1:
        shoot(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            shoot(Path(folder))
    return 0


def shoot(folder: Path) -> None:
    """Write docs/images/*.webp from the runs in `folder`."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    make_runs(folder)
    runs = {name: run_id(folder, name) for name in RUNS}
    cyclegan(folder, "compare", *runs.values(), "--out", "compare.html")
    city = folder / "runs" / "city"
    registered = json.loads((city / "registration.json").read_text(encoding="utf-8"))
    version = f"{registered['name']}-AtoB/versions/{registered['versions']['AtoB']}"
    with served(folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        experiment, end = f"{server}/#/experiments/1", "workflowType=machine_learning"
        view = f"{experiment}/runs?viewStateShareKey=cyclegan&{end}"
        take(browser, "mlflow-runs", view, 1440, 560)
        take(browser, "mlflow-charts", f"{view}&compareRunsMode=CHART", 1440, 1000)
        page = f"{experiment}/runs/{runs['city']}?{end}"
        take(browser, "mlflow-run", page, 1440, 1250, click="text=Show more")
        take(browser, "mlflow-version", f"{server}/#/models/{version}?{end}", 1440, 1500)
        report = (city / "scores" / "report.html").as_uri()
        take(browser, "report", report, 1200, 1300)
        take(browser, "report-failures", report, 1200, 900, to="text=Where it fails")
        take(browser, "compare", (folder / "compare.html").as_uri(), 1440, 1000)
        take(browser, "progress", (city / "model-progress.html").as_uri(), 1200, 1000)
        browser.close()


def make_runs(folder: Path) -> None:
    """Prepare the sample data once; train, evaluate and register what has no scores yet."""
    prepared = folder / "prepared"
    if not prepared.is_dir():
        cyclegan(folder, "fetch", "--params", ROOT / "params.yaml", "--out", "raw")
        cyclegan(folder, "preprocess", "raw", "--params", ROOT / "params.yaml", "--out", prepared)
    for name, flags in RUNS.items():
        run = folder / "runs" / name
        if (run / "scores").is_dir():
            continue
        if not (run / "prepared").is_dir():
            shutil.copytree(prepared, run / "prepared")
        for step in (["train", *flags], ["evaluate"], ["register"]):
            cyclegan(folder, step[0], run, "--params", ROOT / "params.yaml", *step[1:])


def cyclegan(folder: Path, *words: str | Path) -> None:
    """Run a command of ours in `folder`, with its own MLflow database."""
    subprocess.run(
        [sys.executable, "-m", "cyclegan", *map(str, words)], cwd=folder, env=own(folder), check=True
    )


def own(folder: Path) -> dict[str, str]:
    """The environment of the commands."""
    return os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "city",
    }


def run_id(folder: Path, name: str) -> str:
    """The MLflow run of a model."""
    config = json.loads((folder / "runs" / name / "model" / "config.json").read_text(encoding="utf-8"))
    return str(config["mlflow_run_id"])


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the MLflow UI of `folder`, without a slash at its end."""
    command = [sys.executable, "-u", "-m", "cyclegan", "ui"]
    with subprocess.Popen(command, cwd=folder, env=own(folder), stdout=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            line = next(line for line in ui.stdout if line.startswith("http"))
            yield line.partition("/#")[0]
        finally:
            ui.send_signal(signal.SIGTERM)


def take(
    browser: Browser, name: str, address: str, width: int, height: int, *, click: str = "", to: str = ""
) -> None:
    """Write docs/images/<name>.webp: the page at `address`, `click` clicked, or scrolled to `to`."""
    context = browser.new_context(viewport={"width": width, "height": height})
    context.add_init_script(CLOSED)
    page = context.new_page()
    page.set_default_timeout(120_000)
    for _ in range(ATTEMPTS):
        page.goto(address)
        page.wait_for_timeout(1000 if address.startswith("file:") else LOADS)
        if not page.get_by_text("Something went wrong").count():  # a server that has just started
            break
        page.reload()
    if click:
        page.click(click)
        page.wait_for_timeout(2000)
    if to:
        page.locator(to).first.evaluate("part => part.scrollIntoView({block: 'start'})")
        page.wait_for_timeout(500)
    write(IMAGES / f"{name}.webp", page.screenshot())
    context.close()


def write(path: Path, png: bytes) -> None:
    """Write a screenshot as WebP of at most LARGEST bytes, as good as that allows."""
    image = Image.open(BytesIO(png)).convert("RGB")
    for quality in (80, 65, 50, 35, 20):
        file = BytesIO()
        image.save(file, "WEBP", quality=quality, method=6)
        if file.tell() <= LARGEST:
            break
    path.write_bytes(file.getvalue())
    print(f"{path.relative_to(ROOT)}: {file.tell() / 1000:.0f} kB, quality {quality}")


if __name__ == "__main__":
    sys.exit(main())
