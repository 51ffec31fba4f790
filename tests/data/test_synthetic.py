"""The sample dataset: what is drawn, and that its bytes stay the ones that data.dvc names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cyclegan.data.sample.city import (
    AERIAL,
    GREEN,
    MAP,
    ROAD,
    WATER,
    Dice,
    aerial_view,
    build_town,
    draw_city,
    street_map,
)
from cyclegan.data.sample.png import encode
from cyclegan.data.version import directory_md5
from cyclegan.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("city")
    draw_city(folder)
    return folder


def test_the_city_drawn_again_is_the_version_of_data_dvc(city: Path) -> None:
    (tracked,) = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"]
    files = [path for path in city.rglob("*") if path.is_file()]
    assert directory_md5(city) == tracked["md5"]
    assert (len(files), sum(path.stat().st_size for path in files)) == (tracked["nfiles"], tracked["size"])


def test_counts_and_size(city: Path) -> None:
    counts = {folder.name: len(list(folder.iterdir())) for folder in city.iterdir()}
    assert counts == {"trainA": 100, "trainB": 100, "testA": 32, "testB": 32}
    assert sum(path.stat().st_size for path in city.rglob("*.png")) < 2_000_000


def test_training_is_unpaired_and_the_test_sets_are_pairs(city: Path) -> None:
    names = {folder.name: {path.name for path in folder.iterdir()} for folder in city.iterdir()}
    assert names["testA"] == names["testB"]
    assert not names["trainA"] & names["trainB"]
    assert not (names["trainA"] | names["trainB"]) & names["testA"]


def test_pairs_show_the_same_town(city: Path) -> None:
    """Where the map says water, road or green the view has that colour, shadows and trees aside."""
    for path in sorted((city / "testA").iterdir())[:8]:
        view, plan = (
            np.asarray(Image.open(city / folder / path.name).convert("RGB")).astype(int)
            for folder in ("testA", "testB")
        )
        for kind in (WATER, ROAD):
            inside = (plan == MAP[kind]).all(axis=-1)
            if inside.sum() < 200:
                continue
            typical = np.median(view[inside], axis=0)
            assert np.abs(typical - AERIAL[kind]).max() < 16, (path.name, kind, typical)
        green = (plan == MAP[GREEN]).all(axis=-1)
        if green.sum() >= 200:
            red, middle, blue = np.median(view[green], axis=0)
            assert middle > red > blue


def test_both_domains_hold_the_classes_equally_often() -> None:
    """Otherwise a translation that keeps the towns could not look right in the other domain."""
    towns = [build_town(Dice(0, town), 32) for town in range(200)]
    share = np.array([np.bincount(town.kind.ravel(), minlength=5) / town.kind.size for town in towns])
    first, second = share[:100].mean(axis=0), share[100:].mean(axis=0)
    assert (np.abs(first - second) < 0.05).all(), (first, second)
    assert (share.mean(axis=0) > 0.05).all(), share.mean(axis=0)


@pytest.mark.parametrize("size", [32, 100, 256])
def test_any_size_shows_the_same_town(size: int, tmp_path: Path) -> None:
    draw_city(tmp_path, train=1, test=1, size=size, seed=3)
    drawn = Image.open(tmp_path / "testB" / "0002.png").convert("RGB")
    assert drawn.size == (size, size)
    reference = street_map(build_town(Dice(3, 2), 128)).astype(np.uint8)
    difference = np.asarray(drawn.resize((32, 32), Image.Resampling.BOX)).astype(int) - np.asarray(
        Image.fromarray(reference).resize((32, 32), Image.Resampling.BOX)
    )
    assert np.abs(difference).mean() < 8


def test_a_seed_is_a_city() -> None:
    views = [aerial_view(build_town(Dice(seed, 0), 64), Dice(9)) for seed in (0, 0, 1)]
    assert (views[0] == views[1]).all()
    assert (views[0] != views[2]).mean() > 0.5


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": 0}, {"size": 31}, {"size": 4000}])
def test_sizes_and_counts_out_of_range_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="city"):
        draw_city(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(1, 4), (5, 7), (128, 128), (64, 300), (90, 2000)])
@pytest.mark.parametrize("colours", [1, 2, 40, 256])
@pytest.mark.parametrize("run", [1, 9])
def test_pillow_reads_every_png_back(shape: tuple[int, int], colours: int, run: int) -> None:
    random = np.random.default_rng(colours + run)
    palette = random.integers(0, 256, (colours, 3)).astype(np.uint8)
    indices = random.integers(0, colours, (shape[0] // run + 1, shape[1] // run + 1))
    image = palette[indices.repeat(run, axis=0).repeat(run, axis=1)[: shape[0], : shape[1]]]
    assert (np.asarray(Image.open(io.BytesIO(encode(image))).convert("RGB")) == image).all()


def test_a_skewed_histogram_keeps_within_deflates_code_lengths() -> None:
    """Counts like the Fibonacci numbers make the deepest Huffman tree there is."""
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    pixels = np.repeat(np.arange(24), counts)
    pixels = np.random.default_rng(0).permutation(np.pad(pixels, (0, -len(pixels) % 256))).reshape(-1, 256)
    image = np.stack([pixels * 10, pixels, 255 - pixels], axis=-1)
    assert (np.asarray(Image.open(io.BytesIO(encode(image))).convert("RGB")) == image).all()


def test_the_png_encoder_refuses_what_it_cannot_hold() -> None:
    many = np.stack([np.arange(257) % 256, np.arange(257) // 256, np.zeros(257, int)], axis=-1)
    with pytest.raises(ValueError, match="257 colours"):
        encode(many[None])
    with pytest.raises(ValueError, match="3 pixels wide"):
        encode(np.zeros((8, 3, 3), np.uint8))
