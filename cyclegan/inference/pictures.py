"""Between encoded pictures and arrays: what can be written, and at which quality."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cyclegan.errors import CycleGANError

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.inference.translator import Translator

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
QUALITY = 95
MAX_PIXELS = 100_000_000


class Unreadable(CycleGANError):
    """A picture that cannot be translated; the message is the reason."""


def output_name(name: str) -> str:
    """The name of a picture's translation: its own, with .png after it where its format is not written."""
    return name if PurePosixPath(name).suffix.lower() in WRITTEN else f"{name}.png"


def scaled(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height with the shorter side scaled to `size` pixels, unless that is 0."""
    scale = size / min(width, height) if size else 1
    return max(1, round(width * scale)), max(1, round(height * scale))


def decode(data: bytes, size: int = 0, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An encoded picture as upright RGB, its shorter side scaled to `size` pixels unless that is 0.

    Raises Unreadable, also for more than `max_pixels` before or after the scaling.
    """
    from PIL import Image

    from cyclegan.data.decode import open_image, to_rgb
    from cyclegan.data.errors import BadImage

    try:
        opened = open_image(data, max_pixels=max_pixels)
        width, height = scaled(*opened.size, size)
        if width * height > max_pixels:
            raise BadImage(f"scaled to {width}x{height} it is more than {max_pixels} pixels")
        image = to_rgb(opened)
    except BadImage as error:
        raise Unreadable(str(error)) from None
    return image.resize(scaled(*image.size, size), Image.Resampling.BICUBIC) if size else image


def count_pixels(data: bytes, size: int = 0) -> int:
    """How many pixels a picture has once it is scaled, by its header alone. Raises Unreadable."""
    from cyclegan.data.decode import open_image
    from cyclegan.data.errors import BadImage

    try:
        width, height = scaled(*open_image(data, max_pixels=MAX_PIXELS).size, size)
    except BadImage as error:
        raise Unreadable(str(error)) from None
    return width * height


def encode(image: Image.Image, kind: str, quality: int = QUALITY) -> bytes:
    """A picture as the bytes of a file of Pillow's format `kind`; `quality` concerns JPEG and WEBP."""
    options: dict[str, Any] = {"quality": quality} if kind in {"JPEG", "WEBP"} else {}
    if kind == "JPEG":
        options["subsampling"] = 0
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def translate_picture(
    translator: Translator,
    data: bytes,
    kind: str,
    *,
    quality: int = QUALITY,
    size: int = 0,
    tile: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """An encoded picture of any size and mode to the encoded translation of that size. Raises Unreadable."""
    import numpy as np
    from PIL import Image

    image = np.asarray(decode(data, size, max_pixels=max_pixels))
    return encode(Image.fromarray(translator.array(image, tile=tile)), kind, quality)
