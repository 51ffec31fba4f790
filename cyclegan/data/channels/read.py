"""One image file as its own channels of 8 or 16 bits, without any conversion of colours.

A channel is a sample of a pixel, or a page of a TIFF whose pages are grey: microscopes write one a stain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cyclegan.data.decode import open_image, plain_jpeg, to_pixels, upright
from cyclegan.data.deep import DeepTiff, Levels, to_range
from cyclegan.data.errors import BadImage
from cyclegan.pixel_kind import PixelKind

Deep = tuple[float, float, float]
"""Lowest and largest value, and the largest that the file declares."""

RULES = "1: channels and values as in the file; upright by EXIF; above 8 bits by declared scale"
"""How files become channels, with a number that is raised when the same file would give other values."""

_AS_THEY_ARE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "I", "I;16", "I;16B", "F"})
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Of PNG's colour types but grey, which Pillow reads at 16 bits."""


def read_channels(
    data: bytes,
    kind: PixelKind,
    levels: Levels | None = None,
    *,
    min_size: int = 1,
    max_pixels: int = 100_000_000,
) -> tuple[NDArray[Any], Deep | None]:
    """An encoded image as uint8 or uint16 H×W×C of this kind, and what images of more than 8 bits hold.

    Values of 8 bits become 16 by multiplication with 257; others are scaled by what their file declares or
    `levels` say, so that unsigned ones of 16 bits stay as they are. Raises BadImage, also for an image of
    another number of channels.
    """
    opened = open_image(data, min_size=min_size, max_pixels=max_pixels)
    try:
        values, scale = _values(opened, data, kind.channels)
    except BadImage:
        raise
    except Exception:
        raise BadImage("damaged") from None
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[2] != kind.channels:
        has = f"{values.shape[2]} channel{'s' * (values.shape[2] > 1)}"
        raise BadImage(f"it has {has}, and channels = {kind.channels} asks for {kind.channels}")
    if values.dtype == np.uint8:
        wide = values if kind.bits == 8 else values.astype(np.uint16) * np.uint16(257)
        return np.ascontiguousarray(wide), None
    deep = (float(values.min()), float(values.max()), scale)
    return np.ascontiguousarray(to_range(values, scale, levels or Levels(), kind.bits)), deep


def read_image(
    data: bytes, kind: PixelKind, levels: Levels, min_size: int = 1, max_pixels: int = 100_000_000
) -> tuple[NDArray[Any], Deep | None]:
    """As `read_channels`, but for RGB of 8 bits whatever the file holds becomes that. Raises BadImage."""
    if not kind.is_rgb:
        return read_channels(data, kind, levels, min_size=min_size, max_pixels=max_pixels)
    pixels = plain_jpeg(data, min_size=min_size, max_pixels=max_pixels)
    if pixels is not None:
        return pixels, None
    return to_pixels(open_image(data, min_size=min_size, max_pixels=max_pixels), data, levels)


def levels_of(config: Mapping[str, Any]) -> Levels:
    """Which values were black and white in the files that a model with this config.json was trained on."""
    pixels = config.get("pixels") or {}
    return Levels(**{name: float(pixels.get(name, 0.0)) for name in ("black", "white", "percentile")})


def _values(opened: Image.Image, data: bytes, channels: int) -> tuple[NDArray[Any], float]:
    """Upright H×W or H×W×C of the file's own type, and the largest value that it declares."""
    if opened.format == "TIFF" and (tiff := _as_tiff(opened, data)) is not None:
        return upright(tiff.values(channels), int(tiff.orientation)), tiff.scale
    if opened.format == "PNG" and data[24] == 16 and data[25] in _PNG_CHANNELS:
        turned = opened.getexif().get(0x0112, 1)
        return upright(_png(data), turned), 65535.0
    if opened.format == "PPM" and opened.mode == "RGB" and _largest_of_ppm(opened) > 255:
        raise BadImage("colour PPM of 16 bits: save it as PNG or TIFF")
    opened.load()
    image = ImageOps.exif_transpose(opened)
    if image.mode not in _AS_THEY_ARE:
        coloured = "RGBA" if image.has_transparency_data else "RGB"
        image = image.convert("L" if image.mode == "1" else coloured)
    return np.asarray(image), 1.0 if image.mode == "F" else 65535.0


def _as_tiff(opened: Image.Image, data: bytes) -> DeepTiff | None:
    """The file for tifffile; None for what Pillow decodes better: CMYK, YCbCr, palettes of 8 bits."""
    if isinstance(opened, DeepTiff):
        return opened
    try:
        tiff = DeepTiff(data)
    except BadImage:
        return None
    return tiff if tiff.bits >= 8 else None


def _png(data: bytes) -> NDArray[np.uint16]:
    """PNG of 16 bits and several channels, which Pillow would bring down to 8."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        planes = decode_png(encoded, ImageReadMode.UNCHANGED)
    except RuntimeError:
        raise BadImage("damaged") from None
    if planes.dtype != torch.uint16:
        raise BadImage("PNG of 16 bits: this version of torchvision reads 8")
    pixels: NDArray[np.uint16] = planes.permute(1, 2, 0).contiguous().numpy()
    return pixels


def _largest_of_ppm(opened: Image.Image) -> int:
    tiles = getattr(opened, "tile", None)
    arguments = tiles[0][3] if tiles else ()
    return max((part for part in arguments if isinstance(part, int)), default=255)
