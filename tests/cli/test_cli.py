"""The command as its users type it, wrongly too: each answer is one clear sentence and the right code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image


def cyclegan(
    *args: str | Path, cwd: Path, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cyclegan", *map(str, args)],
        cwd=cwd,
        env={**os.environ, "CYCLEGAN_TRACKING": "off", "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, done.stderr


def picture(path: Path, size: tuple[int, int] = (40, 40), shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).rotate(shade).convert("RGB").save(path)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for domain in ("trainA", "trainB", "testA", "testB"):
        for i in range(3):
            picture(tmp_path / "raw" / domain / f"{i}.png", shade=7 * i + len(domain))
    return tmp_path / "raw"


def test_the_overview_names_every_command(tmp_path: Path) -> None:
    from cyclegan.cli.commands import COMMANDS

    shown = cyclegan("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)


def test_a_commands_help_names_its_flags(tmp_path: Path) -> None:
    shown = cyclegan("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "--lambda-cycle" in shown.stdout
    assert "Weight of the cycle loss" in shown.stdout
    assert "--preset" in shown.stdout
    assert "--params" in shown.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["trian"], 2, ["trian", "did you mean 'train'"]),
        (["preprocess", "--raw", "nowhere"], 2, ["nowhere"]),
        (["train", "--prepared", "nowhere"], 2, ["nowhere", "preprocess"]),
        (["evaluate", "--prepared", "nowhere"], 2, ["nowhere", "preprocess"]),
        (["register", "--model", "nowhere"], 2, ["nowhere"]),
        (["fetch", "nowhere.zip"], 2, ["nowhere.zip"]),
        (["train", "--batch-size", "0"], 2, ["batch_size"]),
        (["train", "--params", "absent.yaml"], 2, ["absent.yaml"]),
        (["train", "--params"], 2, ["--params"]),
        (["import-weights", "--AtoB", "a.pth"], 2, ["--AtoB", "--BtoA"]),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path: Path, args: list[str], code: int, words: list[str]) -> None:
    one_sentence(cyclegan(*args, cwd=tmp_path), code, *words)


@pytest.mark.parametrize(
    ("args", "word"),
    [(["--epoch", "3"], "--epochs"), (["--epochs", "many"], "many"), (["--decay", "x"], "x")],
)
def test_a_wrong_flag_is_explained(tmp_path: Path, args: list[str], word: str) -> None:
    done = cyclegan("train", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_parameter_file_sets_the_defaults_and_flags_win(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 7, lr: 3e-4}\n")
    shown = cyclegan("train", "--params", "params.yaml", "--help", cwd=tmp_path).stdout
    assert "(default: 7)" in shown
    assert "(default: 0.0003)" in shown
    params.write_text("train: {epohcs: 7}\n")
    one_sentence(
        cyclegan("train", "--params", "params.yaml", cwd=tmp_path), 2, "epohcs", "did you mean 'epochs'"
    )


def test_a_folder_with_one_text_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no picture")
    one_sentence(cyclegan("fetch", "texts", "--out", "data", cwd=tmp_path), 2, "texts")
    assert not (tmp_path / "data").exists()


def test_an_empty_domain_is_named(tmp_path: Path, raw: Path) -> None:
    for file in (raw / "trainB").iterdir():
        file.unlink()
    one_sentence(cyclegan("preprocess", "--raw", raw, "--out", "prepared", cwd=tmp_path), 2, "trainB")
    assert not (tmp_path / "prepared").exists()


def test_a_size_that_the_network_cannot_take_is_named(tmp_path: Path, raw: Path) -> None:
    assert (
        cyclegan("preprocess", "--raw", raw, "--out", "p", "--load-size", "30", cwd=tmp_path).returncode == 0
    )
    done = cyclegan("train", "--prepared", "p", "--generator", "resnet", "--crop-size", "0", cwd=tmp_path)
    one_sentence(done, 2, "30", "multiples of 4")


def test_a_dead_tracking_server_is_found_in_seconds(tmp_path: Path, raw: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert (
        cyclegan("preprocess", "--raw", raw, "--out", "p", "--load-size", "32", cwd=tmp_path).returncode == 0
    )
    flags = ("--prepared", "p", "--generator", "resnet", "--crop-size", "0", "--width", "4")
    done = cyclegan(
        "train", *flags, cwd=tmp_path, timeout=60, CYCLEGAN_TRACKING="on", MLFLOW_TRACKING_URI=uri
    )
    one_sentence(done, 1, uri)
    assert not (tmp_path / "outputs" / "model").exists()


def test_missing_pretrained_weights_say_what_to_do(tmp_path: Path, raw: Path) -> None:
    assert (
        cyclegan("preprocess", "--raw", raw, "--out", "p", "--load-size", "32", cwd=tmp_path).returncode == 0
    )
    flags = ("--prepared", "p", "--generator", "vgg_unet", "--crop-size", "0")
    done = cyclegan("train", *flags, "--weights", "absent.pth", cwd=tmp_path)
    one_sentence(done, 2, "absent.pth")
    # an address that refuses connections stands for a machine without a network
    done = cyclegan("train", *flags, "--weights", "http://127.0.0.1:9/vgg16.pth", cwd=tmp_path)
    one_sentence(done, 1, "127.0.0.1:9", "--weights")
