"""Models of other pictures than RGB of 8 bits: what they take, write and refuse."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from cyclegan.data.channels.read import read_channels
from cyclegan.errors import UsageError
from cyclegan.inference.media.channels import encode_channels
from cyclegan.inference.translate import TranslateConfig, translate
from cyclegan.inference.translator import Translator, load
from cyclegan.io.storage import FolderStore
from cyclegan.model import DIRECTIONS, save_model
from cyclegan.networks import build_generator
from cyclegan.pixel_kind import PixelKind, generator_channels
from cyclegan.pixels import to_unit_array
from cyclegan.serving.options import PictureOptions

OPTIONS = {"name": "resnet", "blocks": 1, "width": 4}


class Swap:
    """Returns the first channels of its input in turn, negated."""

    name, multiple, batch = "swap", 4, 1

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, images: np.ndarray) -> np.ndarray:
        unit = to_unit_array(images)
        return np.ascontiguousarray(-unit[..., [i % unit.shape[3] for i in range(self.channels)]])


def translator(a: int, b: int, bits: int = 16, **levels: float) -> Translator:
    config: Mapping[str, Any] = {"pixels": {"channels": {"A": a, "B": b}, "bits": bits, **levels}}
    return Translator(Swap(b), "AtoB", dict(config), tile=16, overlap=4)


def noise(channels: int, bits: int = 16, shape: tuple[int, int] = (21, 34)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1 << bits, (*shape, channels), f"uint{bits}")


@pytest.mark.parametrize(("a", "b", "bits"), [(2, 1, 16), (1, 5, 16), (4, 4, 8), (3, 3, 16)])
def test_tiles_keep_every_bit_of_other_channels(a: int, b: int, bits: int) -> None:
    image = noise(a, bits)
    found = translator(a, b, bits)(image)
    assert found.dtype == image.dtype and found.shape == (21, 34, b)
    top = (1 << bits) - 1
    assert np.array_equal(found, top - image[..., [i % a for i in range(b)]])


def test_arrays_and_pictures_of_another_kind_are_refused(tmp_path: Path) -> None:
    for wrong in (noise(3), noise(2, 8)):
        with pytest.raises(UsageError, match="must be uint16 H×W×2"):
            translator(2, 1)(wrong)
    file = tmp_path / "x.tif"
    tifffile.imwrite(file, noise(3), photometric="rgb")
    with pytest.raises(UsageError, match="it has 3 channels"):
        translator(2, 1)(file)


def test_a_server_answers_with_a_png_where_that_can_hold_it() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise(2), photometric="minisblack", planarconfig="contig")
    answer = PictureOptions().translate(translator(2, 4), buffer.getvalue())
    assert np.array_equal(read_channels(answer, PixelKind(4, 16))[0], 65535 - noise(2)[..., [0, 1, 0, 1]])
    for options, model in (
        (PictureOptions(format="jpeg"), translator(2, 4)),
        (PictureOptions(), translator(2, 5)),
    ):
        with pytest.raises(UsageError, match="ask for png, or use cyclegan translate"):
            options.translate(model, buffer.getvalue())


def test_files_keep_name_place_and_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hounsfield units come back as such, a GeoTIFF where it lay, and what no PNG can hold is a TIFF."""
    listed, lists = [], FolderStore.list
    monkeypatch.setattr(FolderStore, "list", lambda store: listed.append(store.uri) or lists(store))
    kinds = {"A": PixelKind(1, 16), "B": PixelKind(1, 16)}
    torch.manual_seed(0)
    pair = {d: build_generator(**OPTIONS, **generator_channels(kinds, d)) for d in DIRECTIONS}
    pixels = {"channels": {"A": 1, "B": 1}, "bits": 16, "black": -1000.0, "white": 2000.0}
    save_model(tmp_path / "model", pair, {"generator": OPTIONS, "pixels": pixels})
    (tmp_path / "in").mkdir()
    units = np.random.default_rng(0).integers(-1000, 2001, (16, 16)).astype(np.int16)
    place = (33550, 12, 3, (10.0, 10.0, 0.0), True)
    tifffile.imwrite(tmp_path / "in" / "a.tif", units, photometric="minisblack", extratags=[place])
    (tmp_path / "in" / "damaged.png").write_bytes(b"nothing")
    done = translate(
        str(tmp_path / "model"),
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        TranslateConfig(device="cpu", metadata="keep"),
    )
    assert (done.written, done.unreadable) == (1, ["damaged.png"])
    assert listed == [str(tmp_path / "in"), str(tmp_path / "out")]  # each once
    again = translate(
        str(tmp_path / "model"), str(tmp_path / "in"), str(tmp_path / "out"), TranslateConfig(device="cpu")
    )
    assert (again.written, again.skipped) == (0, 1)
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as file:
        found, tags = file.asarray(), file.pages[0].tags
        assert tags[33550].value == (10.0, 10.0, 0.0)
    assert found.dtype == np.int16 and -1000 <= found.min() < found.max() <= 2000
    exact = load(tmp_path / "model", "AtoB", device="cpu")(tmp_path / "in" / "a.tif")[..., 0]
    assert np.abs(found - (exact * (3000 / 65535) - 1000)).max() <= 0.5
    one = (str(tmp_path / "model"), str(tmp_path / "in" / "a.tif"))
    for wrong in ("x.jpg", "x.png"):
        message = f"{wrong} cannot hold 1 channel of 16 bits with negative values: write .tif"
        with pytest.raises(UsageError, match=message):
            translate(*one, str(tmp_path / "one" / wrong), TranslateConfig(device="cpu"))
    assert not (tmp_path / "one").exists()
    translate(*one, str(tmp_path / "one" / "x.tif"), TranslateConfig(device="cpu"))
    (tmp_path / "in" / "b.png").write_bytes(encode_channels(noise(1), ".png"))
    derived = (one[0], str(tmp_path / "in" / "b.png"), str(tmp_path / "one"))
    translate(*derived, TranslateConfig(device="cpu"))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["b.png.tif", "x.tif"]
    with pytest.raises(UsageError, match="alpha = keep"):
        translate(
            str(tmp_path / "model"),
            str(tmp_path / "in"),
            str(tmp_path / "out"),
            TranslateConfig(device="cpu", alpha="keep"),
        )
