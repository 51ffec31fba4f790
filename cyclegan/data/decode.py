"""One image file as an RGB picture of 8 bits in sRGB, or the reason why not."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from cyclegan.data.deep import MAGIC, ORIENTATION, DeepTiff, Levels, is_deep, to_range
from cyclegan.data.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")  # JPEG opens MPO as well
LARGEST_PIXEL = 16
"""Bytes a pixel, four floats of 32 bits, up to which an image of as many pixels as are allowed is decoded."""
ALWAYS_DECODED = 64 << 20
"""Bytes that are decoded however few pixels are allowed, as a small image can be stored in one large tile."""
FILTER = "bicubic, antialiased (torch, uint8)"
RULES = "3: upright by EXIF; sRGB by embedded profile; transparent on white; above 8 bits by declared scale"
"""How files become pixels, with a number that is raised when the same file would give other pixels."""

_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_OTHER_KINDS = {
    b"8BPS": "a Photoshop document",
    b"%PDF": "a PDF document",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"v/1\x01": "OpenEXR",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file, perhaps an SVG drawing",
    b"<!DOCTYPE html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself: run `git lfs pull`",
}


# It reports what becomes the reason of a refusal here, or is read by tifffile
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)


def open_image(data: bytes, *, min_size: int = 1, max_pixels: int = 100_000_000) -> Image.Image:
    """Open an encoded image without decoding its pixels; its size is checked before any memory is taken.

    TIFFs of more than LARGEST_PIXEL bytes a pixel may have accordingly fewer than `max_pixels`, unless they
    take no more than ALWAYS_DECODED. The contents decide the format, not the name. Raises BadImage.
    """
    if not data:
        raise BadImage("the file is empty")
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        formats = (*FORMATS, _heif())
    try:
        image = _open(data, formats)
    except UnidentifiedImageError:
        if data[:4] not in MAGIC:
            raise BadImage(_unknown(data)) from None
        image = DeepTiff(data)
    except Image.DecompressionBombError:
        raise BadImage(f"more than {max_pixels} pixels") from None
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(_reason(error)) from None
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"{width}x{height} is more than {max_pixels} pixels")
    most = max(max_pixels * LARGEST_PIXEL, ALWAYS_DECODED)
    if isinstance(image, DeepTiff) and image.decoded_bytes > most:
        limit = f"{max_pixels} pixels of {LARGEST_PIXEL} bytes"
        raise BadImage(
            f"{width}x{height} pixels of {image.samples} channels of {image.bits} bits: more to decode than "
            f"{limit if most > ALWAYS_DECODED else f'{ALWAYS_DECODED >> 20} MiB'}"
        )
    if min(width, height) < min_size:
        raise BadImage(f"{width}x{height} is smaller than {min_size} pixels")
    return image


def _open(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        return Image.open(io.BytesIO(_without_texts(data)), formats=("PNG",))
    if image.format == "TIFF" and is_deep(image):
        return DeepTiff(data)
    return image


def _heif() -> str:
    try:
        import pillow_heif
    except ImportError:
        raise BadImage("HEIC needs pillow-heif: pip install 'cyclegan-pipeline[heif]'") from None
    pillow_heif.register_heif_opener()
    return "HEIF"


def _without_texts(data: bytes) -> bytes:
    """A PNG without its text chunks, which Pillow refuses when they are large."""
    kept, place = [data[:8]], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] not in {b"tEXt", b"zTXt", b"iTXt"}:
            kept.append(data[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def _unknown(data: bytes) -> str:
    kind = next((kind for magic, kind in _OTHER_KINDS.items() if data.startswith(magic)), "")
    return kind or "not an image of a known format, or damaged at its beginning"


def to_rgb(image: Image.Image, levels: Levels | None = None) -> Image.Image:
    """Decode (the first frame), turn upright as EXIF says, and convert to RGB of 8 bits in sRGB.

    `levels` says what is black and white, and opaque, in images of more than 8 bits a channel; transparent
    parts become white; an embedded colour profile is applied. For images of more than 8 bits `info["deep"]`
    of the result is (lowest value, largest value, largest value that the file declares). Raises BadImage.
    """
    levels = levels or Levels()
    try:
        if isinstance(image, DeepTiff):
            values, opacity = image.shown(levels)
            rgb = _deep(values, image.scale, levels, image.info.get("icc_profile"), opacity)
            rgb.getexif()[ORIENTATION] = int(image.orientation)
            return ImageOps.exif_transpose(rgb)
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I") or upright.mode == "F":
            # Pillow brings PNG and PPM of 16 bits to the full range of 16 bits
            scale = 1.0 if upright.mode == "F" else 65535.0
            return _deep(np.asarray(upright), scale, levels, upright.info.get("icc_profile"))
        return _convert(upright)
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(_reason(error)) from None


def to_pixels(
    image: Image.Image, data: bytes, levels: Levels | None = None
) -> tuple[NDArray[np.uint8], tuple[float, float, float] | None]:
    """What `to_rgb` makes of an image opened from `data`, as uint8 H×W×3, and its `info["deep"]`.

    JPEGs whose colours need no conversion don't take the way through Pillow, which costs half as much again.
    The pixels are the same, since both have libjpeg-turbo decode them. Raises BadImage.
    """
    pixels = _jpeg(image, data)
    if pixels is not None:
        return pixels, None
    rgb = to_rgb(image, levels)
    return np.asarray(rgb), rgb.info.get("deep")


def plain_jpeg(data: bytes, *, min_size: int = 1, max_pixels: int = 100_000_000) -> NDArray[np.uint8] | None:
    """The pixels, uint8 H×W×3, of a JPEG that has no EXIF, no colour profile and no fault; None for others.

    Most images of a dataset are such, and Pillow's reading of their headers would take as long as a third of
    their decoding, and hold the interpreter's lock. What is None is for `open_image`, which tells why.
    """
    size = _plain_size(data)
    if size is None or min(size) < min_size or size[0] * size[1] > max_pixels:
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")  # any warning is an error here
    except Exception:
        return None
    return pixels if pixels.shape == (*size, 3) else None


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG's header gives; None where it has segments that can change the pixels."""
    if not data.startswith(b"\xff\xd8"):
        return None
    place, size = 2, None
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker == _START_OF_SCAN:
            return size
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            if size or bits != 8 or channels not in {1, 3}:
                return None
            size = (height, width)
        elif marker == _APP0:
            if length < 16 or data[place + 4 : place + 9] != b"JFIF\0":
                return None
        elif marker not in _TABLES_AND_COMMENTS:
            return None
        place += 2 + length
    return None


_START_OF_SCAN, _APP0 = 0xDA, 0xE0
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
_TABLES_AND_COMMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE})


def _jpeg(image: Image.Image, data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an upright RGB or grey JPEG; None for what Pillow must convert or refuse."""
    if image.format not in {"JPEG", "MPO"} or image.mode not in {"RGB", "L"}:
        return None
    if has_other_profile(image):
        return None
    try:
        turned = image.getexif().get(ORIENTATION, 1)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")  # any warning is an error here
    except Exception:
        return None
    if pixels.shape != (image.height, image.width, 3):
        return None
    return upright(pixels, turned)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels H×W or H×W×C of a file whose EXIF has this orientation, turned as they are to be seen."""
    if orientation not in _UPRIGHT:
        return pixels
    turned = _UPRIGHT[orientation](pixels if pixels.ndim == 3 else pixels[..., None])
    return np.ascontiguousarray(turned).reshape(*turned.shape[:2], *pixels.shape[2:])


_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}
"""By EXIF orientation, what turns the pixels of a file upright."""


def _deep(
    values: NDArray[Any],
    scale: float,
    levels: Levels,
    profile: bytes | None,
    opacity: NDArray[np.uint8] | None = None,
) -> Image.Image:
    image = Image.fromarray(to_range(values, scale, levels))
    if profile:
        image.info["icc_profile"] = profile
    if opacity is not None:
        image.putalpha(Image.fromarray(opacity))
    rgb = _convert(image)
    rgb.info["deep"] = (float(values.min()), float(values.max()), scale)
    return rgb


_GREY = frozenset({"L", "LA", "La", "I", "I;16", "F"})
"""Pillow's modes of grey, with and without transparency."""


def _convert(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode in {"RGB", "L", "CMYK"} and "transparency" not in image.info:
        return _to_srgb(image, profile)
    if image.mode in {"P", "PA", "LA", "La", "RGBA", "RGBa"} or "transparency" in image.info:
        coloured = image.convert("RGBA")
        opaque = coloured.getchannel("R") if image.mode in _GREY else coloured.convert("RGB")
        rgb = _to_srgb(opaque, profile)
        if coloured.getextrema()[3] == (255, 255):  # type: ignore[misc]
            return rgb
        rgb.putalpha(coloured.getchannel("A"))
        paper = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(paper, rgb).convert("RGB")
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Grey, RGB or CMYK as RGB in sRGB; an unusable profile is left out of account, as viewers do."""
    transform = _transform(profile, image.mode) if isinstance(profile, bytes) and profile else None
    if transform is None:
        return image.convert("RGB")
    return ImageCms.applyTransform(image, transform) or image.convert("RGB")


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = "GRAY" if mode == "L" else mode
        if source.profile.xcolor_space.strip() != space or _is_srgb(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def has_other_profile(image: Image.Image) -> bool:
    """Whether an embedded profile (Display P3, Adobe RGB, …) changes the pixels on conversion to sRGB."""
    profile = image.info.get("icc_profile")
    grey = image.colours == 1 if isinstance(image, DeepTiff) else image.mode in _GREY
    mode = "L" if grey else image.mode if image.mode == "CMYK" else "RGB"
    return isinstance(profile, bytes) and _transform(profile, mode) is not None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in (profile.profile.profile_description or "").lower()


def fit(
    pixels: NDArray[Any], size: tuple[int, int], aspect: Literal["squash", "crop", "keep"]
) -> NDArray[Any]:
    """Resize uint8 or uint16 H×W×C to height×width×C = `size`.

    `squash` changes the sides' ratio, as the CycleGAN paper's code does; `crop` keeps the middle of the
    wanted shape; `keep` takes images that have that size, and raises BadImage for another. The filter
    widens its support when it shrinks (antialiasing), which OpenCV's and torch's default resizes do not:
    pixels made by those differ visibly. It computes in integers, so that all processors agree to the bit;
    Pillow's bicubic differs by at most 2 grey levels and takes three times as long. uint16 is computed in
    float64 and rounded.
    """
    height, width = pixels.shape[:2]
    if aspect == "keep" and (height, width) != size:
        raise BadImage(f"{width}x{height}, and not {size[1]}x{size[0]} as the first (aspect = keep)")
    if aspect == "crop":
        tall = min(height, max(1, round(width * size[0] / size[1])))
        wide = min(width, max(1, round(height * size[1] / size[0])))
        top, left = (height - tall) // 2, (width - wide) // 2
        pixels = pixels[top : top + tall, left : left + wide]
    if pixels.shape[:2] == size:
        return pixels
    import torch

    # channels last by its strides, which torch keeps only where the batch's dimension was there before
    image = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))[None].permute(0, 3, 1, 2)
    if pixels.dtype != np.uint8:
        exact = torch.nn.functional.interpolate(image.double(), size, mode="bicubic", antialias=True)
        return exact[0].permute(1, 2, 0).round_().clamp_(0, 65535).contiguous().numpy().astype(pixels.dtype)
    resized = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, struct.error | IndexError | KeyError | AttributeError | RecursionError):
        return "damaged"
    return f"damaged: {' '.join(str(error).split())[:120]}" if str(error) else "damaged"
