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


class Unreadable(CycleGANError):
    """A picture that cannot be translated; the message is the reason."""


def output_name(name: str) -> str:
    """The name of a picture's translation: its own, with .png after it where its format is not written."""
    return name if PurePosixPath(name).suffix.lower() in WRITTEN else f"{name}.png"


def decode(data: bytes, size: int = 0) -> Image.Image:
    """An encoded picture as upright RGB, its shorter side scaled to `size` pixels unless that is 0.

    Raises Unreadable.
    """
    from PIL import Image

    from cyclegan.data.decode import open_image, to_rgb
    from cyclegan.data.errors import BadImage

    try:
        image = to_rgb(open_image(data))
    except BadImage as error:
        raise Unreadable(str(error)) from None
    if size:
        scale = size / min(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return image


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
) -> bytes:
    """An encoded picture of any size and mode to the encoded translation of that size. Raises Unreadable."""
    import numpy as np
    from PIL import Image

    image = np.asarray(decode(data, size))
    return encode(Image.fromarray(translator.array(image, tile=tile)), kind, quality)
