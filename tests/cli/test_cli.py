"""The command as its users type it, wrongly too: each answer is one clear sentence and the right code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ports import free_port


@pytest.fixture
def no_torch(tmp_path: Path) -> Path:
    """A folder whose `torch` ends the process: before it on PYTHONPATH, wrong usage must be found without."""
    (tmp_path / "no torch").mkdir()
    (tmp_path / "no torch" / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    return tmp_path / "no torch"


Command = Callable[..., subprocess.CompletedProcess[str]]


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


def test_the_overview_names_every_command(cyclegan: Command, tmp_path: Path) -> None:
    from cyclegan.cli.commands import COMMANDS

    shown = cyclegan("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)


def test_a_commands_help_names_its_flags(cyclegan: Command, tmp_path: Path) -> None:
    shown = cyclegan("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "--lambda-cycle" in shown.stdout
    assert "Weight of the cycle loss" in shown.stdout
    assert "--preset" in shown.stdout
    assert "--params" in shown.stdout


# Wrong usage is answered before torch is imported: what is typed, the code, and what the sentence must say.
WRONG: list[tuple[str, int, list[str]]] = [
    ("trian", 2, ["trian", "did you mean 'train'"]),
    ("frobnicate", 2, ["frobnicate", "cyclegan --help"]),
    ("preprocess --raw nowhere", 2, ["nowhere"]),
    ("preprocess nowhere", 2, ["nowhere"]),
    ("preprocess", 2, ["cyclegan fetch"]),
    ("train --prepared nowhere", 2, ["nowhere", "preprocess"]),
    ("train runs/nowhere", 2, ["runs/nowhere", "preprocess"]),
    ("train", 2, ["runs/", "preprocess"]),
    ("evaluate --prepared nowhere", 2, ["nowhere", "preprocess"]),
    ("evaluate p --model nowhere", 2, ["nowhere", "train"]),
    ("evaluate", 2, ["runs/", "train"]),
    ("register --model nowhere", 2, ["nowhere"]),
    ("register", 2, ["runs/", "evaluate"]),
    ("inspect", 2, ["cyclegan fetch"]),
    ("fetch nowhere.zip", 2, ["nowhere.zip"]),
    ("fetch mapz", 2, ["mapz", "did you mean 'maps'?"]),
    ("fetch --a raw/trainA", 2, ["belong together"]),
    ("train --batch-size 0", 2, ["cyclegan train: batch_size"]),
    ("train --params absent.yaml", 2, ["absent.yaml"]),
    ("train --params", 2, ["--params"]),
    ("train --preset", 2, ["--preset", "laptop"]),
    ("train --preset --epochs 3", 2, ["--preset needs a value"]),
    ("train --preset laptop --preset=maps", 2, ["--preset is given 2 times"]),
    ("train --preset labtop", 2, ["labtop", "did you mean 'laptop'"]),
    ("train --preset=qqqq", 2, ["qqqq", "cyclegan presets"]),
    ("train --params section.yaml", 2, ["training", "did you mean 'train'"]),
    ("train --params field.yaml", 2, ["epohcs", "did you mean 'epochs'"]),
    ("train --params value.yaml", 2, ["Section 'train' of value.yaml", "batch_size"]),
    ("train --params list.yaml", 2, ["list.yaml", "mapping of sections"]),
    ("train p --crop-size 20 --generator vgg_unet", 2, ["multiples of 32", "20×20"]),
    ("train p --crop-size 64 --generator resnet", 2, ["crop_size = 64", "larger"]),
    ("train p --crop-size 0 --weights absent.pth", 2, ["absent.pth", "--weights"]),
    ("evaluate p --weights absent.pth", 2, ["absent.pth"]),
    ("evaluate p --champion raw", 2, ["champion = raw", "no scores"]),
    ("run --a raw/trainA", 2, ["belong together"]),
    ("run raw --train.crop-size 512", 2, ["crop_size = 512", "load_size"]),
    ("run raw --evaluate.weights absent.pth", 2, ["absent.pth"]),
    ("import-weights", 2, ["--AtoB", "--BtoA", "or one"]),
    ("import-weights --AtoB a.pth", 2, ["a.pth", "--AtoB"]),
    ("train p --samples 0", 2, ["samples = 0", "positive"]),
    ("train p --model raw", 2, ["raw holds other files", "name a new folder"]),
    ("train p --model p", 2, ["p holds other files ('model')"]),
    ("train p --model value.yaml", 2, ["value.yaml is a file"]),
    ("train p --model value.yaml/model", 2, ["value.yaml is a file"]),
    ("import-weights --AtoB value.yaml --out raw", 2, ["raw holds other files"]),
    ("inspect raw --report raw", 2, ["raw is a folder: name a file"]),
    ("run raw --out taken --train.epochs 1", 2, ["taken/model holds other files"]),
    ("train p --init nowhere", 2, ["no model in nowhere"]),
    ("train p --init a.pth,b.pth", 2, ["a.pth", "--init"]),
    ("train p --init p/model", 2, ["p/model", "generator is missing"]),
    ("train p --init c/0000000009-0123456789abcdef.safetensors", 2, ["no file c/0000000009", "--init"]),
    ("train p --diffaugment colour", 2, ["'colour'", "color, translation, cutout"]),
    ("train p --crop-size 0 --crop-width 8", 2, ["crop_width = 8", "crop_size"]),
    ("train p --crop-size 16 --crop-width 64 --generator resnet", 2, ["16×64", "larger", "32×32"]),
    ("train p --lr nan", 2, ["lr = nan", "finite"]),
    ("train p --patience 2", 2, ["patience needs evaluate_every"]),
    ("train p --batch-size 3 --accumulation-steps 2", 2, ["accumulation_steps = 2", "divide batch_size"]),
    ("preprocess raw --load-size 0", 2, ["load_size = 0", "at least 1"]),
    ("preprocess raw --load-width 64 --aspect keep", 2, ["load_width = 64", "not resized"]),
    ("preprocess raw --percentile 60", 2, ["percentile = 60", "below 50"]),
    ("preprocess raw --white 4095 --percentile 1", 2, ["percentile = 1", "black and white"]),
    ("preprocess raw --raw p", 2, ["Both raw and p", "pass one"]),
    ("preprocess raw --white 3 --black 5", 2, ["white = 3", "black = 5"]),
    ("fetch maps --a raw/trainA --b raw/trainB", 2, ["Either maps or a and b", "leave out"]),
    ("run raw --a raw/trainA --b raw/trainB", 2, ["Either raw or a and b"]),
    ("run raw --fetch.a raw/trainA --fetch.b raw/trainB", 2, ["Either raw or a and b"]),
    ("init new --source raw --a raw/trainA --b raw/trainB", 2, ["either --source or --a and --b"]),
    ("fetch raw --test-share 1", 2, ["test_share = 1.0", "between 0 and 1"]),
    ("fetch raw --sha256 abc", 2, ["sha256 = 'abc'", "64 hexadecimal digits"]),
    ("fetch raw --version 12", 2, ["version = '12'", "data.dvc"]),
    ("fetch synthetic:village", 2, ["'village'", "synthetic:city"]),
    ("fetch synthetic:city?trees=3", 2, ["trees=3", "train, test, size or seed"]),
    ("evaluate p --max-images 1", 2, ["max_images = 1", "at least 2"]),
    ("inspect nowhere", 2, ["nowhere"]),
    ("inspect raw --samples -1", 2, ["samples = -1"]),
    ("init new", 2, ["--a photos/", "--source"]),
    ("ui --port 70000", 2, ["port = 70000", "65535"]),
]


@pytest.mark.parametrize(("line", "code", "words"), WRONG, ids=[line for line, *_ in WRONG])
def test_wrong_usage_is_one_sentence_said_before_torch_is_imported(
    cyclegan: Command, prepared: Path, no_torch: Path, line: str, code: int, words: list[str]
) -> None:
    one_sentence(cyclegan(*line.split(), cwd=prepared, PYTHONPATH=str(no_torch)), code, *words)


@pytest.fixture
def prepared(tmp_path: Path, raw: Path) -> Path:
    """A folder with images in raw, a prepared folder and a seeming model in p, and broken parameter files."""
    counts = {"trainA": 3, "trainB": 3, "testA": 2, "testB": 2}
    (tmp_path / "p" / "prepared").mkdir(parents=True)
    (tmp_path / "p" / "model").mkdir()
    (tmp_path / "p" / "model" / "config.json").write_text("{}")
    for domain, count in counts.items():
        np.save(tmp_path / "p" / "prepared" / f"{domain}.npy", np.zeros((count, 32, 32, 3), np.uint8))
    domains = {d: {"count": n, "names": [f"{i}.png" for i in range(n)]} for d, n in counts.items()}
    facts = {"uri": "mine", "version": "0.dir", "paired": False, "height": 32, "width": 32}
    (tmp_path / "p" / "prepared" / "manifest.json").write_text(json.dumps({**facts, "domains": domains}))
    (tmp_path / "taken" / "model").mkdir(parents=True)
    (tmp_path / "taken" / "model" / "holiday.jpg").touch()
    (tmp_path / "section.yaml").write_text("training: {epochs: 7}\n")
    (tmp_path / "field.yaml").write_text("train: {epohcs: 7}\n")
    (tmp_path / "value.yaml").write_text("train: {batch_size: 0}\n")
    (tmp_path / "list.yaml").write_text("- train\n")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "word"),
    [(["--epoch", "3"], "--epochs"), (["--epochs", "many"], "many"), (["--decay", "x"], "x")],
)
def test_a_wrong_flag_is_explained(cyclegan: Command, tmp_path: Path, args: list[str], word: str) -> None:
    done = cyclegan("train", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_parameter_file_sets_the_defaults_and_flags_win(cyclegan: Command, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 7, lr: 3e-4}\n")
    shown = cyclegan("train", "--params", "params.yaml", "--help", cwd=tmp_path).stdout
    assert "(default: 7)" in shown
    assert "(default: 0.0003)" in shown
    shown = cyclegan("train", "--preset", "maps", "--params", "params.yaml", "--help", cwd=tmp_path).stdout
    assert "(default: 7)" in shown
    assert "(default: 0.0003)" in shown
    assert "{vgg_unet,resnet,unet}" in shown
    assert "(default: resnet)" in shown


@pytest.mark.parametrize("defaults", ["--preset sample", "--preset maps", "--params mine.yaml", ""])
def test_a_and_b_take_the_place_of_a_files_source(
    cyclegan: Command, tmp_path: Path, raw: Path, defaults: str
) -> None:
    (tmp_path / "mine.yaml").write_text("fetch: {source: raw}\n")
    words = ["fetch", "--a", "raw/trainA", "--b", "raw/trainB", *defaults.split()]
    done = cyclegan(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "datasets" / "trainA-trainB" / "source.json").is_file()


def test_a_folder_with_one_text_file_is_no_dataset(cyclegan: Command, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no picture")
    one_sentence(cyclegan("fetch", "texts", "--out", "data", cwd=tmp_path), 2, "texts")
    assert not (tmp_path / "data").exists()


def test_an_empty_domain_is_named(cyclegan: Command, tmp_path: Path, raw: Path) -> None:
    for file in (raw / "trainB").iterdir():
        file.unlink()
    one_sentence(cyclegan("preprocess", "--raw", raw, "--out", "prepared", cwd=tmp_path), 2, "trainB")
    assert not (tmp_path / "prepared").exists()


def test_a_dead_tracking_server_is_found_before_torch_is_imported(
    cyclegan: Command, prepared: Path, no_torch: Path
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    done = cyclegan(
        *("train", "p", "--generator", "resnet", "--crop-size", "0", "--width", "4"),
        cwd=prepared,
        CYCLEGAN_TRACKING="on",
        MLFLOW_TRACKING_URI=uri,
        PYTHONPATH=str(no_torch),
    )
    one_sentence(done, 1, uri)
    assert not (prepared / "p" / "checkpoints").exists()


def test_presets_are_listed_with_purpose_and_cost(cyclegan: Command, tmp_path: Path, no_torch: Path) -> None:
    shown = cyclegan("presets", cwd=tmp_path, PYTHONPATH=str(no_torch))
    assert shown.returncode == 0
    assert "laptop-photos\n" in shown.stdout
    assert "1000 images a domain" in shown.stdout


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "cyclegan", "presets"]
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as it:
        assert it.stdout
        it.stdout.close()  # before anything is written
        assert it.stderr
        said = it.stderr.read().decode()
    assert said == ""


def test_run_outside_the_repository_takes_a_preset_that_fits_the_data(
    cyclegan: Command, tmp_path: Path
) -> None:
    """The sample at a few updates; everything lands in runs/city, the summary names it."""
    few = ("--train.epochs", "1", "--train.decay-epochs", "0", "--train.width", "4", "--train.threads", "1")
    source = "synthetic:city?train=6&test=3&size=64"
    done = cyclegan("run", source, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "preset 'sample'" in done.stderr
    report = tmp_path / "runs" / "city" / "scores" / "report.html"
    assert report.is_file()
    assert "runs/city/scores/report.html" in done.stdout
    assert "cyclegan ui" not in done.stdout  # this run has no tracking
    config = json.loads((tmp_path / "runs" / "city" / "model" / "config.json").read_text())
    assert config["generator"]["blocks"] == 3, "the preset's value"
    assert config["generator"]["width"] == 4, "the flag's"


def test_missing_pretrained_weights_say_what_to_do(cyclegan: Command, tmp_path: Path, raw: Path) -> None:
    assert (
        cyclegan("preprocess", "--raw", raw, "--out", "p", "--load-size", "32", cwd=tmp_path).returncode == 0
    )
    flags = ("--prepared", "p", "--generator", "vgg_unet", "--crop-size", "0")
    done = cyclegan("train", *flags, "--weights", "absent.pth", cwd=tmp_path)
    one_sentence(done, 2, "absent.pth")
    # an address that refuses connections stands for a machine without a network
    done = cyclegan("train", *flags, "--weights", "http://127.0.0.1:9/vgg16.pth", cwd=tmp_path)
    one_sentence(done, 1, "127.0.0.1:9", "--weights")
