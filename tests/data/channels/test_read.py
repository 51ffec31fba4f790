"""Files as their own channels: what is in them comes out, whatever way they were written."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cyclegan.data.channels.read import read_channels
from cyclegan.data.deep import Levels
from cyclegan.data.errors import BadImage
from cyclegan.inference.media.channels import encode_channels, in_values_of_files
from cyclegan.pixel_kind import PixelKind

KINDS = st.builds(PixelKind, st.integers(1, 7), st.sampled_from([8, 16]))


def noise(kind: PixelKind, seed: int = 0, shape: tuple[int, int] = (9, 12)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << kind.bits, (*shape, kind.channels), kind.dtype)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
    return file.getvalue()


@settings(max_examples=30, deadline=None)
@given(KINDS, st.integers(0, 1000), st.sampled_from(["pixels", "planes", "pages", "imagej", "zlib"]))
def test_a_tiff_of_any_arrangement_is_read_to_the_bit(kind: PixelKind, seed: int, how: str) -> None:
    values = noise(kind, seed)
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    if kind.channels == 1:
        data = tiff(values[..., 0])
    elif how in ("pixels", "zlib"):
        data = tiff(values, planarconfig="contig", compression="zlib" if how == "zlib" else None)
    elif how == "imagej":
        data = tiff(planes, imagej=True, metadata={"axes": "CYX"}, photometric=None)
    else:
        data = tiff(planes, planarconfig="separate" if how == "planes" else None)
    found, _ = read_channels(data, kind)
    assert found.dtype == kind.dtype and np.array_equal(found, values)


@settings(max_examples=15, deadline=None)
@given(st.builds(PixelKind, st.integers(1, 4), st.sampled_from([8, 16])), st.integers(0, 1000))
def test_a_png_or_tiff_that_is_written_is_read_to_the_bit(kind: PixelKind, seed: int) -> None:
    values = noise(kind, seed)
    for suffix in (".png", ".tif"):
        found, _ = read_channels(encode_channels(values, suffix), kind)
        assert np.array_equal(found, values), suffix


def test_a_png_of_sixteen_bits_is_what_other_readers_see() -> None:
    grey = noise(PixelKind(1, 16))
    opened = Image.open(io.BytesIO(encode_channels(grey, ".png")))
    assert np.array_equal(np.asarray(opened, np.uint16), grey[..., 0])


def test_eight_bits_fill_sixteen_and_levels_do_what_they_say() -> None:
    eight = noise(PixelKind(2, 8))
    data = tiff(eight, planarconfig="contig")
    assert np.array_equal(read_channels(data, PixelKind(2, 16))[0], eight.astype(int) * 257)
    units = np.array([[-1000, 0], [500, 3000]], np.int16)
    levels = Levels(black=-1000, white=2000)
    found, deep = read_channels(tiff(units), PixelKind(1, 16), levels)
    assert found[..., 0].tolist() == [[0, 21845], [32768, 65535]]
    assert deep is not None and deep[:2] == (-1000, 3000)
    back = in_values_of_files(found, levels)
    assert back.dtype == np.int16 and back[..., 0].tolist() == [[-1000, 0], [500, 2000]]
    with pytest.raises(BadImage, match="no known scale"):
        read_channels(tiff(units), PixelKind(1, 16))


def test_a_file_lies_upright() -> None:
    values = noise(PixelKind(2, 16))
    turned = tiff(values, planarconfig="contig", extratags=[(274, 3, 1, 6, True)])
    found, _ = read_channels(turned, PixelKind(2, 16))
    assert np.array_equal(found, np.rot90(values, -1))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_pillows_modes_keep_their_channels(mode: str) -> None:
    kind = PixelKind(len(Image.new(mode, (1, 1)).getbands()))
    values = noise(kind)
    file = io.BytesIO()
    Image.fromarray(values.squeeze(), mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert np.array_equal(read_channels(file.getvalue(), kind)[0], values)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(noise(PixelKind(3)), planarconfig="contig"), "it has 3 channels, and channels = 2 asks for 2"),
        (b"P6\n3 2\n65535\n" + bytes(36), "colour PPM of 16 bits"),
        (tiff(noise(PixelKind(2, 16)), planarconfig="contig")[:200], "damaged"),
        (b"", "empty"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        read_channels(data, PixelKind(2, 16))
