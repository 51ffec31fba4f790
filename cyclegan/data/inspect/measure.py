"""What there is to know about one image before it is trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat, JpegImagePlugin

from cyclegan.data.decode import has_other_profile, open_image, to_rgb
from cyclegan.data.deep import Levels
from cyclegan.data.duplicates import SIDE, thumbnail
from cyclegan.data.errors import BadImage
from cyclegan.io.pages.page import picture

# Sum of the luminance quantisation table of ITU-T T.81, table K.1, which quality 50 means
TABLE_SUM = 3688
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Job:
    """One image to measure."""

    path: str
    min_size: int
    max_pixels: int


@dataclass(frozen=True)
class Measurement:
    """An image's properties; `reason` alone where it cannot be used."""

    reason: str = ""
    file_size: int = 0
    """In bytes."""
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    quality: int = 0
    """Estimated JPEG quality, 1 to 100; 0 for other formats."""
    turned: bool = False
    """Whether EXIF asks for a rotation."""
    animated: bool = False
    contrast: float = 0.0
    """Standard deviation of the grey values, in [0, 127.5]."""
    deep: tuple[float, float, float] | None = None
    """Of images of more than 8 bits a channel: lowest and largest value, and the largest that it declares."""
    wide: bool = False
    """Whether a colour profile other than sRGB is embedded."""
    digest: bytes = b""
    """Of the pixels, so that the same picture in two lossless formats is the same."""
    thumbnail: bytes = b""
    """uint8 16×16×3."""

    @property
    def scaled(self) -> bool:
        """Whether the scale of its own file covers all its values; else preprocess asks for one."""
        lowest, largest, scale = self.deep or (0.0, 0.0, 1.0)
        return bool(scale) and lowest >= 0 and largest <= scale

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The thumbnail as an array, uint8 16×16×3."""
        return np.frombuffer(self.thumbnail, np.uint8).reshape(SIDE, SIDE, 3)

    @property
    def colourless(self) -> bool:
        """Whether the channels are equal all over."""
        return int(np.ptp(self.pixels, axis=2).max()) <= 3


def kind_of(image: Image.Image) -> str:
    """The encoding: Pillow's MPO is a JPEG with a preview or depth map behind it, as phones write."""
    return "JPEG" if image.format == "MPO" else image.format or ""


def jpeg_quality(image: Image.Image) -> int:
    """The quality, 1 to 100, at which libjpeg writes this image's luminance table; 0 if it is not a JPEG."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or 0 not in image.quantization:
        return 0
    scale = 100 * sum(image.quantization[0]) / TABLE_SUM
    return round(min(max(5000 / scale if scale > 100 else (200 - scale) / 2, 1), 100))


def measure(job: Job) -> Measurement:
    """Decode one image and measure it."""
    try:
        data = Path(job.path).read_bytes()
    except OSError as error:
        return Measurement(reason=f"cannot be read: {error.strerror}")
    try:
        image = open_image(data, min_size=job.min_size, max_pixels=job.max_pixels)
        mode, kind, quality = image.mode, kind_of(image), jpeg_quality(image)
        animated = getattr(image, "n_frames", 1) > 1
        turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
        wide = has_other_profile(image)
        rgb = to_rgb(image, Levels(percentile=0.5))
    except BadImage as error:
        return Measurement(reason=str(error), file_size=len(data))
    except Exception:  # damaged EXIF or frames
        return Measurement(reason="damaged", file_size=len(data))
    return Measurement(
        file_size=len(data),
        width=rgb.width,
        height=rgb.height,
        mode=mode,
        format=kind,
        quality=quality,
        turned=turned,
        animated=animated,
        deep=rgb.info.get("deep"),
        wide=wide,
        contrast=ImageStat.Stat(rgb.convert("L")).stddev[0],
        digest=hashlib.blake2b(rgb.tobytes(), digest_size=16).digest() + bytes(str(rgb.size), "ascii"),
        thumbnail=thumbnail(rgb).tobytes(),
    )


def preview(path: Path, side: int = 160) -> str:
    """A small picture of an image as a data: address; empty if it cannot be read."""
    try:
        image = to_rgb(open_image(path.read_bytes()))
    except (BadImage, OSError):
        return ""
    return picture(image, side)
