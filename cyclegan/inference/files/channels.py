"""Translating files with a model of other pictures than RGB of 8 bits, one at a time."""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tqdm import tqdm

from cyclegan.errors import UsageError, enough_memory
from cyclegan.inference.media.channels import (
    encode_channels,
    in_values_of_files,
    output_name,
    place_of,
    read_as,
)
from cyclegan.inference.media.pictures import Unreadable
from cyclegan.inference.media.pictures import output_name as usual_name

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from cyclegan.inference.config import TranslateConfig
    from cyclegan.inference.translator import Translator
    from cyclegan.io.store import Store

logger = logging.getLogger(__name__)


def translate_channels(
    translator: Translator,
    source: Store,
    names: Sequence[str],
    target: Store,
    single: str,
    done: Set[str],
    config: TranslateConfig,
    *,
    named: bool,
) -> tuple[int, int, dict[str, str]]:
    """Translate pictures into TIFFs, or PNGs where they were PNGs; returns how many were written, how many
    were there, and the reasons of those that cannot be read.

    `single` is the name that one picture's translation gets, empty for many, and `named` whether the user
    chose it; `done` are translations that are there and stay. Raises UsageError for settings that such
    pictures have not, and for a chosen name whose format cannot hold them.
    """
    if config.alpha == "keep":
        raise UsageError("translate: alpha = keep is for RGB; this model keeps the channels of its pictures.")
    keys = {name: _key(single or name, translator) for name in names}
    if named and [single] != list(keys.values()):
        below = " with negative values" if translator.levels.black < 0 else ""
        raise UsageError(f"{single} cannot hold {translator.target}{below}: write .tif.")
    if len(set(keys.values())) < len(keys):
        twice = next(key for key in keys.values() if list(keys.values()).count(key) > 1)
        raise UsageError(f"Two pictures would both be written to {twice}.")
    waiting = [name for name in names if keys[name] not in done]
    unreadable: dict[str, str] = {}
    for name in tqdm(waiting, desc=translator.direction, unit="image", disable=None):
        try:
            data = source.read(name)
            pixels = read_as(
                data, translator.source, translator.levels, size=config.size, max_pixels=config.max_pixels
            )
            with enough_memory(f"use a tile smaller than {config.tile or 1024}, or device = cpu"):
                translated = in_values_of_files(translator.array(pixels), translator.levels)
        except Unreadable as error:
            logger.warning("Skipped %s: %s.", name, error)
            unreadable[name] = str(error)
            continue
        tags = place_of(data) if config.metadata == "keep" and not config.size else None
        target.write(keys[name], encode_channels(translated, PurePosixPath(keys[name]).suffix, tags))
    return len(waiting) - len(unreadable), len(names) - len(waiting), unreadable


def _key(name: str, translator: Translator) -> str:
    """What a translation is called: `name` is the picture's, or already the usual name of its translation."""
    whole = name if usual_name(name) == name else name.removesuffix(".png")
    negative = translator.levels.black < 0 and translator.target.bits == 16
    key = output_name(whole, translator.target)
    return f"{whole}.tif" if negative and key.lower().endswith(".png") else key
