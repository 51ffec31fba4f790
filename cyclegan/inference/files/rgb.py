"""Translating files with a model of RGB of 8 bits, reading the next and writing the last meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cyclegan.errors import UsageError, enough_memory
from cyclegan.inference.media.pictures import (
    TRANSPARENT,
    WRITTEN,
    Picture,
    Unreadable,
    check_sides,
    encode,
    output_name,
    read_picture,
)

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.inference.config import TranslateConfig
    from cyclegan.inference.translator import Translator
    from cyclegan.io.store import Store

logger = logging.getLogger(__name__)


def translate_rgb(
    translator: Translator,
    source: Store,
    waiting: Sequence[str],
    target: Store,
    single: str,
    config: TranslateConfig,
) -> tuple[int, dict[str, str]]:
    """Translate the pictures `waiting` in `source` into `target`; returns how many were written, and the
    reasons of those that cannot be read.

    `single` is the name that one picture's translation gets, empty for many. Raises UsageError where the
    file cannot hold the picture's size or the transparency to keep, CycleGANError if memory runs out.
    """
    import numpy as np

    from cyclegan.inference.media.large import pillow_accepts

    unreadable: dict[str, str] = {}
    written = 0
    with ThreadPoolExecutor(2, "pictures") as pool, pillow_accepts(config.max_pixels):
        writing: Future[None] | None = None
        pictures = _ahead(pool, waiting, lambda name: _read(source, name, config))
        for name, reading in _with_bar(pictures, len(waiting), translator.direction):
            key = single or output_name(name)
            try:
                with enough_memory(f"use a tile smaller than {config.tile or 1024}, or device = cpu"):
                    picture = reading.result()()
                    _check_fits(picture, key)
                    if not (config.size or written or unreadable):
                        _tell_scale(translator, picture.image.shape)
                    if picture.large:
                        _stream(translator, picture, target, key)
                    else:
                        translated = translator.array(np.asarray(picture.image))
            except Unreadable as error:
                logger.warning("Skipped %s: %s.", name, error)
                unreadable[name] = str(error)
                continue
            written += 1
            if picture.large:
                continue
            if writing:
                writing.result()
            writing = pool.submit(_write, target, key, translated, picture)
        if writing:
            writing.result()
    return written, unreadable


def _with_bar(
    pictures: Iterator[tuple[str, Future[Callable[[], Picture]]]], count: int, title: str
) -> Iterable[tuple[str, Future[Callable[[], Picture]]]]:
    """The pictures, with a progress bar where there are several."""
    if count == 1:
        return pictures
    from tqdm import tqdm

    return tqdm(pictures, total=count, desc=title, unit="image", disable=None)


def _ahead(
    pool: ThreadPoolExecutor, names: Iterable[str], read: Callable[[str], Callable[[], Picture]]
) -> Iterator[tuple[str, Future[Callable[[], Picture]]]]:
    """Each name with its picture, while the next one is being read."""
    former: tuple[str, Future[Callable[[], Picture]]] | None = None
    for name in names:
        current = (name, pool.submit(read, name))
        if former:
            yield former
        former = current
    if former:
        yield former


def _read(source: Store, name: str, config: TranslateConfig) -> Callable[[], Picture]:
    return read_picture(
        source,
        name,
        size=config.size,
        max_pixels=config.max_pixels,
        alpha=config.alpha == "keep",
        metadata=config.metadata == "keep",
    )


def _tell_scale(translator: Translator, shape: tuple[int, ...]) -> None:
    """Say so where the first picture is twice as large as what the model was trained on, or half as large."""
    known = translator.config.get("image_size")
    if not known:
        return
    trained = min(known) if isinstance(known, list) else known
    height, width = shape[:2]
    if not trained / 2 < min(height, width) < trained * 2:
        logger.info(
            "The model was trained on whole pictures of %s pixels, and the first one here has %dx%d: if it "
            "shows as much as they did, --size %d brings it to their scale.",
            f"{known[1]}x{known[0]}" if isinstance(known, list) else f"{known}x{known}",
            width,
            height,
            trained,
        )


def _check_fits(picture: Picture, key: str) -> None:
    height, width = picture.image.shape[:2]
    check_sides(width, height, _kind(key))
    if picture.alpha and _kind(key) not in TRANSPARENT:
        raise UsageError(f"{key} cannot be transparent: write .png, .webp or .tif, or use --alpha drop.")


def _kind(key: str) -> str:
    return WRITTEN[PurePosixPath(key).suffix.lower()]


def _write(target: Store, key: str, translated: np.ndarray, picture: Picture) -> None:
    from PIL import Image

    image = Image.fromarray(translated)
    if picture.alpha:
        image.putalpha(picture.alpha)
    target.write(key, encode(image, _kind(key), metadata=picture.metadata))


def _stream(translator: Translator, picture: Picture, target: Store, key: str) -> None:
    """Translate and write a large picture row by row of tiles."""
    from cyclegan.data.errors import BadImage
    from cyclegan.inference.media.writers import write_bands

    height, width = picture.image.shape[:2]
    try:
        with target.writing(key) as path:
            bands = translator.bands(picture.image)
            write_bands(path, _kind(key), (width, height), bands, picture.alpha, picture.metadata)
    except BadImage as error:
        raise Unreadable(str(error)) from None
