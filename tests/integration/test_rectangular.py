"""Video frames from files to translations without ever being square."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.evaluate import evaluate
from cyclegan.inference.translator import load
from cyclegan.io.files import read_json
from cyclegan.training.config import TrainConfig
from cyclegan.training.train import train

HEIGHT, WIDTH = 36, 64


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A few frames of 72×128 pixels: A in warm colours, B in cold ones."""
    chance = np.random.default_rng(0)
    for subset in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "raw" / subset).mkdir(parents=True)
        for number in range(3):
            pixels = chance.integers(0, 256, (9, 16, 3), dtype=np.uint8)
            pixels[..., 2 if subset.endswith("A") else 0] //= 4
            whole = Image.fromarray(pixels).resize((128, 72), Image.Resampling.BICUBIC)
            whole.save(tmp_path / "raw" / subset / f"{number}.png")
    return tmp_path / "raw"


def test_frames_stay_oblong_from_files_to_translations(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    caplog.set_level(logging.WARNING)
    prepared, model, scores = (tmp_path / name for name in ("prepared", "model", "scores"))
    preprocess(frames, prepared, PreprocessConfig(load_size=HEIGHT, load_width=WIDTH, workers=1))
    config = TrainConfig(
        generator="resnet", blocks=1, width=4, discriminator="patchgan", discriminator_layers=1,
        discriminator_width=4, crop_size=24, crop_width=40, epochs=1, decay_epochs=0, threads=1,
        diffaugment="color,translation,cutout", precision="fp32",
    )  # fmt: skip
    train(prepared, model, config, checkpoints=str(tmp_path / "checkpoints"))
    assert read_json(model / "config.json")["image_size"] == [HEIGHT, WIDTH]
    evaluate(prepared, model, scores, EvaluateConfig(features="random", resamples=0))
    assert read_json(scores / "evaluation.json")["protocol"]["image_size"].startswith(f"{HEIGHT}x{WIDTH},")
    translator = load(model, engine="torch", precision="fp32")
    assert translator(frames / "testA" / "0.png").size == (128, 72)
