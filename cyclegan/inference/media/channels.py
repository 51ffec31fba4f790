"""Pictures whose channels and bits are not those of RGB of 8 bits: how models read and write them."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.config import MAX_PIXELS
from cyclegan.inference.media.pictures import Unreadable, scaled

if TYPE_CHECKING:
    from cyclegan.data.deep import Levels
    from cyclegan.inference.translator import Translator
    from cyclegan.pixel_kind import PixelKind

Kept = list[tuple[int, Any, int, Any, bool]]
"""Tags as tifffile writes them: code, type, count, value, once."""

PLACE = (33550, 33922, 34264, 34735, 34736, 34737, 42113)
"""Of GeoTIFF: scale, tie points, transformation, the three of the reference system, and GDAL's "no data"."""


def read_as(
    data: bytes, kind: PixelKind, levels: Levels, *, size: int = 0, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """An encoded picture as H×W×C of this kind, its shorter side scaled to `size` pixels unless that is 0.

    Raises Unreadable, also for one of another number of channels.
    """
    from cyclegan.data.channels.read import read_image
    from cyclegan.data.decode import fit
    from cyclegan.data.errors import BadImage

    try:
        pixels, _ = read_image(data, kind, levels, max_pixels=max_pixels)
    except BadImage as error:
        raise Unreadable(str(error)) from None
    height, width = pixels.shape[:2]
    wide, high = scaled(width, height, size)
    if wide * high > max_pixels:
        raise Unreadable(f"scaled to {wide}x{high} it is more than {max_pixels} pixels")
    return fit(pixels, (high, wide), "squash")


def in_values_of_files(pixels: NDArray[Any], levels: Levels) -> NDArray[Any]:
    """uint16 of the whole range, as models have it, on the scale of the files that they were trained on.

    That is from black to white where these were given, as uint16, int16 or float32, whichever holds them.
    """
    if pixels.dtype != np.uint16 or not levels.white or levels.percentile:
        return pixels
    values = levels.black + pixels.astype(np.float64) * ((levels.white - levels.black) / 65535)
    for dtype in (np.uint16, np.int16):
        if np.iinfo(dtype).min <= levels.black and levels.white <= np.iinfo(dtype).max:
            return np.rint(values).astype(dtype)
    return values.astype(np.float32)


def output_name(name: str, kind: PixelKind) -> str:
    """The name of a picture's translation: its own, with .tif after it where its format cannot hold that."""
    suffix = PurePosixPath(name).suffix.lower()
    fits = suffix in {".tif", ".tiff"} or (suffix == ".png" and kind.channels <= 4)
    return name if fits else f"{name}.tif"


def encode_channels(pixels: NDArray[Any], suffix: str, tags: Kept | None = None) -> bytes:
    """H×W×C of any type as TIFF (.tif, .tiff), or of unsigned integers and up to 4 channels as PNG.

    `tags` are for TIFF. Raises CycleGANError for what a PNG cannot hold.
    """
    file = io.BytesIO()
    height, width, channels = pixels.shape
    if suffix.lower() == ".png":
        if channels > 4 or pixels.dtype.kind != "u":
            raise CycleGANError(f"PNG cannot hold {channels} channels of {pixels.dtype}: write .tif.")
        from cyclegan.inference.media.writers import write_png

        write_png(file, (width, height), channels, iter([pixels]), bits=8 * pixels.itemsize)
        return file.getvalue()
    import tifffile

    tifffile.imwrite(
        file,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        compression="zlib",
        metadata=None,
        software=False,
        extratags=tags or (),
    )
    return file.getvalue()


def place_of(data: bytes) -> Kept:
    """The tags by which a GeoTIFF says where on earth it lies; none for other files."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            tags: Any = file.pages[0].tags  # type: ignore[union-attr]
            found = [tags[code] for code in PLACE if code in tags]
            return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found]
    except Exception:
        return []


def translate_encoded(
    translator: Translator, data: bytes, kind: str, *, size: int = 0, tile: int, max_pixels: int
) -> bytes:
    """An encoded picture to its encoded translation, a PNG. Raises Unreadable.

    Raises UsageError for another `kind`, and where a PNG cannot hold what the model returns.
    """
    if kind != "PNG" or translator.target.channels > 4:
        raise UsageError(f"This model returns {translator.target}: ask for png, or use cyclegan translate.")
    pixels = read_as(data, translator.source, translator.levels, size=size, max_pixels=max_pixels)
    return encode_channels(translator.array(pixels, tile=tile), ".png")
