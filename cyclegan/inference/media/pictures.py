"""Between encoded pictures and arrays: what can be written, and at which quality."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.config import MAX_PIXELS
from cyclegan.inference.media.metadata import Metadata

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.inference.media.large import Decoded, TiffRows
    from cyclegan.inference.translator import Translator
    from cyclegan.io.store import Store

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
LONGEST = {"JPEG": 65500, "WEBP": 16383}  # pixels a side
TRANSPARENT = {"PNG", "WEBP", "TIFF"}
"""What can hold an alpha channel."""
QUALITY = 95
NOTHING = Metadata()


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
    from cyclegan.data.decode import open_image
    from cyclegan.data.errors import BadImage

    try:
        return _upright(open_image(data, max_pixels=max_pixels), size, max_pixels)
    except BadImage as error:
        raise Unreadable(str(error)) from None


def _upright(opened: Image.Image, size: int, max_pixels: int) -> Image.Image:
    """An opened picture as RGB, scaled. Raises BadImage."""
    from PIL import Image

    from cyclegan.data.decode import to_rgb
    from cyclegan.data.errors import BadImage

    width, height = scaled(*opened.size, size)
    if width * height > max_pixels:
        raise BadImage(f"scaled to {width}x{height} it is more than {max_pixels} pixels")
    image = to_rgb(opened)
    return image.resize(scaled(*image.size, size), Image.Resampling.BICUBIC) if size else image


@dataclass
class Picture:
    """A picture to translate, in memory or, where it is large, read region by region."""

    image: np.ndarray | Decoded | TiffRows
    alpha: Image.Image | None = None
    metadata: Metadata = NOTHING

    @property
    def large(self) -> bool:
        """Whether it is to be translated and written row by row."""
        return not isinstance(self.image, np.ndarray)


def read_picture(
    source: Store, name: str, *, size: int, max_pixels: int, alpha: bool, metadata: bool
) -> Callable[[], Picture]:
    """The picture of this name, decoded unless it is large; what is returned decodes it then.

    `alpha` and `metadata` say whether those are read. Raises Unreadable, as does what is returned.
    """
    from PIL import Image

    from cyclegan.data.decode import open_image
    from cyclegan.data.deep import DeepTiff
    from cyclegan.data.errors import BadImage
    from cyclegan.inference.media import large
    from cyclegan.inference.media.metadata import read_metadata

    try:
        path = source.local(name)
        if not size and PurePosixPath(name).suffix.lower() in {".tif", ".tiff"}:
            found = large.open_tiff(path or source.read(name), max_pixels)
            if found:
                rows, kept = found
                return lambda: Picture(rows, None, kept if metadata else NOTHING)
        data = source.read(name)
        opened = open_image(data, max_pixels=max_pixels)
    except BadImage as error:
        raise Unreadable(str(error)) from None

    whole = bool(size) or isinstance(opened, DeepTiff) or opened.width * opened.height < large.LARGE

    def decoded() -> Picture:
        image: np.ndarray | large.Decoded
        try:
            if whole:
                image = np.asarray(_upright(opened, size, max_pixels))
                transparent = large.alpha_of(opened) if alpha else None
            else:
                image = large.Decoded(opened)
                transparent = image.alpha() if alpha else None
        except BadImage as error:
            raise Unreadable(str(error)) from None
        height, width = image.shape[:2]
        if transparent and size:
            transparent = transparent.resize((width, height), Image.Resampling.BICUBIC)
        kept = read_metadata(opened, width, height) if metadata else NOTHING
        return Picture(image, transparent, kept)

    if not whole:
        return decoded
    ready = decoded()
    return lambda: ready


def size_of(data: bytes, size: int = 0) -> tuple[int, int]:
    """A picture's sides once it is scaled, by its header alone. Raises Unreadable."""
    from cyclegan.data.decode import open_image
    from cyclegan.data.errors import BadImage

    try:
        return scaled(*open_image(data, max_pixels=MAX_PIXELS).size, size)
    except BadImage as error:
        raise Unreadable(str(error)) from None


def check_sides(width: int, height: int, kind: str) -> None:
    """Raise UsageError where Pillow's format `kind` cannot hold so large a picture."""
    if max(width, height) > LONGEST.get(kind, max(width, height)):
        raise UsageError(
            f"{kind} holds at most {LONGEST[kind]} pixels a side, and this picture has {width}x{height}: "
            "use PNG."
        )


def encode(image: Image.Image, kind: str, quality: int = QUALITY, *, metadata: Metadata = NOTHING) -> bytes:
    """A picture that passes `check_sides` as a file of Pillow's format `kind`.

    `quality` concerns JPEG and WEBP.
    """
    buffer = io.BytesIO()
    save(image, buffer, kind, quality, metadata=metadata)
    return buffer.getvalue()


def save(
    image: Image.Image, file: IO[bytes], kind: str, quality: int = QUALITY, *, metadata: Metadata = NOTHING
) -> None:
    """`encode` into an open file."""
    options: dict[str, Any] = {"quality": quality} if kind in {"JPEG", "WEBP"} else {}
    if kind == "JPEG":
        options["subsampling"] = 0
    image.save(file, kind, **options, **metadata.options(kind))


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
    """An encoded picture of any mode to the encoded translation of its size.

    Raises Unreadable, and UsageError where `kind` cannot hold so large a picture.
    """
    from PIL import Image

    image = decode(data, size, max_pixels=max_pixels)
    check_sides(*image.size, kind)
    return encode(Image.fromarray(translator.array(np.asarray(image), tile=tile)), kind, quality)
