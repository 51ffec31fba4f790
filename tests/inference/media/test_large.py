"""Pictures of any size: the streamed translation equals the whole one; what besides pixels is kept."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from cyclegan.errors import UsageError
from cyclegan.inference.media import large
from cyclegan.inference.translate import TranslateConfig, translate
from cyclegan.inference.translator import Translator

NOISE = np.random.default_rng(0).integers(0, 256, (150, 210, 3), np.uint8)
MAKER, ORIENTATION, PHOTOGRAPH, PLACE, TAKEN, WIDTH = 271, 274, 0x8769, 0x8825, 0x9003, 0xA002
CONFIG = {"tile": 128, "overlap": 32, "engine": "torch", "precision": "fp32"}


def exif() -> Image.Exif:
    made = Image.Exif()
    made[MAKER], made[ORIENTATION] = "Maker", 6
    made[PHOTOGRAPH] = {TAKEN: "2020:01:01 00:00:00", WIDTH: 210, 0x927C: b"private"}
    made[PLACE] = {1: "N"}
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = Image.fromarray(NOISE)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(folder / "plain.png", dpi=(144, 144), icc_profile=srgb)
    picture.save(folder / "turned.jpg", exif=exif())
    picture.save(folder / "web.webp")
    Image.fromarray(np.dstack([NOISE, NOISE[..., :1]])).save(folder / "glass.png")
    shape = {"photometric": "rgb", "metadata": None, "resolution": (72, 72), "resolutionunit": 2}
    tifffile.imwrite(folder / "tiles.tif", NOISE, tile=(64, 64), compression="zlib", **shape)
    tifffile.imwrite(folder / "grey.tif", NOISE[..., 0], photometric="minisblack", rowsperstrip=32)
    return folder


def test_a_streamed_picture_is_the_whole_one(model, pictures, tmp_path, monkeypatch):
    streamed = []
    whole = translate(str(model), str(pictures), str(tmp_path / "a"), TranslateConfig(**CONFIG, alpha="keep"))
    monkeypatch.setattr(large, "LARGE", 100)
    opened = large.open_tiff
    monkeypatch.setattr(large, "open_tiff", lambda *given: streamed.append(opened(*given)) or streamed[-1])
    config = TranslateConfig(**CONFIG, alpha="keep", metadata="keep")
    done = translate(str(model), str(pictures), str(tmp_path / "b"), config)
    assert whole.written == done.written == 6
    assert len(streamed) == 2 and all(streamed)
    for name in (path.name for path in pictures.iterdir()):
        expected, found = (Image.open(tmp_path / folder / name) for folder in "ab")
        assert (expected.mode, expected.format) == (found.mode, found.format)
        assert np.array_equal(np.asarray(expected), np.asarray(found)), name
    assert Image.open(tmp_path / "b" / "turned.jpg").size == (150, 210)
    glass = Image.open(tmp_path / "b" / "glass.png")
    assert np.array_equal(np.asarray(glass)[..., 3], NOISE[..., 0])
    assert Image.open(tmp_path / "b" / "tiles.tif").info["dpi"] == (72, 72)
    plain = Image.open(tmp_path / "b" / "plain.png")
    assert round(plain.info["dpi"][0]) == 144
    profile = ImageCms.ImageCmsProfile(io.BytesIO(plain.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@pytest.mark.parametrize("least", [100, large.LARGE], ids=["streamed", "whole"])
@pytest.mark.parametrize("end", ["jpg", "png", "webp"])
def test_metadata_is_dropped_or_kept(model, pictures, tmp_path, monkeypatch, least, end):
    monkeypatch.setattr(large, "LARGE", least)
    source = str(pictures / "turned.jpg")
    translate(str(model), source, str(tmp_path / f"dropped.{end}"), TranslateConfig(**CONFIG))
    assert not Image.open(tmp_path / f"dropped.{end}").getexif()
    config = TranslateConfig(**CONFIG, metadata="keep")
    translate(str(model), source, str(tmp_path / f"kept.{end}"), config)
    kept = Image.open(tmp_path / f"kept.{end}").getexif()
    assert (kept[MAKER], kept.get(ORIENTATION, 1)) == ("Maker", 1)
    assert kept.get_ifd(PLACE) == {1: "N"}
    found = kept.get_ifd(PHOTOGRAPH)
    assert (found[TAKEN], found[WIDTH]) == ("2020:01:01 00:00:00", 150)
    assert 0x927C not in found


def odd_exif():
    """EXIF with a maker's name and a place whose latitude is text."""
    whole = Image.Exif()
    whole[MAKER] = "Maker"
    whole[PLACE] = {1: "N"}
    data = whole.tobytes()
    text = struct.pack(">HHI", 1, 2, 2) if b"MM" in data[:10] else struct.pack("<HHI", 1, 2, 2)
    assert data.count(text) == 1
    latitude = text.replace(b"\1", b"\2", 1)
    return data.replace(text, latitude)


@pytest.mark.parametrize("least", [100, large.LARGE], ids=["streamed", "whole"])
@pytest.mark.parametrize("end", ["jpg", "png", "webp", "tif"])
def test_odd_metadata_are_left_out_and_the_picture_translated(tmp_path, monkeypatch, model, least, end):
    monkeypatch.setattr(large, "LARGE", least)
    folder = tmp_path / "in"
    folder.mkdir()
    image = Image.fromarray(NOISE[:32, :32])
    image.save(folder / "place.jpg", exif=odd_exif())
    for name, resolution in (("0-0", (0, 0)), ("72-0", (72, 0)), ("many", (4_000_000_000, 1))):
        tags = [(code, 5, 1, resolution, True) for code in (282, 283)] + [(296, 3, 1, 2, True)]
        tifffile.imwrite(folder / f"{name}.tif", NOISE[:32, :32], metadata=None, extratags=tags)
    long = Image.Exif()
    long[MAKER] = "M" * 70_000
    image.save(folder / "long.png", exif=long, dpi=(300, 300))

    config = TranslateConfig(**CONFIG, metadata="keep")
    for source in sorted(folder.iterdir()):
        out = tmp_path / "out" / f"{source.stem}.{end}"
        assert translate(str(model), str(source), str(out), config).written == 1
        with Image.open(out) as found:
            kept = found.getexif()
            assert not kept.get_ifd(PLACE)
            without_exif = (end, least) == ("tif", 100)
            if source.stem == "place":
                assert without_exif or kept[MAKER] == "Maker"
            elif source.stem == "long":
                assert end == "webp" or round(found.info["dpi"][0]) == 300
                assert (MAKER in kept) == (end != "jpg" and not without_exif)
            elif end != "webp":
                # what Pillow says where a file states nothing
                assert found.info.get("dpi") in {None, (1, 1), (72, 72)}


def test_a_picture_that_cannot_be_transparent(model, pictures, tmp_path):
    config = TranslateConfig(**CONFIG, alpha="keep")
    with pytest.raises(UsageError, match=r"a\.jpg cannot be transparent: write \.png"):
        translate(str(model), str(pictures / "glass.png"), str(tmp_path / "a.jpg"), config)
    translate(str(model), str(pictures / "plain.png"), str(tmp_path / "b.jpg"), config)
    with pytest.raises(UsageError, match="max_pixels = 0"):
        TranslateConfig(max_pixels=0)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("end", "longest"), [("webp", 16383), ("jpg", 65500)])
def test_a_format_that_cannot_hold_the_sides_is_refused_before_the_work(
    model, tmp_path, monkeypatch, end, longest, streamed
):
    monkeypatch.setattr(large, "LARGE", 100 if streamed else large.LARGE)
    for method in ("array", "bands"):
        monkeypatch.setattr(Translator, method, lambda *_: pytest.fail("translated"))
    wide = tmp_path / "wide.png"
    Image.new("RGB", (longest + 1, 8)).save(wide)
    with pytest.raises(UsageError, match=f"at most {longest} pixels a side, .* has {longest + 1}x8: use PNG"):
        translate(str(model), str(wide), str(tmp_path / f"a.{end}"), TranslateConfig(**CONFIG))
    assert not list(tmp_path.glob("*a.*"))


def test_damage_in_a_streamed_file_leaves_nothing_behind(model, pictures, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(large, "LARGE", 100)
    for name in ("tiles.tif", "plain.png"):
        data = bytearray((pictures / name).read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
        (pictures / name).write_bytes(data)
    done = translate(str(model), str(pictures), str(tmp_path / "out"), TranslateConfig(**CONFIG))
    assert done.unreadable == ["plain.png", "tiles.tif"]
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "Skipped tiles.tif: damaged" in caplog.text


STREAM = """
import json, sys
from pathlib import Path
import numpy as np
from cyclegan.inference import translate as step
from cyclegan.inference.translator import Translator
from cyclegan.pixels import to_unit_array

class Negative:
    name, multiple, batch = "negative", 4, 1
    def __call__(self, images):
        return -to_unit_array(images)

step.load = lambda *given, **options: Translator(Negative(), "AtoB", {}, tile=512, overlap=32)
config = step.TranslateConfig(max_pixels=200_000_000)
done = step.translate("model", sys.argv[1], sys.argv[2], config)
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps({"written": done.written, "mb": peak / 1024}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("end", ["tif", "png"])
def test_memory_does_not_grow_with_the_height(tmp_path, end):
    """From a TIFF of 36 and of 120 megapixels: 252 MB of pixels more, and less than 30 MB of memory."""
    peaks = []
    for height in (6_000, 20_000):
        source, out = tmp_path / f"{height}.tif", tmp_path / f"out.{end}"
        rows = np.arange(6_000 * 3, dtype=np.uint8).reshape(6_000, 3)
        tiles = (np.ascontiguousarray(np.broadcast_to(rows[x : x + 400], (400, 400, 3)))
                 for _ in range(height // 400) for x in range(0, 6_000, 400))  # fmt: skip
        tifffile.imwrite(source, tiles, shape=(height, 6_000, 3), dtype=np.uint8, tile=(400, 400),
                         photometric="rgb", compression="zlib", metadata=None)  # fmt: skip
        command = [sys.executable, "-c", STREAM, str(source), str(out)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        said = json.loads(ended.stdout.splitlines()[-1])
        assert said["written"] == 1
        peaks.append(said["mb"])
        out.rename(tmp_path / f"{height}.{end}")
    assert peaks[1] - peaks[0] < 30, peaks
    Image.MAX_IMAGE_PIXELS, former = None, Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(tmp_path / f"20000.{end}") as image:
            assert image.size == (6_000, 20_000)
            assert np.array_equal(np.asarray(image.crop((0, 19_990, 6_000, 20_000)))[-1], 255 - rows)
    finally:
        Image.MAX_IMAGE_PIXELS = former
