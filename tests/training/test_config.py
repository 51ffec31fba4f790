"""Parameters: presets that load, values that are refused, and what schedule and buffer make of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import cyclegan
from cyclegan.cli.params import load_section
from cyclegan.data.config import PreprocessConfig
from cyclegan.errors import UsageError
from cyclegan.runtime.cpu import resolve_threads
from cyclegan.runtime.device import resolve_device, resolve_precision
from cyclegan.training.config import TrainConfig
from cyclegan.training.progress.diagnostics import (
    complaints,
    correlation,
    diversity,
    first_non_finite,
    inversions,
)
from cyclegan.training.updates.image_pool import ImagePool, lane_slots
from cyclegan.training.updates.schedule import Schedule

PRESETS = sorted((Path(cyclegan.__file__).parent / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_load_and_their_sizes_fit(preset: Path) -> None:
    train = load_section(preset, "train", TrainConfig)
    load_size = load_section(preset, "preprocess", PreprocessConfig).load_size
    size = train.crop_size or load_size
    # The papers load 286, crop 256 and test at 256; otherwise the scale of tests is that of training.
    assert train.image_size == (256 if (load_size, train.crop_size) == (286, 256) else 0)
    assert size % {"vgg_unet": 32, "resnet": 4, "unet": 2**train.depth}[train.generator] == 0


def test_the_papers_preset_and_the_authors() -> None:
    by_name = {path.stem: load_section(path, "train", TrainConfig) for path in PRESETS}
    paper, author = by_name["maps"], by_name["vgg_unet"]
    assert (paper.generator, paper.batch_size, paper.pool_size) == ("resnet", 1, 50)
    assert (paper.epochs, paper.decay_epochs, paper.crop_size) == (100, 100, 256)
    assert (author.generator, author.batch_size, author.pool_size, author.norm) == (
        "vgg_unet",
        4,
        0,
        "layer",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0 must be positive"),
        ({"epochs": 0, "decay_epochs": 0}, "cannot both be 0"),
        ({"ema": 1.0}, r"must be in \[0, 1\)"),
        ({"batch_size": 4, "accumulation_steps": 3}, "must divide batch_size"),
        ({"patience": 2}, "patience needs evaluate_every"),
        ({"evaluate_weights_sha256": "abc"}, "evaluate_weights_sha256 must be 64"),
        ({"evaluate_features": "random", "evaluate_weights": "x.pth"}, "evaluate_features = random takes no"),
        ({"lambda_cycle": -1.0}, "must not be negative"),
        ({"crop_size": 0, "crop_width": 64}, "crop_width = 64 needs crop_size"),
        ({"diffaugment": "colour"}, "'colour' is not one of color, translation, cutout"),
        ({"diffaugment": "color,cutout,color"}, "names one of them twice"),
        ({"discriminator": "perceptual", "weights": "none"}, "perceptual needs those of VGG-16"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**fields)


def test_the_rate_falls_as_in_the_paper() -> None:
    schedule = Schedule(100, 100)
    assert [schedule.factor(e) for e in (0, 99)] == [1.0, 1.0]
    # The reference implementation's rule: 1 − max(0, e + 1 − 100) / 101.
    assert all(schedule.factor(e) == pytest.approx(1 - (e + 1 - 100) / 101) for e in range(100, 200))
    assert [schedule.factor(e) for e in (200, 201, 500)] == [0.0] * 3
    cosine = [Schedule(2, 8, "cosine").factor(e) for e in range(11)]
    expected = [1, 1, *((1 + math.cos(math.pi * k / 9)) / 2 for k in range(1, 9)), 0]
    assert cosine == pytest.approx(expected)
    assert cosine[9] > 0 == cosine[10]
    assert Schedule(5, 0).agrees(Schedule(9, 9), 5)
    assert not Schedule(5, 1).agrees(Schedule(9, 9), 6)


def test_the_buffer_gives_back_what_it_was_given() -> None:
    assert lane_slots(50, 1) == 50
    assert lane_slots(50, 4) == 13
    buffer = ImagePool(2, 2, 4, 4, torch.device("cpu"))

    def rows(*triples: tuple[int, int, int]) -> torch.Tensor:
        return torch.tensor(triples)

    def images(*values: float) -> torch.Tensor:
        return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4)

    def shown(fakes: torch.Tensor, choice: torch.Tensor) -> list[float]:
        return buffer.exchange(fakes, choice)[:, 0, 0, 0].tolist()

    assert shown(images(1, 2), rows((0, 1, 0), (0, 1, 0))) == [1, 2]
    assert shown(images(3, 4), rows((1, 1, 0), (1, 1, 0))) == [3, 4]
    assert shown(images(5, 6), rows((0, 1, 1), (1, 0, 0))) == [1, 6]  # 5 takes the place of 1
    assert shown(images(7, 8), rows((0, 1, 1), (1, 1, 1))) == [5, 4]
    assert shown(images(9, 9), rows((0, 1, 1), (1, 1, 1))) == [7, 8]
    # as a network under bf16 returns them
    low = buffer.exchange(images(1, 3).bfloat16(), rows((0, 1, 0), (0, 1, 1)))
    assert (low.dtype, low[:, 0, 0, 0].tolist()) == (torch.float32, [1, 2])


def test_device_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    for wrong in ("gpu", "xpu", "cuda:99"):
        with pytest.raises(UsageError, match=r"device|GPU"):
            resolve_device(wrong)
    assert resolve_precision("fp32", torch.device("cpu")) is torch.float32
    assert resolve_precision("bf16", torch.device("cpu")) is torch.bfloat16
    assert resolve_threads(3) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert resolve_threads(0) == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert resolve_threads(0) >= 1


def test_signs_of_trouble_are_seen() -> None:
    rows = torch.zeros(4, 3)
    assert first_non_finite(rows) is None
    rows[2, 1] = float("nan")
    assert first_non_finite(rows) == 2
    images = torch.rand(3, 3, 8, 8)
    assert correlation(images, images) == pytest.approx(1, abs=1e-5)
    assert correlation(images, -images) == pytest.approx(-1, abs=1e-5)
    assert inversions("AtoB", correlation(images, 1 - images), 1.0)[0].startswith("AtoB inverts")
    assert diversity(images[:1].expand(3, -1, -1, -1), images) == 0
    assert inversions("AtoB", 1.0, 0.0)
    healthy = {"D_A": 0.2, "D_B": 0.2, "real_A": 0.7, "fake_A": 0.3, "real_B": 0.7, "fake_B": 0.3}
    assert complaints(healthy) == []
    assert len(complaints({**healthy, "D_A": 0.001, "fake_B": 0.7})) == 2
