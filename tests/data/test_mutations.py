"""Images and archives damaged at random by a seeded mutator: no crash, no hang, nothing outside the folder.

CYCLEGAN_MUTATIONS sets how many of each are tried; the figures in docs/data.md are for 5000.
"""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan.data.channels.read import read_image
from cyclegan.data.decode import open_image, plain_jpeg, to_pixels
from cyclegan.data.deep import Levels
from cyclegan.data.errors import BadImage
from cyclegan.data.fetch import archives
from cyclegan.data.fetch.archives import unpack
from cyclegan.data.preprocess.packing import HEADER, Job, Raster, create, pack_image
from cyclegan.errors import CycleGANError
from cyclegan.pixel_kind import RGB
from tools.fuzz.mutate import mutate_bytes

COUNT = int(os.environ.get("CYCLEGAN_MUTATIONS", "600"))
ENDS = 64  # bytes at both ends of these small files, where their structure stands


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 255, (6, 6), np.uint8)).resize((40, 32), Image.Resampling.BICUBIC)
    colour = Image.merge("RGB", [grey, grey.rotate(90), grey.rotate(180)])
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "JPEG", {"exif": exif}),
        (colour, "JPEG", {"progressive": True}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 0}),
        (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", {}),
        (colour, "WEBP", {}),
        (colour, "WEBP", {"lossless": True}),
        (colour, "TIFF", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (colour, "BMP", {}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "AVIF", {}),
    ]
    out = []
    for image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        out.append(buffer.getvalue())
    deep = np.asarray(grey).astype(np.uint16) * 257
    arrays: list[tuple[np.ndarray, dict[str, object]]] = [
        (deep, {"compression": "zlib", "predictor": True}),
        (np.stack([deep] * 3), {"planarconfig": "separate", "photometric": "rgb"}),
        ((deep / 65535).astype(np.float32), {"tile": (16, 16)}),
    ]
    for array, options in arrays:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)  # type: ignore[arg-type]
        out.append(buffer.getvalue())
    return out


@pytest.mark.timeout(120)
def test_mutated_images(tmp_path: Path, images: list[bytes], capfd: pytest.CaptureFixture[str]) -> None:
    """Each is packed or refused with a reason; a refusal leaves its row alone."""
    rng = random.Random(0)
    npy = tmp_path / "x.npy"
    create(npy, 1, Raster((16, 16)))
    path = tmp_path / "image.jpg"
    packed = refused = 0
    file = FileIO(npy, "r+")
    job = Job(
        path=str(path),
        npy=file,
        row=0,
        raster=Raster((16, 16)),
        aspect="squash",
        min_size=8,
        max_pixels=1_000_000,
    )
    for number in range(COUNT):
        path.write_bytes(mutate_bytes(images[number % len(images)], rng, ENDS))
        outcome = pack_image(job)
        if outcome.reason:
            refused += 1
            assert not outcome.thumbnail
            assert "\n" not in outcome.reason
        else:
            packed += 1
            assert len(outcome.thumbnail) == 16 * 16 * 3
        assert npy.stat().st_size == HEADER + 16 * 16 * 3
    file.close()
    assert packed > COUNT // 20
    assert refused > COUNT // 10


def test_mutated_jpegs_are_what_pillow_says(picture: Callable[..., Image.Image]) -> None:
    """Those that are decoded without Pillow's reading of the header, and those that are refused."""
    rng = random.Random(1)
    plain = 0
    for number in range(COUNT // 2):
        buffer = io.BytesIO()
        image = picture(number % 2, (40, 32)).convert("L" if number % 3 == 1 else "RGB")
        image.save(buffer, "JPEG", progressive=number % 2 == 0, comment=b"x" * (number % 5))
        data = mutate_bytes(buffer.getvalue(), rng, 700)
        limits = {"min_size": 8, "max_pixels": 5000}
        plain += plain_jpeg(data, **limits) is not None
        found: list[Any] = []
        for way in (
            lambda: read_image(data, RGB, Levels(), **limits),  # noqa: B023
            lambda: to_pixels(open_image(data, **limits), data),  # noqa: B023
        ):
            try:
                found.append(way()[0].tobytes())
            except BadImage as error:
                found.append(str(error))
        assert found[0] == found[1]
    assert COUNT // 20 < plain < COUNT // 2


@pytest.fixture(scope="module")
def packed_archives(images: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    names = ("trainA/1", "a", "b", "testB/1")
    members = {f"set/{name}.png": images[3][: 200 + i] for i, name in enumerate(names)}
    folder = tmp_path_factory.mktemp("archives")
    for method, name in ((zipfile.ZIP_STORED, "1.zip"), (zipfile.ZIP_DEFLATED, "2.zip")):
        with zipfile.ZipFile(folder / name, "w", method) as file:
            for member, data in members.items():
                file.writestr(member, data)
    gnu, pax = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT
    for compression, form in (("", gnu), ("", pax), ("gz", pax), ("xz", gnu)):
        with tarfile.open(folder / f"{compression}{form}.tar", "w:" + compression, format=form) as tar:  # type: ignore[call-overload]
            for member, data in members.items():
                info = tarfile.TarInfo(member.replace("set", "s" * 120 + "ä"))
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore")
def test_mutated_archives(
    tmp_path: Path, packed_archives: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is unpacked or refused in one sentence; files below the folder and nothing else."""
    monkeypatch.setattr(archives, "ALLOWANCE", 1 << 20)
    rng = random.Random(1)
    path = tmp_path / "x.archive"
    fine = refused = 0
    for number in range(COUNT):
        path.write_bytes(mutate_bytes(packed_archives[number % len(packed_archives)], rng, ENDS))
        folder = tmp_path / "deep" / "box"
        folder.mkdir(parents=True)
        try:
            unpack(path, folder)
            fine += 1
        except CycleGANError as error:
            refused += 1
            assert "x.archive" in str(error)
            assert "\n" not in str(error)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "x.archive"]
        assert [p.name for p in folder.parent.iterdir()] == ["box"]
        for parent, folders, names in os.walk(folder, topdown=False):
            for name in names:
                assert not (Path(parent) / name).is_symlink()
                (Path(parent) / name).unlink()
            for name in folders:
                (Path(parent) / name).rmdir()
        folder.rmdir()
        folder.parent.rmdir()
    assert fine > COUNT // 20
    assert refused > COUNT // 10
