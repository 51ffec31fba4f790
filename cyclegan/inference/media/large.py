"""Pictures too large to be held several times: read region by region, translated and written row by row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.data.decode import to_rgb, upright
from cyclegan.data.deep import DeepTiff
from cyclegan.data.errors import BadImage
from cyclegan.inference.media.metadata import Metadata, resolution_of, srgb_profile

if TYPE_CHECKING:
    from PIL import Image

LARGE = 32_000_000
"""Pixels from which pictures are streamed; below it a picture is decoded, translated and encoded whole."""


class Decoded:
    """An opened picture as rows of upright sRGB: decoded whole, in its own mode, and converted by region.

    It is indexed by two slices and has the shape H×W×3, like an array. Four bytes a pixel for RGB.
    """

    def __init__(self, image: Image.Image) -> None:
        """Raises BadImage for what cannot be decoded."""
        from PIL import ImageOps

        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
        except Exception:
            raise BadImage("damaged") from None
        self._image = image
        self.shape = (image.height, image.width, 3)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        rows, columns = (part.indices(side) for part, side in zip(region, self.shape, strict=False))
        return np.asarray(to_rgb(self._image.crop((columns[0], rows[0], columns[1], rows[1]))))

    def alpha(self) -> Image.Image | None:
        """Transparency, of mode L; None for opaque pictures."""
        return alpha_of(self._image)


class TiffRows:
    """A TIFF of 8 bits as rows of sRGB, decoded from top to bottom as they are asked for.

    Indexed like `Decoded`; a region may not begin above the one before it.
    """

    def __init__(self, page: Any) -> None:
        self.shape = (int(page.imagelength), int(page.imagewidth), 3)
        self._samples = int(page.samplesperpixel)
        self._segments = page.segments(maxworkers=1)
        self._profile = page.iccprofile
        self._rows = np.empty((0, self.shape[1], self._samples), np.uint8)
        self._top = 0  # of what `_rows` holds
        self._ahead: tuple[Any, Any, Any] | None = None

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        from PIL import Image

        rows, columns = (part.indices(side) for part, side in zip(region, self.shape, strict=False))
        if rows[0] > self._top:
            self._rows = self._rows[rows[0] - self._top :].copy()
            self._top = rows[0]
        while self._top + len(self._rows) < rows[1]:
            self._rows = np.concatenate([self._rows, self._next()])
        part = self._rows[rows[0] - self._top : rows[1] - self._top, columns[0] : columns[1]]
        image = Image.fromarray(np.ascontiguousarray(part[..., 0] if self._samples == 1 else part))
        if self._profile:
            image.info["icc_profile"] = self._profile
        return np.asarray(to_rgb(image))

    def _next(self) -> np.ndarray:
        """The next strip, or row of tiles."""
        strip, begin = None, 0
        with _damaged():
            while (segment := self._ahead or next(self._segments, None)) is not None:
                self._ahead = None
                data, (_, _, top, left, _), shape = segment
                if strip is None:
                    begin, strip = top, np.zeros((shape[1], self.shape[1], self._samples), np.uint8)
                elif top != begin:
                    self._ahead = segment
                    break
                if data is not None:  # None: a tile that was never written
                    inside = data[0][:, : self.shape[1] - left]  # tiles may reach over the border
                    strip[: len(inside), left : left + inside.shape[1]] = inside
        if strip is None:
            raise BadImage("damaged")
        return strip


@contextmanager
def _damaged() -> Iterator[None]:
    """Whatever tifffile raises for damaged data becomes BadImage."""
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Exception:
        raise BadImage("damaged") from None


def open_tiff(source: Path | bytes, max_pixels: int) -> tuple[TiffRows, Metadata] | None:
    """A large TIFF that can be read row by row, and what it says of profile and resolution; None for others.

    It can where its pixels are 8 bits of grey or RGB, upright, without transparency, colours interleaved.
    Raises BadImage for more than `max_pixels`.
    """
    import tifffile

    try:
        # closed with the object that holds its page
        file = tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        page: Any = file.pages[0]
        pixels = int(page.imagelength) * int(page.imagewidth)
        turned = page.tags.get(274)
        plain = (
            page.dtype == np.uint8
            and (int(page.photometric), int(page.samplesperpixel)) in {(1, 1), (2, 3)}
            and int(page.planarconfig) == 1
            and page.imagedepth == 1
            and (turned is None or int(turned.value) == 1)
        )
    except Exception:
        return None
    if pixels < LARGE or not plain:
        file.close()
        return None
    if pixels > max_pixels:
        file.close()
        raise BadImage(f"{page.imagewidth}x{page.imagelength} is more than {max_pixels} pixels")
    found = _tiff_metadata(page)
    return TiffRows(page), found


def _tiff_metadata(page: Any) -> Metadata:
    """Profile and resolution of a TIFF's page; its EXIF is not read."""
    resolution = None
    unit = page.tags.get(296)
    if unit and int(unit.value) in {2, 3}:  # inches, centimetres
        with suppress(Exception):
            resolution = resolution_of(page.get_resolution(unit=2))
    return Metadata(None, srgb_profile() if page.iccprofile else b"", resolution)


def alpha_of(image: Image.Image) -> Image.Image | None:
    """The transparency of an opened picture, upright, of mode L; None where it is opaque."""
    from PIL import Image, ImageOps

    if isinstance(image, DeepTiff):
        _, opacity = image.shown()
        if opacity is None:
            return None
        alpha = Image.fromarray(upright(opacity, int(image.orientation)))
    elif not image.has_transparency_data:
        return None
    else:
        alpha = ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else alpha


@contextmanager
def pillow_accepts(pixels: int) -> Iterator[None]:
    """Within the block Pillow opens pictures of up to `pixels`, above its own limit of 89 million too."""
    from PIL import Image

    former = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(pixels, former or 0)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = former
