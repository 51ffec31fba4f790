"""Encoders that take a picture in bands of rows: PNG and TIFF hold one band in memory, others the whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from cyclegan.inference.media.metadata import Metadata
from cyclegan.inference.media.pictures import NOTHING, save

if TYPE_CHECKING:
    from PIL import Image

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
TILE = 256  # pixels a side in TIFF files
BIG = 2**32 - 2**25  # bytes of pixels from which a TIFF needs addresses of 64 bits


def write_bands(
    path: Path,
    kind: str,
    size: tuple[int, int],
    bands: Iterator[np.ndarray],
    alpha: Image.Image | None,
    metadata: Metadata,
) -> None:
    """Write the bands (uint8 h×W×3, from top to bottom) as a file of Pillow's format `kind`.

    `size`, which the format can hold, is width and height; `alpha`, of that size and mode L, becomes the
    fourth channel.
    """
    rows = _with_alpha(bands, alpha)
    channels = 3 if alpha is None else 4
    if kind == "PNG":
        _write_png(path, size, channels, rows, metadata)
    elif kind == "TIFF":
        _write_tiff(path, size, channels, rows, metadata)
    else:
        _write_whole(path, kind, size, channels, rows, metadata)


def _with_alpha(bands: Iterator[np.ndarray], alpha: Image.Image | None) -> Iterator[np.ndarray]:
    top = 0
    for band in bands:
        if alpha is None:
            yield band
        else:
            part = np.asarray(alpha.crop((0, top, alpha.width, top + len(band))))
            yield np.dstack([band, part])
        top += len(band)


def _write_png(
    path: Path, size: tuple[int, int], channels: int, bands: Iterator[np.ndarray], metadata: Metadata
) -> None:
    with path.open("wb") as file:
        write_png(file, size, channels, bands, metadata)


def write_png(
    file: IO[bytes],
    size: tuple[int, int],
    channels: int,
    bands: Iterator[np.ndarray],
    metadata: Metadata = NOTHING,
    *,
    bits: int = 8,
) -> None:
    """PNG by the specification's third edition: not interlaced, rows filtered by Sub or Up.

    The bands are uint8 or uint16, h×W×C of 1 to 4 channels, from top to bottom; `size` is width and height.
    """
    deflate = zlib.compressobj(6)

    def chunk(name: bytes, body: bytes) -> None:
        file.write(struct.pack(">I", len(body)) + name + body)
        file.write(struct.pack(">I", zlib.crc32(name + body)))

    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, _COLOUR_TYPES[channels], 0, 0, 0))
    if metadata.profile:
        chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(metadata.profile))
    if metadata.resolution:
        metres = [round(inches / 0.0254) for inches in metadata.resolution]
        chunk(b"pHYs", struct.pack(">IIB", *metres, 1))
    if metadata.exif:
        chunk(b"eXIf", metadata.exif.tobytes().removeprefix(b"Exif\0\0"))
    above = np.zeros((1, size[0], channels * bits // 8), np.uint8)
    for band in bands:
        if bits == 16:  # filters work on bytes, of which the higher one comes first
            band = np.ascontiguousarray(band, ">u2").view(np.uint8)
        packed = deflate.compress(_filtered(band, above))
        above = band[-1:].copy()
        if packed:
            chunk(b"IDAT", packed)
    chunk(b"IDAT", deflate.flush())
    chunk(b"IEND", b"")


def _filtered(band: np.ndarray, above: np.ndarray) -> bytes:
    """Each row led by its filter, whichever of Sub (1) and Up (2) leaves the smaller differences."""
    sub = np.diff(band, axis=1, prepend=np.uint8(0))
    up = np.diff(band, axis=0, prepend=above)
    cost_of_sub, cost_of_up = (
        np.abs(differences.view(np.int8).astype(np.int16)).sum((1, 2), np.int64) for differences in (sub, up)
    )
    better = cost_of_up < cost_of_sub
    rows = np.where(better[:, None, None], up, sub).reshape(len(band), -1)
    return np.insert(rows, 0, 1 + better, axis=1).tobytes()


def _write_tiff(
    path: Path, size: tuple[int, int], channels: int, bands: Iterator[np.ndarray], metadata: Metadata
) -> None:
    """A tiled TIFF, or BigTIFF above 4 GB, compressed by deflate; EXIF is left out."""
    import tifffile

    width, height = size
    with tifffile.TiffWriter(path, bigtiff=width * height * channels > BIG) as file:
        file.write(
            _tiles(bands, width),
            shape=(height, width, channels),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            extrasamples=["unassalpha"] if channels == 4 else None,
            compression="zlib",
            predictor=True,
            iccprofile=metadata.profile or None,
            metadata=None,
            software=False,
            maxworkers=1,
            resolution=metadata.resolution,
            resolutionunit=2 if metadata.resolution else None,
        )


def _tiles(bands: Iterator[np.ndarray], width: int) -> Iterator[np.ndarray]:
    """Bands of any height as tiles of TILE pixels a side, row after row."""
    rest = next(bands)
    while True:
        while len(rest) >= TILE:
            yield from _row(rest[:TILE], width)
            rest = rest[TILE:]
        band = next(bands, None)
        if band is None:
            break
        rest = np.concatenate([rest, band])
    if len(rest):
        yield from _row(rest, width)


def _row(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    for left in range(0, width, TILE):
        yield np.ascontiguousarray(rows[:, left : left + TILE])


def _write_whole(
    path: Path,
    kind: str,
    size: tuple[int, int],
    channels: int,
    bands: Iterator[np.ndarray],
    metadata: Metadata,
) -> None:
    from PIL import Image

    image = Image.new("RGB" if channels == 3 else "RGBA", size)
    top = 0
    for band in bands:
        image.paste(Image.fromarray(band), (0, top))
        top += len(band)
    with path.open("wb") as file:
        save(image, file, kind, metadata=metadata)
