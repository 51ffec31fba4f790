"""Using a model: one image from Python, files and folders of any size, from the command line.

from cyclegan.inference.translate import load
translator = load("outputs/model")          # or "models:/cyclegan@champion"
translator("photo.jpg").save("map.png")
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from cyclegan.errors import CycleGANError, UsageError, enough_memory
from cyclegan.inference.translator import Translator, load
from cyclegan.io.uri import redact

if TYPE_CHECKING:
    from cyclegan.io.storage import Store

__all__ = ["TranslateConfig", "Translated", "Translator", "load", "translate"]

logger = logging.getLogger(__name__)

# what Pillow writes by a file's suffix; other formats are written as PNG
WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


@dataclass(frozen=True, kw_only=True)
class TranslateConfig:
    """How pictures are translated."""

    direction: Literal["AtoB", "BtoA", "auto"] = "auto"
    """Which generator; auto: the one that the model's address names, else AtoB."""
    size: int = 0
    """Scale pictures so that their shorter side has this many pixels; 0: translate them as large as they are.
    A model knows things at the scale it was trained at."""
    tile: int = 1024
    """Pictures with a longer side are translated in overlapping squares of this side; 0: in one piece."""
    overlap: int = 128
    """Pixels over which neighbouring tiles blend into each other."""
    overwrite: bool = False
    """Translate again what is there already."""
    shard: int = 0
    """Which part of the pictures to translate, counted from 0."""
    shards: int = 1
    """Into how many parts the pictures are divided, one a process or pod."""
    device: str = "auto"
    """Device to run on: auto, cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.size < 0 or self.tile < 0 or self.overlap < 0:
            raise UsageError("translate: size, tile and overlap must not be negative.")
        if self.tile and not self.overlap < self.tile:
            raise UsageError(f"translate: overlap = {self.overlap} must be smaller than tile = {self.tile}.")
        if not 0 <= self.shard < self.shards:
            raise UsageError(f"translate: shard = {self.shard} is not one of 0 to {self.shards - 1}.")


@dataclass(frozen=True)
class Translated:
    """What became of the pictures."""

    written: int
    skipped: int
    """Those whose translation was there already."""
    unreadable: list[str]


def translate(model: str, images: str, out: str, config: TranslateConfig) -> Translated:
    """Translate a file, a folder with all below it, or everything under an s3:// prefix into `out`.

    Names and subfolders are kept; formats that cannot be written become `<name>.png`. What `out` has already
    is skipped, so an interrupted command continues. Raises UsageError where there are no images or where the
    translations would replace them, CycleGANError where none of them can be read.
    """
    from tqdm import tqdm

    from cyclegan.io.storage import open_store

    source, names, target, single = _plan(images, out)
    names = names[config.shard :: config.shards]
    done = set() if config.overwrite else {entry.key for entry in target.list()}
    waiting = [name for name in names if (single or output_name(name)) not in done]
    direction = None if config.direction == "auto" else config.direction
    if not waiting:
        logger.info("All %d images are translated already.", len(names))
        return Translated(0, len(names), [])
    translator = load(model, direction, device=config.device, tile=config.tile, overlap=config.overlap)
    unreadable: list[str] = []
    for name in tqdm(waiting, desc=translator.direction, unit="image", disable=None):
        key = single or output_name(name)
        try:
            with enough_memory(f"give a tile smaller than {config.tile or 1024}, or device = cpu"):
                data = _translate_bytes(translator, source.read(name), key, config.size)
        except _Unreadable as error:
            logger.warning("%s is left out: %s.", name, error)
            unreadable.append(name)
            continue
        target.write(key, data)
    written = len(waiting) - len(unreadable)
    if not written:
        raise CycleGANError(f"None of the {len(waiting)} images in {redact(images)} can be read.")
    logger.info(
        "%d images translated into %s; %d were there already, %d could not be read.",
        written,
        open_store(out).uri,
        len(names) - len(waiting),
        len(unreadable),
    )
    return Translated(written, len(names) - len(waiting), unreadable)


def output_name(name: str) -> str:
    """The name of a picture's translation: its own, with .png after it where its format is not written."""
    return name if PurePosixPath(name).suffix.lower() in WRITTEN else f"{name}.png"


class _Unreadable(Exception):
    """A picture that cannot be translated; the message is the reason."""


def _translate_bytes(translator: Translator, data: bytes, key: str, size: int) -> bytes:
    from PIL import Image

    from cyclegan.data.decode import BadImage, open_image, to_rgb

    try:
        image = to_rgb(open_image(data))
    except BadImage as error:
        raise _Unreadable(str(error)) from None
    if size:
        scale = size / min(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    kind = WRITTEN[PurePosixPath(key).suffix.lower()]
    buffer = io.BytesIO()
    translator(image).save(buffer, kind, **SAVE_OPTIONS.get(kind, {}))
    return buffer.getvalue()


def _plan(images: str, out: str) -> tuple[Store, list[str], Store, str]:
    """The store and names of the pictures, the store of the translations, and the name of a single one."""
    from cyclegan.data.layout import is_image
    from cyclegan.io.storage import open_store

    local = "://" not in images
    if local and Path(images).is_file():
        path = Path(images)
        whole = "://" in out or Path(out).is_dir() or not Path(out).suffix
        target, key = (out, output_name(path.name)) if whole else (str(Path(out).parent), Path(out).name)
        if PurePosixPath(key).suffix.lower() not in WRITTEN:
            raise UsageError(f"Cannot write {key}: its name must end in one of {', '.join(WRITTEN)}.")
        if "://" not in target and (Path(target) / key).resolve() == path.resolve():
            raise UsageError(f"{path} would be replaced by its translation: give another name or folder.")
        return open_store(str(path.parent)), [path.name], open_store(target), key
    if local and not Path(images).is_dir():
        raise UsageError(f"There is no file or folder {redact(images)}.")
    source, target_store = open_store(images), open_store(out)
    if source.uri.rstrip("/") == target_store.uri.rstrip("/") or (
        local and "://" not in out and Path(images).resolve() == Path(out).resolve()
    ):
        raise UsageError(f"The translations would replace the images in {images}: give another folder.")
    names = [entry.key for entry in source.list()]
    inside = _below(
        images, out
    )  # translations written into a folder below the images are no images to translate
    found = [name for name in names if is_image(name) and not (inside and name.startswith(inside))]
    if not found:
        raise UsageError(f"There are no images in {redact(images)}.")
    clashes = {output_name(name) for name in found if output_name(name) != name} & set(found)
    if clashes:
        raise UsageError(f"{images}: the translation of another image would be called {min(clashes)} too.")
    return source, found, target_store, ""


def _below(images: str, out: str) -> str:
    """The prefix that keys of `images` have where they lie in `out`; empty where `out` is elsewhere."""
    if "://" in images or "://" in out:
        inner, outer = out.rstrip("/"), images.rstrip("/")
        return inner[len(outer) + 1 :] + "/" if inner.startswith(f"{outer}/") else ""
    inside, folder = Path(out).resolve(), Path(images).resolve()
    return f"{inside.relative_to(folder).as_posix()}/" if inside.is_relative_to(folder) else ""
