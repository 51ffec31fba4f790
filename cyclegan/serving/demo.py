"""A local web page: drop a picture, see its translation under a slider. Nothing leaves the machine."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import CycleGANError, UsageError, enough_memory
from cyclegan.inference.media.pictures import Unreadable, decode
from cyclegan.inference.translator import Translator, load
from cyclegan.io.pages.page import palette
from cyclegan.io.uri import in_file_name, redact
from cyclegan.registry.metrics import NO_NAMES
from cyclegan.registry.pages.card import domains, model_card
from cyclegan.runtime.signals import StopRequest
from cyclegan.serving.config import DemoConfig

if TYPE_CHECKING:
    from cyclegan.model import Direction

logger = logging.getLogger(__name__)

EXAMPLES = 4  # of each domain
KEPT, CHECKED = 3600, 600  # seconds that pictures stay on disk, and between looks for older ones
COLOURS = """
body, gradio-app {background: var(--page) !important}
body .gradio-container {
  --body-background-fill: var(--page); --background-fill-primary: var(--page);
  --background-fill-secondary: var(--card); --block-background-fill: var(--card);
  --block-label-background-fill: var(--card); --input-background-fill: var(--page);
  --body-text-color: var(--ink); --block-label-text-color: var(--soft); --block-title-text-color: var(--ink);
  --border-color-primary: var(--line); --block-border-color: var(--line); --color-accent: var(--ours);
  --checkbox-background-color-selected: var(--ours); --checkbox-border-color-selected: var(--ours);
  --checkbox-border-color-focus: var(--ours); --code-background-fill: var(--page);
  --link-text-color: var(--ours); --slider-color: var(--ours); --button-primary-text-color: var(--page);
  --button-primary-background-fill: var(--ours); --button-primary-background-fill-hover: var(--ours);
  background: var(--page); color: var(--ink);
}
"""
CSS = """
.gradio-container {max-width: min(1200px, 100vw) !important; margin: 0 auto}
.card h1 {font-size: 1.4em !important}
.card h2 {font-size: 1.15em !important}
.card pre, .card code {white-space: pre-wrap !important; overflow-wrap: anywhere}
.card table {display: block; overflow-x: auto; border: 0 !important}
.card tr, .card th, .card td {border-color: var(--line) !important}
.card th:first-child, .card td:first-child {white-space: nowrap}
"""


def demo(models: Sequence[str], config: DemoConfig, prepared: Path) -> None:
    """Serve the page for one or more models until interrupted, with examples from `prepared` if it exists.

    Pictures and translations are removed after an hour and at the end, also from the folder that the user
    named by GRADIO_TEMP_DIR. Raises UsageError where the extra `demo` is missing, a model cannot be loaded or
    the port is taken.
    """
    if not find_spec("gradio"):
        raise UsageError("The page needs more packages: pip install 'cyclegan-pipeline[demo]'.")
    # read by gradio when it is imported: no calls home, no addresses on other machines
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    # a translation that is given up may still write there
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if not os.environ.get("GRADIO_TEMP_DIR"):
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "pictures"))
        page = _page(Gallery(models, config), _examples(prepared, Path(folder)))
        with StopRequest("Closing the page.") as stop:  # no KeyboardInterrupt anywhere within gradio
            try:
                _launch(page, config, folder)
                print(f"Open {page.local_url}", flush=True)
                if page.share_url:
                    print(f"Public: {page.share_url}", flush=True)
                stop.wait()
            finally:
                with contextlib.suppress(KeyboardInterrupt):  # of somebody in a hurry
                    _close(page)


def _launch(page: Any, config: DemoConfig, folder: str) -> None:
    import gradio

    try:
        page.queue(default_concurrency_limit=2)
        page.launch(
            server_name=config.host,
            server_port=config.port or None,
            share=config.share,
            inbrowser=config.open_browser,
            theme=gradio.themes.Default(
                font=["ui-sans-serif", "system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
            # not as `css`, which gradio rewrites, media queries for dark mode included
            head=f"<style>{palette()}{COLOURS}</style>",
            css=CSS,
            allowed_paths=[folder],
            max_file_size="100mb",
            footer_links=[],
            show_error=True,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise UsageError(f"Cannot listen on {config.host}, port {config.port}: {error}.") from None


def _close(page: Any) -> None:
    """Free the port; what is under way gets a second, since an open tab's stream never ends by itself."""
    if not page.is_running:
        return
    from gradio.tunneling import CURRENT_TUNNELS

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # no traceback for what is broken off
    page.server.config.timeout_graceful_shutdown = 1
    page.close(verbose=False)
    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()  # type: ignore[no-untyped-call]


class Gallery:
    """The models of the page; each generator is loaded when it is first asked for, the first one at once."""

    def __init__(self, models: Sequence[str], config: DemoConfig) -> None:
        self.models = list(dict.fromkeys(models))
        self._config = config
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], Translator] = {}
        for model in self.models:
            self.get(model, None)

    def get(self, model: str, direction: Direction | None) -> Translator:
        """The translator of a model and direction; UsageError where the model has none."""
        with self._lock:
            key = (model, direction or "")
            if key not in self._loaded:
                c = self._config
                opened = load(model, direction, device=c.device, precision=c.precision, engine=c.engine)
                if not opened.is_rgb:
                    raise UsageError(
                        f"The page shows RGB of 8 bits, and {redact(model)} takes {opened.source} and "
                        f"returns {opened.target}: use `cyclegan translate`."
                    )
                self._loaded[key] = self._loaded[model, opened.direction] = opened
            return self._loaded[key]

    def names(self) -> list[str]:
        """A short, unique name of each model."""
        short = [_short(model) for model in self.models]
        return short if len(set(short)) == len(short) else self.models

    def arrows(self) -> dict[str, Direction]:
        """The directions by the domains' names, or by A and B where the models' names differ."""
        named = [domains(self.get(model, None).config) for model in self.models]
        a, b = (named[0] if all(names == named[0] for names in named) else NO_NAMES).values()
        if a == b:
            a, b = NO_NAMES.values()
        return {f"{a} → {b}": "AtoB", f"{b} → {a}": "BtoA"}


def _short(model: str) -> str:
    if ":/" in model:
        return model
    path = Path(model).resolve()
    return path.parent.name if path.name == "model" else path.name


def _page(gallery: Gallery, examples: list[str]) -> Any:
    import gradio

    names, arrows = gallery.names(), gallery.arrows()
    several = len(names) > 1
    first = gallery.get(gallery.models[0], None)
    with gradio.Blocks(title="CycleGAN", analytics_enabled=False, delete_cache=(CHECKED, KEPT)) as page:
        gradio.Markdown(f"# {' · '.join(names)}")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=300):
                picture = gradio.Image(
                    label="Picture",
                    sources=["upload", "clipboard", "webcam"],
                    type="filepath",
                    image_mode=None,
                    height=320,
                    elem_id="picture",
                )
                # The file as it was uploaded: gradio would convert it, and fail with a traceback. No subclass
                # does this, because gradio would write a .pyi file beside this one.
                picture.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
                arrow = gradio.Radio(
                    list(arrows),
                    value=next(key for key, value in arrows.items() if value == first.direction),
                    label="Direction",
                    elem_id="direction",
                )
                button = gradio.Button("Translate", variant="primary", elem_id="translate")
                with gradio.Accordion("Size", open=False):
                    size = gradio.Slider(
                        0, 1024, 0, step=16, label="Shorter side in pixels (0: as it is)", elem_id="size"
                    )
                    tile = gradio.Slider(256, 2048, 1024, step=64, label="Largest tile", elem_id="tile")
            with gradio.Column(scale=2, min_width=300):
                sliders, downloads = [], []
                with gradio.Row():
                    for i, name in enumerate(names):
                        with gradio.Column(min_width=280):
                            sliders.append(
                                gradio.ImageSlider(
                                    label=name if several else "Translation",
                                    type="filepath",
                                    buttons=["fullscreen"],
                                    elem_id=f"result{i}",
                                )
                            )
                            downloads.append(
                                gradio.DownloadButton(
                                    f"Download ({name})" if several else "Download",
                                    elem_id=f"download{i}",
                                    visible=False,
                                )
                            )
        if examples:
            gradio.Examples(examples, inputs=picture, label="From the test set", cache_examples=False)
        for model, name in zip(gallery.models, names, strict=True):
            with gradio.Accordion(f"About {name}", open=not several, elem_classes="card"):
                gradio.Markdown(model_card(gallery.get(model, None).config, front_matter=False))

        def run(path: str | None, direction: str, side: float, largest: float) -> list[Any]:
            results = []
            try:
                for model, name in zip(gallery.models, names, strict=True):
                    translator = gallery.get(model, arrows[direction])
                    label = f"-{in_file_name(name)}" if several else ""
                    results.append(_translate(translator, path, int(side), int(largest), label))
            except CycleGANError as error:
                raise gradio.Error(str(error), print_exception=False) from None
            shown = [(before, after) for before, after in results]
            return [*shown, *(gradio.DownloadButton(value=after, visible=True) for _, after in results)]

        inputs, outputs = [picture, arrow, size, tile], [*sliders, *downloads]
        button.click(run, inputs, outputs, api_name="translate")
    return page


def _translate(
    translator: Translator, path: str | None, size: int, tile: int, label: str = ""
) -> tuple[str, str]:
    """The picture as it was read and its translation, as PNG files that gradio serves and removes.

    Each pair has its own folder: gradio's for an upload is named after its content, so models, sizes and
    users share it. `label` goes into the name that the translation is downloaded by.
    """
    from PIL import Image

    if not path:
        raise UsageError("Drop a picture first.")
    try:
        image = decode(Path(path).read_bytes(), size)
    except FileNotFoundError:
        raise UsageError("This picture has been removed in the meantime: drop it again.") from None
    except Unreadable as error:
        raise UsageError(f"This picture cannot be read: {error}.") from None
    with enough_memory("choose a smaller size or tile"):
        translated = Image.fromarray(translator.array(np.asarray(image), tile=tile))
    folder = Path(tempfile.mkdtemp(dir=Path(path).parent))
    before, after = folder / "input.png", folder / f"{Path(path).stem}{label}-{translator.direction}.png"
    image.save(before)
    translated.save(after)
    return str(before), str(after)


def _examples(prepared: Path, folder: Path) -> list[str]:
    """A few test pictures of both domains as PNG files in `folder`; none where none can be shown."""
    from PIL import Image

    packed = [path for path in (prepared / f"test{domain}.npy" for domain in "AB") if path.is_file()]
    files = []
    try:
        for path in packed:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
            if images.dtype != np.uint8 or images.shape[3:] != (3,):
                raise TypeError
            for i in np.linspace(0, len(images) - 1, min(EXAMPLES, len(images))).astype(int):
                files.append(str(folder / f"{path.stem}-{i}.png"))
                Image.fromarray(np.asarray(images[i])).save(files[-1])
    except Exception:  # the header is Python text, and each of its readers has errors of its own
        logger.warning("No examples: %s holds no readable RGB pictures of 8 bits.", path)
        return []
    return files
