"""One image file as an RGB picture of 8 bits, or the reason why not."""

from __future__ import annotations

import io
import struct
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")  # JPEG opens MPO as well
FILTER = "bicubic, antialiased (Pillow)"


class BadImage(Exception):
    """A file that cannot be used as an image; the message is the reason, without the file's name."""


def open_image(data: bytes, *, min_size: int = 1, max_pixels: int = 100_000_000) -> Image.Image:
    """Open an encoded image without decoding its pixels; its size is checked before any memory is taken.

    The contents decide the format, not the name. Raises BadImage.
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage("not an image of a known format, or damaged at its beginning") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {max_pixels} pixels") from None
    except Exception as error:
        raise BadImage(_reason(error)) from None
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"{width}x{height} is more than {max_pixels} pixels")
    if min(width, height) < min_size:
        raise BadImage(f"{width}x{height} is smaller than {min_size} pixels")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode (the first frame), turn upright as EXIF says, and convert to RGB of 8 bits.

    16 bits a channel keep their upper 8; transparent parts become white. Raises BadImage.
    """
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return _convert(upright)
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(_reason(error)) from None


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(np.asarray(image))
    if image.mode in {"P", "PA", "LA", "La", "RGBA", "RGBa"} or "transparency" in image.info:
        coloured = image.convert("RGBA")
        if coloured.getextrema()[3] == (255, 255):  # type: ignore[misc]
            return coloured.convert("RGB")
        paper = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(paper, coloured).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(values: np.ndarray) -> Image.Image:
    """Greyscale of 16 or 32 bits or floats: the range decides the scale, for such files do not tell it."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 65535:
        raise BadImage(f"grey values from {low:g} to {high:g} have no known scale")
    if values.dtype.kind == "f" and high <= 1:
        grey = values * 255.0
    elif values.dtype.itemsize == 2 or high > 255:
        grey = values / 257.0
    else:
        grey = values
    return Image.fromarray(np.round(grey).astype(np.uint8)).convert("RGB")


def fit(image: Image.Image, size: int, aspect: Literal["squash", "crop"]) -> np.ndarray:
    """Resize an RGB image to uint8 size×size×3.

    `squash` changes the sides' ratio, as the CycleGAN paper's code does; `crop` fits the short side and keeps
    the middle. Pillow's bicubic filter widens its support when it shrinks (antialiasing), which OpenCV's and
    torch's default resizes do not: pixels made by those differ visibly.
    """
    box = None
    if aspect == "crop":
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    elif image.size == (size, size):
        return np.asarray(image)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, struct.error | IndexError | KeyError | AttributeError | RecursionError):
        return "damaged"
    return f"damaged: {' '.join(str(error).split())[:120]}" if str(error) else "damaged"
