"""What image files are like in the wild."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from cyclegan.data.decode import _jpeg, fit, has_other_profile, open_image, plain_jpeg, to_pixels, to_rgb
from cyclegan.data.deep import Levels
from cyclegan.data.errors import BadImage
from tests.data.profiles import display_p3, grey_profile

Picture = Callable[..., Image.Image]
Encoded = Callable[..., bytes]


def read(data: bytes) -> np.ndarray:
    image = to_rgb(open_image(data))
    assert image.mode == "RGB"
    return np.asarray(image)


def near(actual: np.ndarray, expected: Image.Image, tolerance: float) -> bool:
    difference = np.abs(actual.astype(int) - np.asarray(expected.convert("RGB"), int))
    return bool(actual.shape == (*expected.size[::-1], 3) and difference.mean() <= tolerance)


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("JPEG", 6), ("WEBP", 9), ("AVIF", 9), ("GIF", 12)],
)
def test_formats(picture: Picture, encoded: Encoded, kind: str, tolerance: float) -> None:
    image = picture(0, (40, 30))
    assert near(read(encoded(image, kind)), image, tolerance)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("L", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG")]
)
def test_grey_and_palette(picture: Picture, encoded: Encoded, mode: str, kind: str) -> None:
    image = picture(0, (40, 30), mode)
    assert near(read(encoded(image, kind)), image.convert("RGB"), 2)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(picture: Picture, encoded: Encoded, kind: str) -> None:
    image = picture(0, (40, 30))
    assert near(read(encoded(image.convert("CMYK"), kind)), image, 6)


def test_sixteen_bits_keep_their_picture(picture: Picture, encoded: Encoded) -> None:
    grey = picture(0, (40, 30), "L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        assert near(read(encoded(deep, kind)), grey, 0.5)


def test_floats_and_wide_integers(picture: Picture, encoded: Encoded) -> None:
    grey = picture(0, (40, 30), "L")
    values = np.asarray(grey).astype(np.float32)
    assert near(read(encoded(Image.fromarray(values / 255), "TIFF")), grey, 0.5)
    wide = encoded(Image.fromarray(np.asarray(grey).astype(np.int32)), "TIFF")
    for data in (encoded(Image.fromarray(values), "TIFF"), wide):
        with pytest.raises(BadImage, match="no known scale: set black and white, or percentile"):
            read(data)
        assert near(np.asarray(to_rgb(open_image(data), Levels(white=255))), grey, 0.5)
    with pytest.raises(BadImage, match="scale"):
        read(encoded(Image.fromarray(values / 255 - 1), "TIFF"))
    with pytest.raises(BadImage, match="finite"):
        read(encoded(Image.fromarray(values * np.nan), "TIFF"))


def test_transparency_becomes_white(encoded: Encoded) -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    for data in (encoded(image), encoded(image, "WEBP", lossless=True)):
        pixels = read(data)
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert abs(int(pixels[0, 1, 0]) - 127) <= 1
        assert pixels[3, 3].tolist() == [200, 0, 0]


def test_a_transparent_palette_colour_becomes_white(encoded: Encoded) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((0, 0), 0)
    pixels = read(encoded(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 0, 0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(encoded: Encoded, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert abs(pixels.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_it_upright(picture: Picture, encoded: Encoded, orientation: int) -> None:
    upright = picture(0, (40, 30))
    inverse = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in inverse.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert near(read(encoded(stored, "JPEG", quality=95, exif=exif)), upright, 5)


def test_damaged_exif_does_not_cost_the_image(picture: Picture, encoded: Encoded) -> None:
    image = picture(0, (40, 30))
    data = encoded(image, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert near(read(data), image, 5)


def test_the_content_decides_not_the_name(picture: Picture, encoded: Encoded) -> None:
    assert open_image(encoded(picture(0), "WEBP")).format == "WEBP"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"hello, I am no image",
        b"<svg xmlns='x'/>",
        b"%PDF-1.4",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        bytes(100),
    ],
)
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(BadImage):
        read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_files_cut_short(picture: Picture, encoded: Encoded, kind: str) -> None:
    whole = encoded(picture(0, (64, 48)), kind)
    for cut in (3, 30, len(whole) // 2, len(whole) * 3 // 4):
        with pytest.raises(BadImage) as error:
            read(whole[:cut])
        assert str(error.value)


def test_sizes_that_are_refused(picture: Picture, encoded: Encoded) -> None:
    for size in ((1, 1), (15, 400), (30_000, 1)):
        with pytest.raises(BadImage, match=f"{size[0]}x{size[1]} is smaller than 16"):
            open_image(encoded(picture(0, size)), min_size=16)


def test_a_decompression_bomb_takes_no_memory() -> None:
    """A PNG of a few hundred bytes that claims 50,000 × 50,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(BadImage, match="pixels"):
        open_image(bomb)
    with pytest.raises(BadImage, match="24x20 is more than 100 pixels"):
        buffer = io.BytesIO()
        Image.new("RGB", (24, 20)).save(buffer, "PNG")
        open_image(buffer.getvalue(), max_pixels=100)


TURNED = [*range(9), "damaged"]


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_have_the_same_pixels_without_pillow(picture: Picture, mode: str, turned: int | str) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turned if isinstance(turned, int) else 1
    data = exif.tobytes() if isinstance(turned, int) else b"Exif\0\0" + b"\xff" * 30
    picture(0, (45, 30)).convert(mode).save(buffer, "JPEG", exif=data, quality=80)
    data = buffer.getvalue()
    fast = _jpeg(open_image(data), data)
    assert (fast is None) == (mode == "CMYK")
    pixels, deep = to_pixels(open_image(data), data)
    assert deep is None and (pixels == read(data)).all()


def test_damaged_jpegs_are_refused_in_the_same_words(picture: Picture, encoded: Encoded) -> None:
    data = encoded(picture(0, (64, 64)), "JPEG")
    for cut in (len(data) // 2, len(data) - 20):
        messages = []
        for way in (to_rgb, lambda image: to_pixels(image, data[:cut])):  # noqa: B023
            with pytest.raises(BadImage) as caught:
                way(open_image(data[:cut]))
            messages.append(str(caught.value))
        assert messages[0] == messages[1] != ""


@pytest.mark.parametrize("profiled", [False, True])
def test_what_is_no_plain_jpeg_is_read_by_pillow(picture: Picture, profiled: bool) -> None:
    buffer = io.BytesIO()
    image = picture(0, (40, 30))
    image.save(buffer, "JPEG" if profiled else "PNG", **({"icc_profile": display_p3()} if profiled else {}))
    data = buffer.getvalue()
    assert _jpeg(open_image(data), data) is None
    assert (to_pixels(open_image(data), data)[0] == read(data)).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"a camera"}, {"subsampling": 0}])
def test_plain_jpegs_need_no_header_from_pillow(picture: Picture, mode: str, options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    picture(0, (45, 30)).convert(mode).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    pixels = plain_jpeg(data, min_size=30, max_pixels=45 * 30)
    assert pixels is not None and (pixels == read(data)).all()
    assert plain_jpeg(data, min_size=31) is None
    assert plain_jpeg(data, max_pixels=45 * 30 - 1) is None


@pytest.mark.parametrize("what", ["exif", "icc_profile", "CMYK", "PNG", "cut", "12 bits"])
def test_what_may_change_the_pixels_is_left_to_pillow(picture: Picture, what: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": {"exif": exif}, "icc_profile": {"icc_profile": display_p3()}}.get(what, {})
    buffer = io.BytesIO()
    image = picture(0, (45, 30)).convert("CMYK" if what == "CMYK" else "RGB")
    image.save(buffer, "PNG" if what == "PNG" else "JPEG", **options)
    data = buffer.getvalue()
    if what == "cut":
        data = data[:-20]
    if what == "12 bits":
        frame = data.index(b"\xff\xc0")
        data = data[: frame + 4] + b"\x0c" + data[frame + 5 :]
    assert plain_jpeg(data) is None


@pytest.mark.parametrize("shape", [(256, 256), (300, 401), (90, 60)])
@pytest.mark.parametrize("size", [286, 64])
def test_resizing_is_within_two_levels_of_pillows(
    picture: Picture, shape: tuple[int, int], size: int
) -> None:
    """Of its bicubic filter, on a picture with noise, so that every weight counts."""
    noise = np.random.default_rng(0).normal(0, 6, (*shape, 3))
    pixels = np.clip(np.asarray(picture(0, shape[::-1])) + noise, 0, 255).astype(np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    for aspect, part in (("squash", pixels), ("crop", pixels[top : top + side, left : left + side])):
        expected = np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC), int)
        difference = np.abs(fit(pixels, (size, size), aspect) - expected)  # type: ignore[arg-type]
        assert difference.max() <= 2 and difference.mean() < 0.01


def test_squash_and_crop(picture: Picture) -> None:
    oblong = Image.new("RGB", (90, 30), "red")
    oblong.paste("blue", (30, 0, 60, 30))
    squashed, cropped = (fit(np.asarray(oblong), (30, 30), aspect) for aspect in ("squash", "crop"))
    assert squashed.shape == cropped.shape == (30, 30, 3)
    assert squashed[15, 2].tolist() == [255, 0, 0]
    assert (cropped == [0, 0, 255]).all()
    square = picture(0, (30, 30))
    assert (fit(np.asarray(square), (30, 30), "squash") == np.asarray(square)).all()


@pytest.mark.parametrize(
    ("shape", "size", "part"),
    [
        ((30, 90), (20, 40), (slice(0, 30), slice(15, 75))),
        ((90, 30), (20, 40), (slice(37, 52), slice(0, 30))),
    ],
)
def test_an_oblong_crop_keeps_the_middle_of_that_shape(
    picture: Picture, shape: tuple[int, int], size: tuple[int, int], part: tuple[slice, slice]
) -> None:
    pixels = np.asarray(picture(3, shape[::-1]))
    cropped, squashed = fit(pixels, size, "crop"), fit(pixels, size, "squash")
    assert cropped.shape == squashed.shape == (*size, 3)
    assert np.array_equal(cropped, fit(np.ascontiguousarray(pixels[part]), size, "squash"))
    assert not np.array_equal(cropped, squashed)
    assert fit(pixels, shape, "keep") is pixels
    with pytest.raises(BadImage, match=rf"{shape[1]}x{shape[0]}, and not 40x20 as the first"):
        fit(pixels, size, "keep")


def test_shrinking_does_not_alias() -> None:
    """Stripes of one pixel become even grey, not stripes again."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    small = fit(stripes, (30, 30), "squash")
    assert small[:, 3:-3].std() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_colour_profile_is_applied(encoded: Encoded, kind: str) -> None:
    image = Image.new("RGB", (8, 8), (200, 30, 10))
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = read(encoded(image, kind, icc_profile=display_p3(), **options))
    assert np.abs(pixels[0, 0].astype(int) - [10, 30, 200]).max() <= 3
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"", b"damaged", srgb[:200]):
        assert (read(encoded(image, kind, icc_profile=profile, **options)) == [200, 30, 10]).all()
    image.putalpha(Image.new("L", (8, 8), 255))
    assert (
        np.abs(read(encoded(image, kind, icc_profile=display_p3(), **options))[0, 0] - [10.0, 30, 200]).max()
        <= 3
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "alpha", "transparent colour", "16 bits"])
def test_a_grey_profile_is_applied(encoded: Encoded, kind: str) -> None:
    image = Image.new("L", (8, 8), 100)
    if kind == "alpha":
        image.putalpha(200)
    if kind == "16 bits":
        image = Image.fromarray(np.full((8, 8), 100 * 257, np.uint16))
    name = kind if kind.isupper() else "PNG"
    options = {"transparency": 9} if kind == "transparent colour" else {}
    linear = encoded(image, name, icc_profile=grey_profile(1), **options)
    shown = 168 if kind != "alpha" else 168 * 200 / 255 + 55
    opened = open_image(linear)
    assert has_other_profile(opened)
    assert np.abs(read(linear) - float(shown)).max() <= 1
    assert np.abs(to_pixels(opened, linear)[0] - float(shown)).max() <= 1
    other = encoded(image, name, icc_profile=display_p3(), **options)
    assert not has_other_profile(open_image(other))


def test_a_large_text_does_not_cost_the_image(picture: Picture, encoded: Encoded) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("prompt", "word " * 900_000, zip=True)
    assert near(read(encoded(picture(0), "PNG", pnginfo=info)), picture(0), 0)


@pytest.mark.parametrize("suffix", ["P6", "P5"])
def test_netpbm(picture: Picture, encoded: Encoded, suffix: str) -> None:
    image = picture(0).convert("RGB" if suffix == "P6" else "L")
    assert near(read(encoded(image, "PPM")), image.convert("RGB"), 0)


def test_heic(picture: Picture, encoded: Encoded) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    assert near(read(encoded(picture(0, (64, 64)), "HEIF", quality=95)), picture(0, (64, 64)), 6)


def test_heic_without_its_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImage, match=r"HEIC needs pillow-heif: pip install 'cyclegan-pipeline\[heif\]'"):
        open_image(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"\xff\x0a123", "JPEG XL"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_other_kinds_are_named(data: bytes, kind: str) -> None:
    with pytest.raises(BadImage, match=kind):
        open_image(data)
