"""TIFFs of more than 8 bits, as microscopes, satellites and scanners write them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan.data.config import InspectConfig, PreprocessConfig
from cyclegan.data.decode import has_other_profile, open_image, to_rgb
from cyclegan.data.deep import Levels
from cyclegan.data.errors import BadImage
from cyclegan.data.inspect.inspect import as_table, inspect
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.inference.media.large import alpha_of
from tests.data.profiles import display_p3, grey_profile

Picture = Callable[..., Image.Image]


def read(data: bytes, **levels: float) -> np.ndarray:
    image = to_rgb(open_image(data), Levels(**levels))
    assert image.mode == "RGB"
    return np.asarray(image)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"photometric": "rgb" if values.ndim == 3 else "minisblack"} | options)
    return buffer.getvalue()


def twelve_bits(values: np.ndarray) -> bytes:
    """A grey TIFF of BitsPerSample 12, two values in three bytes, as scanners write it."""
    height, width = values.shape
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    data = packed.astype(np.uint8).tobytes()
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, height)]
    tags.append((279, len(data)))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4) + data


@pytest.fixture
def grey(picture: Picture) -> np.ndarray:
    return np.asarray(picture(0, (40, 30), "L"))


@pytest.fixture
def colour(picture: Picture) -> np.ndarray:
    return np.asarray(picture(0, (40, 30)))


def same(pixels: np.ndarray, expected: np.ndarray) -> bool:
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2)
    return bool(pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).max() <= 1)


def test_twelve_bits(grey: np.ndarray) -> None:
    deep = np.round(grey / 255.0 * 4095).astype(np.uint16)
    assert same(read(twelve_bits(deep)), grey)
    assert same(read(tiff(deep), white=4095), grey)
    assert read(tiff(deep)).max() < 17
    assert same(read(tiff(deep, extratags=[(281, 3, 1, 4095, True)])), grey)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bits_of_any_arrangement(
    grey: np.ndarray, colour: np.ndarray, compression: str | None
) -> None:
    deep, deep_grey = colour.astype(np.uint16) * 257, grey.astype(np.uint16) * 257
    assert same(read(tiff(deep, compression=compression)), colour)
    assert same(read(tiff(deep.transpose(2, 0, 1), planarconfig="separate", compression=compression)), colour)
    white_is_zero = tiff(65535 - deep_grey, photometric="miniswhite", compression=compression)
    assert same(read(white_is_zero), grey)
    assert same(read(tiff(deep_grey, byteorder=">", compression=compression)), grey)
    infrared = np.dstack([deep, np.full_like(deep_grey, 999)])
    assert same(read(tiff(infrared, extrasamples=["unspecified"], compression=compression)), colour)


@pytest.mark.parametrize("alpha", [False, True])
def test_the_colour_profile_is_applied(
    colour: np.ndarray, encoded: Callable[..., bytes], alpha: bool
) -> None:
    profile = display_p3()
    expected = read(encoded(Image.fromarray(colour), icc_profile=profile))
    assert not same(expected, colour)
    values = np.dstack([colour, np.full((30, 40), 255)])[..., : 3 + alpha].astype(np.uint16) * 257
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    file = open_image(tiff(values, iccprofile=profile, **extra))
    assert has_other_profile(file)
    assert same(np.asarray(to_rgb(file)), expected)
    damaged = open_image(tiff(values, iccprofile=b"damaged", **extra))
    assert not has_other_profile(damaged)
    assert same(np.asarray(to_rgb(damaged)), colour)


def test_the_profile_of_deep_grey_is_applied() -> None:
    values = np.full((8, 8), 100 * 257, np.uint16)
    file = open_image(tiff(values, iccprofile=grey_profile(1)))
    assert has_other_profile(file)
    assert np.abs(np.asarray(to_rgb(file)) - 168.0).max() <= 1


OPACITY = np.tile(np.arange(40) / 39, (30, 1))


@pytest.mark.parametrize("scale", [65535, 1.0])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("planar", [False, True])
def test_transparent_parts_become_white(
    grey: np.ndarray, colour: np.ndarray, kind: str, scale: float, planar: bool
) -> None:
    for picture in (grey[..., None], colour):
        opacity = OPACITY[..., None]
        exact = picture / 255 * (opacity if kind == "assocalpha" else 1)
        values = np.dstack([exact, opacity]) * scale
        values = np.rint(values).astype(np.uint16) if scale > 1 else values.astype(np.float32)
        data = tiff(
            values.transpose(2, 0, 1) if planar else values,
            extrasamples=[kind],
            photometric="rgb" if picture.shape[2] == 3 else "minisblack",
            planarconfig="separate" if planar else "contig",
        )
        shown = np.rint(picture * opacity + 255 * (1 - opacity))
        assert np.abs(read(data) - shown).max() <= 2
        alpha = alpha_of(open_image(data))
        assert alpha is not None and np.abs(np.asarray(alpha) - OPACITY * 255).max() <= 1


def test_opaque_and_turned_alpha(colour: np.ndarray) -> None:
    deep = np.dstack([colour, np.full((30, 40), 255)]).astype(np.uint16) * 257
    opaque = open_image(tiff(deep, extrasamples=["unassalpha"]))
    assert same(np.asarray(to_rgb(opaque)), colour) and alpha_of(opaque) is None
    assert alpha_of(open_image(tiff(deep[..., :3]))) is None
    deep[..., 3] = np.rint(OPACITY * 65535)
    turned = tiff(np.rot90(deep), extrasamples=["unassalpha"], extratags=[(274, 3, 1, 6, True)])
    alpha = alpha_of(open_image(turned))
    assert alpha is not None and np.abs(np.asarray(alpha) - OPACITY * 255).max() <= 1


def test_alpha_is_found_among_other_samples_and_only_where_it_can_be_read(colour: np.ndarray) -> None:
    deep = colour.astype(np.uint16) * 257
    opacity, infrared = np.rint(OPACITY * 65535).astype(np.uint16), np.zeros((30, 40), np.uint16)
    file = open_image(tiff(np.dstack([deep, opacity, infrared]), extrasamples=["unassalpha", "unspecified"]))
    found = alpha_of(file)
    assert found is not None and np.abs(np.asarray(found) - OPACITY * 255).max() <= 1
    white_is_zero = np.dstack([65535 - deep[..., 0], opacity])
    options = {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    file = open_image(tiff(white_is_zero, **options))
    assert alpha_of(file) is None
    assert same(np.asarray(to_rgb(file)), colour[..., 0])


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize(
    ("dtype", "value", "white"),
    [(np.uint16, 1023, 4095), (np.float32, 64, 255), (np.int32, 1000, 4095), (np.uint32, 1000, 4095)],
)
def test_white_is_the_scale_of_alpha_too(dtype: type, value: float, white: float, kind: str) -> None:
    """An alpha channel is stored on the scale of the colours, which the file's type need not tell."""
    deep = np.full((8, 8, 4), value, dtype)
    plain = read(tiff(deep[..., :3]), white=white)
    assert (plain == round(value / white * 255)).all()
    for opaque in (white, white + 1000):
        deep[..., 3] = opaque
        assert (read(tiff(deep, extrasamples=[kind]), white=white) == plain).all()
    deep[..., 3], deep[0, 0, 3] = white / 2, white
    half = read(tiff(deep, extrasamples=[kind]), white=white)
    shown = plain + 127.5 if kind == "assocalpha" else plain / 2 + 127.5
    assert np.abs(half - shown)[1:].max() <= 1 and (half[0, 0] == plain[0, 0]).all()
    deep[..., 3] = 0
    assert (read(tiff(deep, extrasamples=[kind]), white=white) == 255).all()


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_black_is_no_opacity(kind: str) -> None:
    deep = np.full((8, 8, 4), 1000, np.int16)
    deep[..., 3] = 2000
    file = tiff(deep, extrasamples=[kind])
    assert (read(file, black=-1000, white=2000) == 170).all()
    # no part of a range below 0 is an opacity
    assert (read(file, black=-2000, white=-1000) == 255).all()
    assert (read(tiff(deep - 2500, extrasamples=[kind]), black=-2000, white=-1000) == 128).all()


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_with_percentile_the_largest_alpha_is_opaque(grey: np.ndarray, dtype: type, kind: str) -> None:
    plain = np.dstack([grey] * 3).astype(dtype) * 8 + 100
    deep = np.dstack([plain, np.full(grey.shape, 4095)]).astype(dtype)
    assert same(read(tiff(deep, extrasamples=[kind]), percentile=1), read(tiff(plain), percentile=1))
    deep[..., 3] = 0
    assert (read(tiff(deep, extrasamples=[kind]), percentile=1) == 255).all()


def test_a_fourth_band_that_is_nowhere_opaque_is_no_alpha(grey: np.ndarray) -> None:
    bands = np.dstack([grey] * 4).astype(np.uint16) * 12 + 100  # the last one is near infrared
    file = tiff(bands, extrasamples=["unassalpha"])
    for levels in ({}, {"white": 10_000}, {"percentile": 1}):
        assert same(read(file, **levels), read(tiff(bands[..., :3]), **levels))


def test_alpha_on_a_scale_of_its_own(grey: np.ndarray) -> None:
    opacity = np.linspace(0, 1, 40)[None].repeat(30, 0)
    plain = np.dstack([grey] * 3)
    shown = np.rint(plain * opacity[..., None] + 255 * (1 - opacity[..., None]))
    floats = np.dstack([plain, opacity]).astype(np.float32)
    assert np.abs(read(tiff(floats, extrasamples=["unassalpha"]), white=255) - shown).max() <= 2
    deep = np.dstack([plain * 100.0, np.rint(opacity * 65535)]).astype(np.uint16)
    assert np.abs(read(tiff(deep, extrasamples=["unassalpha"]), white=25_500) - shown).max() <= 2


def test_alpha_without_any_scale_is_left_out() -> None:
    file = open_image(tiff(np.full((8, 8, 4), 1000, np.int32), extrasamples=["unassalpha"]))
    assert alpha_of(file) is None
    with pytest.raises(BadImage, match="values from 1000 to 1000 have no known scale"):
        to_rgb(file)


def test_damaged_alpha(colour: np.ndarray) -> None:
    deep = np.dstack([colour, np.full((30, 40), 100)]).astype(np.uint16) * 257
    assert (read(tiff(deep, extrasamples=["assocalpha"]))[colour >= 100] == 255).all()
    floats = (deep / 65535).astype(np.float32)
    floats[0, 0, 3] = np.nan
    with pytest.raises(BadImage, match="finite"):
        read(tiff(floats, extrasamples=["unassalpha"]))


def test_a_window_leaves_the_alpha_channel_out(grey: np.ndarray) -> None:
    deep = np.dstack([grey.astype(np.uint16) + 100, np.full((30, 40), 65535)]).astype(np.uint16)
    file = tiff(deep, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    assert (read(file, percentile=1) == read(tiff(deep[..., 0]), percentile=1)).all()
    image = to_rgb(open_image(file))
    assert image.info["deep"] == (float(deep[..., 0].min()), float(deep[..., 0].max()), 65535.0)


def test_lzw_of_sixteen_bits(grey: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(buffer, "TIFF", compression="tiff_lzw")
    assert same(read(buffer.getvalue()), grey)


def test_signed_integers(grey: np.ndarray) -> None:
    deep = np.round(grey / 255.0 * 32767).astype(np.int16)
    assert same(read(tiff(deep)), grey)
    hounsfield = (np.round(grey / 255.0 * 1000) - 500).astype(np.int16)
    with pytest.raises(BadImage, match=r"values from -\d+ to .* set black and white, or percentile"):
        read(tiff(hounsfield))
    assert same(read(tiff(hounsfield), black=-500, white=500), grey)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats(grey: np.ndarray, colour: np.ndarray, kind: type) -> None:
    for picture in (grey, colour):
        assert same(read(tiff((picture / 255.0).astype(kind))), picture)
        with pytest.raises(BadImage, match="no known scale"):
            read(tiff((picture * 3.0).astype(kind)))
        assert same(read(tiff((picture * 3.0).astype(kind)), white=765), picture)


def test_a_window_by_percentile(grey: np.ndarray) -> None:
    deep = grey.astype(np.uint16) + 100
    deep[0, 0] = 65535  # one hot pixel
    pixels = read(tiff(deep), percentile=1)
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert pixels.std() > 30
    assert read(tiff(np.full((20, 20), 77, np.uint16)), percentile=1).max() == 0


def test_orientation_is_followed(grey: np.ndarray) -> None:
    turned = tiff(np.rot90(grey.astype(np.uint16) * 257), extratags=[(274, 3, 1, 6, True)])
    assert same(read(turned), grey)


@pytest.mark.parametrize(
    "values", [np.ones((4, 4), np.complex64), np.ones((4, 4), np.uint16)[None, :, :, None]]
)
def test_other_tiffs_are_refused_or_read(values: np.ndarray) -> None:
    try:
        read(tiff(values, photometric="minisblack"))
    except BadImage as error:
        assert "TIFF" in str(error)


def test_sizes_are_checked_before_decoding() -> None:
    with pytest.raises(BadImage, match="40x30 is more than 1000 pixels"):
        open_image(tiff(np.zeros((30, 40), np.float32)), max_pixels=1000)
    with pytest.raises(BadImage, match="40x30 is smaller than 32"):
        open_image(tiff(np.zeros((30, 40), np.float32)), min_size=32)


def bomb(samples: int, bits: int, side: int, tile: int = 0) -> bytes:
    """A square TIFF, all of it zero, whose tiles may be larger."""
    floats = np.zeros((side, side, samples), f"f{bits // 8}")
    options: dict[str, Any] = {"extrasamples": ["unspecified"] * (samples - 1), "planarconfig": "contig"}
    if tile:
        options["tile"] = (tile, tile)
    return tiff(floats, photometric="minisblack", compression="zlib", **options)


def test_what_all_channels_take_is_checked_before_decoding() -> None:
    most = 2064 * 2064
    assert open_image(bomb(4, 32, 2064), max_pixels=most).size == (2064, 2064)
    with pytest.raises(
        BadImage, match=f"5 channels of 32 bits: more to decode than {most} pixels of 16 bytes"
    ):
        open_image(bomb(5, 32, 2064), max_pixels=most)
    with pytest.raises(BadImage, match="128 channels of 64 bits: more to decode than 64 MiB"):
        open_image(bomb(128, 64, 272), max_pixels=272 * 272)
    with pytest.raises(BadImage, match="4 channels of 32 bits: more to decode than 64 MiB"):
        open_image(bomb(4, 32, 64, tile=2064), max_pixels=64 * 64)


def test_a_small_image_in_one_large_tile_is_no_bomb() -> None:
    deep = np.full((64, 64, 4), 65535, np.uint16)
    deep[..., :3] = 100 * 257
    file = open_image(tiff(deep, tile=(512, 512), extrasamples=["unassalpha"]), max_pixels=64 * 64)
    assert (np.asarray(to_rgb(file)) == 100).all()


def test_manifest_and_inspect_say_the_scale(
    tmp_path: Path, make_tree: Callable[..., Path], grey: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_tree(tmp_path / "raw")
    for i in range(3):
        (raw / "trainA" / f"{i}.tif").write_bytes(tiff(grey.astype(np.uint16) * 16 + i))
    config = {"load_size": 16, "min_size": 8}
    manifest = preprocess(raw, tmp_path / "out", PreprocessConfig(**config)).manifest
    assert manifest.deep["trainA"]["images"] == 3
    assert manifest.deep["trainA"]["scale"] == 65535
    assert set(manifest.deep) == {"trainA"}
    assert "declared scale" in manifest.decoding
    assert "trainA: no value is above" in caplog.text
    assert "--white 4095" in caplog.text
    caplog.clear()
    preprocess(raw, tmp_path / "out", PreprocessConfig(**config, white=4095))
    assert "no value is above" not in caplog.text
    findings = [f.text for f in inspect(raw, None, InspectConfig()).findings]
    assert any("--white 4095" in text for text in findings)


def test_inspect_judges_each_image_by_its_own_scale(
    tmp_path: Path, make_tree: Callable[..., Path], grey: np.ndarray
) -> None:
    """That one of 16 bits has a scale says nothing of one of 32 beside it, which preprocess refuses."""
    raw = make_tree(tmp_path / "raw")
    for i in range(2):
        (raw / "trainA" / f"{i}.tif").write_bytes(tiff(grey.astype(np.uint16) * 257))
    (raw / "trainA" / "wide.tif").write_bytes(tiff(grey.astype(np.uint32) * 7))
    (raw / "trainB" / "black.tif").write_bytes(tiff(np.zeros((40, 40), np.uint32)))
    inspection = inspect(raw, None, InspectConfig())
    low, high = int(grey.min()), int(grey.max())
    assert [f.text.partition(";")[0] for f in inspection.findings if f.level == "bad"] == [
        f"trainA: 1 images have values from {7 * low} to {7 * high} without a known scale",
        "trainB: 1 images have values from 0 to 0 without a known scale",
    ]
    notes = [f.text for f in inspection.findings if f.level == "note"]
    assert any(text.startswith("trainA: 2 images have more than 8 bits, 0 to 65535 become") for text in notes)
    assert f"{7 * low} to {257 * high}" in as_table(inspection)
    refused = preprocess(
        raw, tmp_path / "out", PreprocessConfig(load_size=16, max_bad_share=0.5)
    ).manifest.rejected
    assert [row["file"] for row in refused] == ["trainA/wide.tif", "trainB/black.tif"]
