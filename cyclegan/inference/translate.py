"""Using a model: one image from Python, files and folders of any size, from the command line.

from cyclegan.inference.translate import load
translator = load("outputs/model")          # or "models:/cyclegan@champion"
translator("photo.jpg").save("map.png")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cyclegan.errors import CycleGANError, UsageError, enough_memory
from cyclegan.inference.config import TranslateConfig
from cyclegan.inference.media.pictures import (
    TRANSPARENT,
    WRITTEN,
    Picture,
    Unreadable,
    encode,
    output_name,
    read_picture,
)
from cyclegan.inference.media.video import is_video
from cyclegan.inference.translator import Translator, load
from cyclegan.io.uri import redact

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.io.store import Store

__all__ = ["TranslateConfig", "Translated", "Translator", "load", "translate"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Translated:
    """What became of the pictures."""

    written: int
    skipped: int
    """Those whose translation was there already."""
    unreadable: list[str]


def translate(model: str, images: str, out: str, config: TranslateConfig) -> Translated:
    """Translate a file, a film, a folder with all below it, or everything under an s3:// prefix into `out`.

    Names and subfolders are kept; formats that cannot be written become `<name>.png`. What `out` has already
    is skipped, so an interrupted command continues. Raises UsageError where there are no images or where the
    translations would replace them, CycleGANError where none of them can be read
    and none was translated before.
    """
    if is_video(images) and "://" not in images:
        return _translate_film(model, Path(images), out, config)
    import numpy as np

    from cyclegan.inference.media.large import pillow_accepts

    source, names, target, single = _plan(images, out)
    names = names[config.shard :: config.shards]
    done = set() if config.overwrite else {entry.key for entry in target.list()}
    waiting = [name for name in names if (single or output_name(name)) not in done]
    if not waiting:
        logger.info("All %d images have already been translated.", len(names))
        return Translated(0, len(names), [])
    translator = _load(model, config, len(waiting))
    logger.debug("Engine: %s.", translator.engine.name)
    if not translator.is_rgb:
        from cyclegan.inference.translate_channels import translate_channels

        outcome = translate_channels(translator, source, names, target, single, config)
        return _finish(model, images, out, config, translator, *outcome)
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
                    _check_alpha(picture, key)
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
    there = len(names) - len(waiting)
    return _finish(model, images, out, config, translator, written, there, unreadable)


def _finish(
    model: str,
    images: str,
    out: str,
    config: TranslateConfig,
    translator: Translator,
    written: int,
    there: int,
    unreadable: dict[str, str],
) -> Translated:
    """Say and record what became of the pictures; CycleGANError where none of them can be read."""
    from cyclegan.io.files import write_json
    from cyclegan.io.storage import open_store

    result = Translated(written, there, sorted(unreadable))
    if config.summary:
        write_json(Path(config.summary), _summary(model, images, out, translator, result, unreadable))
    if not written and not there:
        first = next(iter(unreadable.values()), "")
        why = f": {first}" if first and not translator.is_rgb else ""
        raise CycleGANError(f"None of the {len(unreadable)} images in {redact(images)} can be read{why}.")
    logger.info(
        "Translated into %s: %d; there before: %d; unreadable: %d.",
        redact(open_store(out).uri),
        written,
        there,
        len(unreadable),
    )
    return result


def _translate_film(model: str, film: Path, out: str, config: TranslateConfig) -> Translated:
    """`translate` for a film: one file, whose frames are counted as one picture."""
    import json

    from cyclegan.inference.media import video
    from cyclegan.io.files import write_json

    if not film.is_file():
        raise UsageError(f"There is no file {film}.")
    if config.shards > 1:
        raise UsageError("translate: a film is translated as a whole, so shards must be 1.")
    path = video.output_path(film, out)
    if path.exists() and not config.overwrite:
        logger.info("%s is there already; --overwrite translates it again.", path)
        return Translated(0, 1, [])
    video.check_installed()
    translator = _load(model, config, pictures=video.SEGMENT)
    if not translator.is_rgb:
        raise UsageError(f"A film's frames are RGB of 8 bits, and this model takes {translator.source}.")
    logger.debug("Engine: %s.", translator.engine.name)
    job = [translator.direction, translator.engine.name, config.tile, config.overlap, model]
    frames = video.translate_film(
        translator, film, path, size=config.size, job=json.dumps([*job, translator.config], sort_keys=True)
    )
    result = Translated(1, 0, [])
    if config.summary:
        facts = _summary(model, str(film), str(path), translator, result, {})
        write_json(Path(config.summary), facts | {"frames": frames})
    logger.info("Translated %s into %s; frames translated now: %d.", film, path, frames)
    return result


def _load(model: str, config: TranslateConfig, pictures: int) -> Translator:
    return load(
        model,
        None if config.direction == "auto" else config.direction,
        device=config.device,
        precision=config.precision,
        engine=config.engine,
        tile=config.tile,
        overlap=config.overlap,
        pictures=pictures,
    )


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


def _check_alpha(picture: Picture, key: str) -> None:
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


def _summary(
    model: str, images: str, out: str, translator: Translator, result: Translated, unreadable: dict[str, str]
) -> dict[str, Any]:
    return {
        "model": redact(model),
        "direction": translator.direction,
        "engine": translator.engine.name,
        "images": redact(images),
        "out": redact(out),
        "written": result.written,
        "already_there": result.skipped,
        "unreadable": [{"name": name, "reason": unreadable[name]} for name in result.unreadable],
    }


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
            raise UsageError(f"{path} would be replaced by its translation: use another name or folder.")
        return open_store(str(path.parent)), [path.name], open_store(target), key
    if local and not Path(images).is_dir():
        raise UsageError(f"There is no file or folder {redact(images)}.")
    source, target_store = open_store(images), open_store(out)
    if source.uri.rstrip("/") == target_store.uri.rstrip("/") or (
        local and "://" not in out and Path(images).resolve() == Path(out).resolve()
    ):
        raise UsageError(f"The translations would replace the images in {images}: use another folder.")
    names = [entry.key for entry in source.list()]
    inside = _below(
        images, out
    )  # translations written into a folder below the images are not images to translate
    found = [name for name in names if is_image(name) and not (inside and name.startswith(inside))]
    if not found:
        raise UsageError(f"There are no images in {redact(images)}.")
    clashes = {output_name(name) for name in found if output_name(name) != name} & set(found)
    if clashes:
        raise UsageError(f"{images}: two images would both be written to {min(clashes)}.")
    return source, found, target_store, ""


def _below(images: str, out: str) -> str:
    """The prefix that keys of `images` have where they are in `out`; empty where `out` is elsewhere."""
    if "://" in images or "://" in out:
        inner, outer = out.rstrip("/"), images.rstrip("/")
        return inner[len(outer) + 1 :] + "/" if inner.startswith(f"{outer}/") else ""
    inside, folder = Path(out).resolve(), Path(images).resolve()
    return f"{inside.relative_to(folder).as_posix()}/" if inside.is_relative_to(folder) else ""
