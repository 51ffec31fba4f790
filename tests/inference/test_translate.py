"""Using a model: any image, any size, files, folders and s3."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cyclegan.engines.pytorch import TorchEngine
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.translate import TranslateConfig, load, translate
from cyclegan.inference.translator import Translator
from cyclegan.io.storage import open_store
from cyclegan.model import DIRECTIONS, load_model
from cyclegan.networks import Generator


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(noise.integers(0, 256, (37, 21, 3), np.uint8)).save(folder / "b.JPG", "JPEG")
    Image.fromarray(noise.integers(0, 65536, (16, 16), np.uint16)).save(folder / "deep.png")
    Image.fromarray(noise.integers(0, 256, (20, 24, 4), np.uint8)).save(folder / "sub" / "alpha.webp")
    Image.fromarray(noise.integers(0, 256, (9, 9), np.uint8)).save(folder / "sub" / "grey.gif")
    (folder / "notes.txt").write_text("no image")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class Same(Generator):
    """Returns its input; checks what it is given."""

    multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32 and x.min() >= -1 and x.max() <= 1
        assert x.shape[2] % self.multiple == 0 and x.shape[3] % self.multiple == 0
        self.shapes.append(tuple(x.shape))
        return x


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_image_that_fits_is_what_the_generator_makes_of_it(model, direction):
    image = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    generator = load_model(model)[direction]
    with torch.no_grad():
        out = generator(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1)
    expected = ((out[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    translated = load(model, direction, precision="fp32")(image)
    assert translated.dtype == np.uint8
    assert np.array_equal(translated, expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16), (16, 24), (100, 100), (61, 130), (130, 61)])
@pytest.mark.parametrize("tile", [0, 32, 50])
def test_every_size_comes_back_whole_at_its_place(size, tile):
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    network = Same()
    translated = Translator(TorchEngine(network), "AtoB", {}, tile=tile, overlap=8)(image)
    assert np.array_equal(translated, image)
    if tile and max(size) > tile:
        assert len(network.shapes) > 1
        assert max(max(shape[2:]) for shape in network.shapes) < tile + 2 * network.multiple
    else:
        assert len(network.shapes) == 1


class Tones(Same):
    """Every call returns another constant grey: the worst that tiles can do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        super().forward(x)
        return torch.full_like(x, 0.5 if len(self.shapes) % 2 else -0.5)


def test_tiles_blend_without_an_edge(caplog):
    image = np.zeros((64, 200, 3), np.uint8)
    with caplog.at_level(logging.INFO):
        translated = Translator(TorchEngine(Tones()), "AtoB", {}, tile=64, overlap=32)(image).astype(int)
    assert translated.max() - translated.min() > 100
    steps = np.abs(np.diff(translated, axis=1))
    assert steps.max() <= np.ceil(0.5 * 255 / 32) + 1
    assert "normalised by itself" in caplog.text


def test_a_folder_is_translated_whole_and_only_once(model, pictures, tmp_path):
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()}
    done = translate(str(model), str(pictures), str(out), TranslateConfig())
    assert (done.written, done.skipped, done.unreadable) == (5, 0, [])
    assert names(out) == ["a.png", "b.JPG", "deep.png", "sub/alpha.webp", "sub/grey.gif.png"]
    assert {path: path.read_bytes() for path in before} == before
    assert Image.open(out / "b.JPG").size == (21, 37)
    assert Image.open(out / "b.JPG").format == "JPEG"
    expected = load(model)(pictures / "a.png")
    assert np.array_equal(np.asarray(Image.open(out / "a.png")), np.asarray(expected))

    (out / "a.png").unlink()
    stamp = (out / "b.JPG").stat().st_mtime_ns
    again = translate(str(model), str(pictures), str(out), TranslateConfig())
    assert (again.written, again.skipped) == (1, 4)
    assert (out / "b.JPG").stat().st_mtime_ns == stamp
    assert translate(str(model), str(pictures), str(out), TranslateConfig()).written == 0
    assert translate(str(model), str(pictures), str(out), TranslateConfig(overwrite=True)).written == 5


def test_shards_divide_the_work(model, pictures, tmp_path):
    counts = [
        translate(
            str(model), str(pictures), str(tmp_path / "out"), TranslateConfig(shard=i, shards=3)
        ).written
        for i in range(3)
    ]
    assert sum(counts) == 5 and max(counts) == 2
    assert len(names(tmp_path / "out")) == 5


def test_an_output_folder_below_the_images_is_no_input(model, pictures):
    out = str(pictures / "sub" / "out")
    translate(str(model), str(pictures), out, TranslateConfig())
    assert translate(str(model), str(pictures), out, TranslateConfig(overwrite=True)).written == 5


def test_unreadable_images_are_named_and_left_out(model, pictures, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    done = translate(str(model), str(pictures), str(tmp_path / "out"), TranslateConfig())
    assert (done.written, done.unreadable) == (5, ["broken.png"])
    assert "Skipped broken.png" in caplog.text
    again = translate(str(model), str(pictures), str(tmp_path / "out"), TranslateConfig(summary="s.json"))
    assert (again.written, again.skipped, again.unreadable) == (0, 5, ["broken.png"])
    summary = json.loads(Path("s.json").read_text())
    assert (summary["written"], summary["already_there"]) == (0, 5)
    assert [entry["name"] for entry in summary["unreadable"]] == ["broken.png"]
    assert "damaged" in summary["unreadable"][0]["reason"]
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "broken.png").write_bytes(b"no")
    with pytest.raises(CycleGANError, match="None of the 1 images"):
        translate(str(model), str(alone), str(tmp_path / "out2"), TranslateConfig())


def test_a_single_file_and_the_option_size(model, pictures, tmp_path):
    translate(str(model), str(pictures / "b.JPG"), str(tmp_path / "new" / "c.png"), TranslateConfig(size=42))
    assert Image.open(tmp_path / "new" / "c.png").size == (42, 74)
    translate(str(model), str(pictures / "a.png"), str(tmp_path / "folder"), TranslateConfig())
    assert names(tmp_path / "folder") == ["a.png"]


@pytest.mark.parametrize(
    ("trained", "told"), [([20, 30], False), ([10, 16], True), (64, True), (None, False)]
)
def test_a_picture_of_another_scale_is_pointed_out_once(model, pictures, tmp_path, caplog, trained, told):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | ({"image_size": trained} if trained else {})))
    with caplog.at_level(logging.INFO):
        translate(str(model), str(pictures), str(tmp_path / "out"), TranslateConfig())
    assert caplog.text.count("brings it to their scale") == told
    if told:
        assert f"--size {trained if trained == 64 else 10} brings" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        translate(str(model), str(pictures), str(tmp_path / "scaled"), TranslateConfig(size=20))
    assert "their scale" not in caplog.text


def test_s3_to_s3(model, pictures, s3_bucket, tmp_path):
    base = f"s3://{s3_bucket}"
    source = open_store(f"{base}/in")
    for name in names(pictures):
        source.put(pictures / name, name)
    for name in names(model):
        open_store(f"{base}/model").put(model / name, name)
    config = TranslateConfig()
    assert translate(f"{base}/model", f"{base}/in", f"{base}/out", config).written == 5
    assert translate(f"{base}/model", f"{base}/in", f"{base}/out", config).skipped == 5
    translate(str(model), str(pictures), str(tmp_path / "out"), config)
    there = open_store(f"{base}/out")
    assert [entry.key for entry in there.list()] == names(tmp_path / "out")
    assert all(there.read(name) == (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out"))


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        ("pictures", "pictures", "would replace"),
        ("pictures", "pictures/../pictures", "would replace"),
        ("pictures/a.png", "pictures", "would be replaced"),
        ("pictures/a.png", "pictures/a.png", "would be replaced"),
        ("pictures/a.png", "out/a.xyz", "must end in"),
        ("nowhere", "out", "no file or folder"),
        ("empty", "out", "no images in"),
    ],
)
def test_mistakes_are_one_sentence(model, pictures, tmp_path, monkeypatch, images, out, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    before = (pictures / "a.png").read_bytes()
    with pytest.raises(UsageError, match=message):
        translate(str(model), images, out, TranslateConfig(overwrite=True))
    assert (pictures / "a.png").read_bytes() == before


def test_models_that_are_none(model, tmp_path):
    with pytest.raises(UsageError, match="no model in"):
        load(tmp_path)
    (model / "BtoA.safetensors").write_bytes(b"damaged")
    load(model, "AtoB")
    with pytest.raises(UsageError, match="damaged"):
        load(model, "BtoA")


@pytest.mark.parametrize(
    "values", [{"size": -1}, {"tile": 64, "overlap": 64}, {"shard": 2, "shards": 2}, {"overlap": -1}]
)
def test_wrong_configs(values):
    with pytest.raises(UsageError, match="translate: "):
        TranslateConfig(**values)


def test_arrays_of_another_form(model):
    with pytest.raises(UsageError, match="uint8 H×W×3"):
        load(model)(np.zeros((8, 8), np.uint8))
    with pytest.raises(UsageError, match="uint8 H×W×3"):
        load(model)(np.zeros((8, 8, 3), np.float32))
