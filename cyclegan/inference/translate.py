"""Using a model: one image from Python, files and folders of any size, from the command line.

from cyclegan.inference.translate import load
translator = load("outputs/model")          # or "models:/cyclegan@champion"
translator("photo.jpg").save("map.png")
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.config import TranslateConfig
from cyclegan.inference.files.plan import plan
from cyclegan.inference.files.rgb import translate_rgb
from cyclegan.inference.media.pictures import output_name
from cyclegan.inference.media.video import is_video
from cyclegan.inference.translator import Translator, load
from cyclegan.io.uri import redact

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
    """Translate a file, a video, a folder with all below it, or everything under an s3:// prefix into `out`.

    Names and subfolders are kept; formats that cannot be written become `<name>.png`. What `out` has already
    is skipped, so an interrupted command continues. Raises UsageError where there are no images or where the
    translations would replace them, CycleGANError where none of them can be read
    and none was translated before.
    """
    if is_video(images) and "://" not in images:
        return _translate_film(model, Path(images), out, config)
    source, names, target, single = plan(images, out)
    names = names[config.shard :: config.shards]
    done = set() if config.overwrite else {entry.key for entry in target.list()}
    waiting = [name for name in names if (single or output_name(name)) not in done]
    if not waiting:
        logger.info("All %d images have already been translated.", len(names))
        return Translated(0, len(names), [])
    translator = _load(model, config, len(waiting))
    logger.debug("Engine: %s.", translator.engine.name)
    if not translator.is_rgb:
        from cyclegan.inference.files.channels import translate_channels

        named = bool(single) and single == PurePath(out).name
        outcome = translate_channels(translator, source, names, target, single, done, config, named=named)
        return _finish(model, images, out, config, translator, *outcome)
    written, unreadable = translate_rgb(translator, source, waiting, target, single, config)
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
    """`translate` for a video: one file, whose frames are counted as one picture."""
    import json

    from cyclegan.inference.media import video
    from cyclegan.io.files import write_json

    if not film.is_file():
        raise UsageError(f"There is no file {film}.")
    if config.shards > 1:
        raise UsageError("translate: a video is translated as a whole, so shards must be 1.")
    path = video.output_path(film, out)
    if path.exists() and not config.overwrite:
        logger.info("%s is there already; --overwrite translates it again.", path)
        return Translated(0, 1, [])
    video.check_installed()
    translator = _load(model, config, pictures=video.SEGMENT)
    if not translator.is_rgb:
        raise UsageError(f"A video's frames are RGB of 8 bits, and this model takes {translator.source}.")
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
