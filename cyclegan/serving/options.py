"""What may be asked for together with a picture, and its translation; shared by everything that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclegan.errors import UsageError, enough_memory
from cyclegan.inference.config import MAX_PIXELS
from cyclegan.inference.media.channels import translate_encoded
from cyclegan.inference.media.pictures import QUALITY, Unreadable, translate_picture

if TYPE_CHECKING:
    from cyclegan.inference.translator import Translator

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
RANGES = {"quality": (1, 100), "size": (0, 8192), "tile": (64, 4096)}


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """How one picture is translated and encoded; the same for MLflow's parameters and the server's."""

    format: str = "png"
    """png, jpeg or webp."""
    quality: int = QUALITY
    """1 to 100, of jpeg and webp."""
    size: int = 0
    """Scale the picture so that its shorter side has this many pixels; 0: as it is."""
    tile: int = 1024
    """Side of the tiles in which larger pictures are translated, in pixels."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"format = {self.format!r} is unknown: use {', '.join(FORMATS)}.")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} = {value} is out of range: use {least} to {most}.")

    @property
    def media_type(self) -> str:
        """As in a Content-Type header."""
        return f"image/{self.format}"

    def translate(
        self,
        translator: Translator,
        data: bytes,
        which: str = "The picture",
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> bytes:
        """The encoded translation of an encoded picture; UsageError names `which` if it cannot be read."""
        try:
            with enough_memory(f"use a tile smaller than {self.tile}, or a smaller size"):
                kind = FORMATS[self.format]
                if not translator.is_rgb:
                    return translate_encoded(
                        translator, data, kind, size=self.size, tile=self.tile, max_pixels=max_pixels
                    )
                return translate_picture(
                    translator,
                    data,
                    kind,
                    quality=self.quality,
                    size=self.size,
                    tile=self.tile,
                    max_pixels=max_pixels,
                )
        except Unreadable as error:
            raise UsageError(f"{which} cannot be read: {error}.") from None
