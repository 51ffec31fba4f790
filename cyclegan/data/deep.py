"""Images of more than 8 bits a channel: which values are black and white, and the TIFFs that Pillow misreads.

The scale comes from what the file declares, never from the values that happen to be in it, so that all images
of a dataset are scaled alike: n unsigned bits run from 0 to 2ⁿ−1 (or to the file's MaxSampleValue), n signed
bits from 0 to 2ⁿ⁻¹−1, floats from 0 to 1. Where the file cannot tell (a camera's 12 bits in 16, Hounsfield
units), `Levels` does.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclegan.data.errors import BadImage

BITS, PHOTOMETRIC, PLANAR, LARGEST, SAMPLE_FORMAT, LARGEST_SIGNED = 258, 262, 284, 281, 339, 341
PROFILE = 34675
PREMULTIPLIED, STRAIGHT = 1, 2  # kinds of alpha among the extra samples
ORIENTATION = 0x0112
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Which value becomes 0 and which 255, for images of more than 8 bits a channel."""

    black: float = 0.0
    white: float = 0.0
    """0: what the file declares as its largest value."""
    percentile: float = 0.0
    """Above 0: each image from this percentile of its values to 100 minus it; black and white are ignored."""

    @property
    def given(self) -> bool:
        """Whether anything but the file decides."""
        return bool(self.black or self.white or self.percentile)


class DeepTiff(Image.Image):
    """A TIFF that tifffile reads: its size and kind are known, its values are read by `values`.

    `info["icc_profile"]` holds its colour profile, if it has one.
    """

    format = "TIFF"
    format_description = "TIFF of more than 8 bits"

    def __init__(self, data: bytes) -> None:
        """Raises BadImage for what is not a grey or RGB TIFF of integers or floats."""
        import tifffile

        super().__init__()
        self.data = data
        try:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                page: Any = file.pages[0]
                self._size = (int(page.imagewidth), int(page.imagelength))
                self._mode = "F" if page.sampleformat == 3 else "I;16"
                self.samples = int(page.samplesperpixel)
                self.kind = {1: "u", 2: "i", 3: "f"}.get(int(page.sampleformat), "")
                self.bits = int(page.bitspersample)
                self.decoded_bytes = _decoded_bytes(page)
                self.inverted = int(page.photometric) == 0
                self.separate = int(page.planarconfig) == 2 and self.samples > 1
                self.known = int(page.photometric) in {0, 1, 2}
                self._find_alpha([int(kind) for kind in page.extrasamples])
                self._find_profile(page)
                tag = page.tags.get(LARGEST) or page.tags.get(LARGEST_SIGNED)
                self.declared = _number(tag.value) if tag else 0.0
                turned = page.tags.get(ORIENTATION)
                self.orientation = _number(turned.value) if turned else 1
        except Exception:
            raise BadImage("damaged, or a kind of TIFF that cannot be read") from None
        if not (self.known and self.kind) or page.imagedepth != 1:
            raise BadImage("a kind of TIFF that is neither grey nor RGB")

    def _find_alpha(self, extra: list[int]) -> None:
        """Which samples are shown: one of grey or three of RGB, and which of the others is their opacity."""
        kind = next((kind for kind in extra if kind in {PREMULTIPLIED, STRAIGHT}), 0)
        # `values` turns all samples of MinIsWhite round
        self.alpha = self.samples - len(extra) + extra.index(kind) if kind and not self.inverted else 0
        """0: none."""
        self.premultiplied = kind == PREMULTIPLIED
        self.colours = 3 if (self.alpha or self.samples) >= 3 else 1

    def _find_profile(self, page: Any) -> None:
        with suppress(Exception):  # the picture is readable without it
            self.info["icc_profile"] = bytes(page.tags[PROFILE].value)

    @property
    def scale(self) -> float:
        """The largest value that the file declares; 0 where it declares none that means anything."""
        if self.kind == "f":
            return 1.0
        if 0 < self.declared < 2**self.bits - 1:
            return self.declared
        bits = self.bits if self.kind == "u" else self.bits - 1
        return float(2**bits - 1) if self.bits <= 16 else 0.0

    def values(self, channels: int = 0) -> NDArray[Any]:
        """H×W, or H×W×(2 to N channels), of the file's own type; MinIsWhite is turned round.

        Where `channels` are wanted and the file has that many grey pages, each page is a channel; otherwise
        the first page counts. Raises BadImage for a file that is damaged or of an unknown layout.
        """
        try:
            values = self._pages(channels) if channels > 1 and self.samples == 1 else None
            values = self._decoded() if values is None else values
        except BadImage:
            raise
        except Exception as error:
            if "imagecodecs" in str(error) or "codec" in str(error).lower():
                raise BadImage(
                    "this kind of compressed TIFF needs imagecodecs: pip install 'cyclegan-pipeline[tiff]'"
                ) from None
            raise BadImage("damaged") from None
        width, height = self.size
        if values.shape[:2] != (height, width) or values.dtype.kind not in "uif":
            raise BadImage("damaged")
        return (values.max() if not self.scale else self.scale) - values if self.inverted else values

    def shown(self, levels: Levels | None = None) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """The values of grey, H×W, or RGB, H×W×3, and each pixel's opacity; None without an alpha channel.

        Other samples are left out, and so is an alpha channel for which neither the file nor `levels` has a
        scale. Raises BadImage as `values` does.
        """
        values = self.values()
        if values.ndim == 2:
            return values, None
        colours = values[..., :3] if self.colours == 3 else values[..., 0]
        if not self.alpha:
            return colours, None
        alpha = values[..., self.alpha].astype(np.float32)
        if not np.isfinite(alpha).all():
            raise BadImage("values that are not finite")
        largest = self._opaque(alpha, levels or Levels())
        if largest <= 0:
            return colours, None
        np.clip(alpha, 0, np.float32(largest), out=alpha)
        if self.premultiplied:
            colours = _divided(colours, alpha) * np.float32(largest)
            if self.kind != "f":  # a damaged colour can be brighter than its opacity allows
                colours = np.minimum(colours, largest)
        return colours, np.rint(alpha / np.float32(largest) * 255).astype(np.uint8)

    def _opaque(self, alpha: NDArray[np.float32], levels: Levels) -> float:
        """The value of alpha that is opaque; 0 where nothing tells it. What is transparent is 0.

        A straight one must be opaque somewhere, for other bands, such as near infrared, are often marked so.
        """
        top = float(alpha.max())
        known = {0.0, self.scale, levels.white, 1.0 if self.kind == "f" else 0.0}
        if levels.percentile:
            known |= {2.0**bits - 1 for bits in range(8, 25)}
        if top in known:
            return top or 1.0  # without any, all of it is transparent
        return (levels.white or self.scale or top) if self.premultiplied else 0.0

    def _pages(self, channels: int) -> NDArray[Any] | None:
        """H×W×C of a file whose first series has one axis more than an image, of this length."""
        import tifffile

        with tifffile.TiffFile(io.BytesIO(self.data)) as file:
            series = file.series[0]
            width, height = self.size
            if tuple(int(n) for n in series.shape if n > 1) != (channels, height, width):
                return None
            return np.moveaxis(series.asarray().reshape(channels, height, width), 0, -1)

    def _decoded(self) -> NDArray[Any]:
        import tifffile

        try:
            with tifffile.TiffFile(io.BytesIO(self.data)) as file:
                page: Any = file.pages[0]
                values = page.asarray()
                return np.moveaxis(values, 0, -1) if self.separate else values
        except Exception:
            # Pillow has libtiff's codecs, but misreads all but 8 unsigned bits and greys of 12 and 16
            if self.kind != "u" or not (self.bits == 8 or (self.samples == 1 and self.bits in {12, 16})):
                raise
            try:
                image = Image.open(io.BytesIO(self.data), formats=("TIFF",))
                image.load()
            except Exception:
                raise BadImage("damaged") from None
            return np.asarray(image)


def _decoded_bytes(page: Any) -> int:
    """What a page takes in memory; a tile can be larger than the page, and is decoded whole."""
    width, height = max(page.imagewidth, page.tilewidth), max(page.imagelength, page.tilelength)
    return int(width) * int(height) * int(page.samplesperpixel) * -(-int(page.bitspersample) // 8)


def _divided(colours: NDArray[Any], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """H×W or H×W×3 by H×W; 0 where that is 0."""
    alpha = alpha if colours.ndim == 2 else alpha[..., None]
    return np.divide(
        colours.astype(np.float32), alpha, out=np.zeros(colours.shape, np.float32), where=alpha > 0
    )


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow would misread this opened TIFF: more than 8 bits, or signed, or floats."""
    tags = getattr(image, "tag_v2", {})
    return max(_all(tags.get(BITS))) > 8 or max(_all(tags.get(SAMPLE_FORMAT))) > 1


def _all(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, tuple) and value else (value or 1,)


def to_range(values: NDArray[Any], scale: float, levels: Levels, bits: int = 8) -> NDArray[Any]:
    """Values of any type as uint8 (uint16 for 16 `bits`) of the same shape, black to white mapped to the
    whole range and rounded.

    `scale` is the largest value that the file declares, 0 if none. Raises BadImage for values that are not
    finite, and for those outside 0 to `scale` unless `levels` says where black and white are.
    """
    values = values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadImage("values that are not finite")
    black, white = levels.black, levels.white or scale
    if levels.percentile:
        black, white = (float(v) for v in np.percentile(values, (levels.percentile, 100 - levels.percentile)))
        white = white if white > black else black + 1
    elif not white or (not levels.given and (low < 0 or high > white)):
        raise BadImage(
            f"values from {low:g} to {high:g} have no known scale: set black and white, or percentile"
        )
    if white <= black:
        raise BadImage(f"black = {black:g} must be below white = {white:g}")
    top = (1 << bits) - 1
    exact: Any = np.float32 if bits == 8 else np.float64
    scaled: NDArray[Any] = values.astype(exact)
    scaled -= exact(black)
    scaled *= exact(top / (white - black))
    np.clip(np.rint(scaled, out=scaled), 0, top, out=scaled)
    return scaled.astype(f"uint{bits}")


def dark(largest: float, scale: float) -> str:
    """A hint where even the brightest of a set of images uses less than a quarter of its files' range."""
    if not 255 < largest < scale / 4:
        return ""
    bits = int(largest).bit_length()
    return (
        f"no value is above {largest:g} of {scale:g}, so the images come out dark; if they have {bits} bits, "
        f"preprocess with --white {2**bits - 1}"
    )
