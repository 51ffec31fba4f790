"""A project made of two folders: its parameters fit, and `cyclegan run` and `dvc repro` work in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from cyclegan.cli.commands import SECTIONS
from cyclegan.cli.init import Facts, choose, init
from cyclegan.cli.params import load_section
from cyclegan.cli.preflight import check_sizes
from cyclegan.data.config import FetchConfig
from cyclegan.data.sample.city import draw_city
from cyclegan.errors import UsageError
from cyclegan.training.config import TrainConfig


def facts(images: int, side: int = 600, gpu: bool = False) -> Facts:
    return Facts({"trainA": images, "trainB": images // 2, "testA": 9, "testB": 9}, side, gpu)


@pytest.fixture
def mine(tmp_path: Path) -> FetchConfig:
    draw_city(tmp_path / "drawn", train=12, test=2, size=50, seed=9)
    return FetchConfig(a=str(tmp_path / "drawn" / "trainA"), b=str(tmp_path / "drawn" / "trainB"))


@pytest.mark.parametrize(
    ("given", "epochs", "load", "crop"),
    [
        (facts(1000), 15, 256, 112),
        (facts(6000), 2, 256, 112),
        (facts(40), 100, 256, 112),  # the most
        (facts(10**6), 1, 256, 112),
        (facts(1000, side=107), 15, 104, 104),
        (facts(1000, side=200), 15, 200, 112),
        (facts(1000, side=20), 15, 20, 20),
    ],
)
def test_parameters_follow_from_the_images(given: Facts, epochs: int, load: int, crop: int) -> None:
    sections, cost = choose(given, "laptop-photos", "mine")
    train = TrainConfig(**sections["train"])
    assert (train.epochs, train.decay_epochs) == (epochs, epochs)
    assert (sections["preprocess"]["load_size"], train.crop_size) == (load, crop)
    check_sizes(train, load, load)
    assert f"{max(given.counts.values()) * 2 * epochs:,} updates" in cost


def test_a_gpu_gets_the_presets_own_schedule() -> None:
    sections, cost = choose(facts(1000, gpu=True), "monet2photo", "mine")
    assert (sections["train"]["epochs"], sections["train"]["crop_size"]) == (100, 256)
    assert "200,000 updates" in cost


def test_the_project_is_whole(mine: FetchConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    init(folder, mine, "")
    assert "images" in capsys.readouterr().out
    assert len(list((folder / "data" / "testA").iterdir())) == 2
    assert (folder / "inspect.html").is_file()
    assert "trainA 10" in (folder / "README.md").read_text()
    for config, section in SECTIONS.items():
        load_section(folder / "params.yaml", section, config)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert (params["register"]["name"], params["train"]["crop_size"]) == ("mine", 48)
    with pytest.raises(UsageError, match="not empty"):
        init(folder, mine, "")


def test_sizes_are_read_of_whatever_preprocess_reads(tmp_path: Path) -> None:
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for number in range(12):
            values = np.full((40, 48, 3), number / 12)
            tifffile.imwrite(tmp_path / domain / f"{number}.tif", values, photometric="rgb")
    init(tmp_path / "deep", FetchConfig(a=str(tmp_path / "a"), b=str(tmp_path / "b")), "")
    params = yaml.safe_load((tmp_path / "deep" / "params.yaml").read_text())
    assert params["preprocess"]["load_size"] == 40


def test_a_failed_init_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        init(tmp_path / "mine", FetchConfig(a=str(tmp_path), b=str(tmp_path)), "")
    assert not (tmp_path / "mine").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        init(tmp_path / "empty", FetchConfig(a=str(tmp_path / "x"), b=str(tmp_path)), "")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
def test_dvc_and_run_work_in_it(mine: FetchConfig, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    init(folder, mine, "")
    small = {"blocks": 1, "width": 4, "discriminator_width": 4, "epochs": 1, "decay_epochs": 0, "threads": 1}
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"] |= {**small, "batch_size": 5, "crop_size": 24}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    env = {**os.environ, "CYCLEGAN_TRACKING": "off", "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}

    def call(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = call("cyclegan", "run")
    assert "Parameters from params.yaml" in said
    call("dvc", "repro")
    models = [folder / "runs" / "data" / "model", folder / "outputs" / "model"]
    first, second = ((model / "AtoB.safetensors").read_bytes() for model in models)
    assert first == second, "the same weights either way"
    assert "up to date" in call("dvc", "status")
    assert json.loads((folder / "outputs" / "registration.json").read_text())["name"] == "mine"
