"""What a later step needs is checked before anything is spent, and without torch."""

from __future__ import annotations

import io
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan.cli import offer_weights, places, preflight
from cyclegan.data.layout.files import SUBSETS
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.io.files import write_json
from cyclegan.networks import build_discriminator, build_generator
from cyclegan.training.config import TrainConfig

SMALL = TrainConfig(generator="resnet", blocks=1, width=4, discriminator_width=4, crop_size=0)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    counts = {"trainA": 3, "trainB": 3, "testA": 2, "testB": 1}
    for domain in SUBSETS:
        np.save(tmp_path / f"{domain}.npy", np.zeros((counts[domain], 32, 32, 3), np.uint8))
    domains = {d: {"count": n, "names": [f"{i}.png" for i in range(n)]} for d, n in counts.items()}
    facts = {"uri": "mine", "version": "0.dir", "paired": False, "height": 32, "width": 32}
    write_json(tmp_path / "manifest.json", {**facts, "domains": domains})
    return tmp_path


@pytest.mark.parametrize("generator", ["vgg_unet", "resnet", "unet"])
def test_sizes_are_checked_as_the_networks_would(generator: str) -> None:
    config = TrainConfig(generator=generator, depth=5, width=4, crop_size=0)  # type: ignore[arg-type]
    multiple = build_generator(**config.generator_options()).multiple
    assert preflight.size_multiple(config) == multiple
    preflight.check_sizes(config, 16 * multiple, 8 * multiple)
    with pytest.raises(UsageError, match=f"multiples of {multiple}"):
        preflight.check_sizes(config, 2 * multiple, multiple + 2)
    with pytest.raises(UsageError, match="larger than the prepared images"):
        preflight.check_sizes(replace(config, crop_size=2 * multiple), 2 * multiple, multiple)


@pytest.mark.parametrize("discriminator", ["strided", "patchgan", "perceptual"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_least_size_is_that_of_the_discriminators(discriminator: str, layers: int) -> None:
    config = TrainConfig(
        generator="resnet",
        discriminator=discriminator,  # type: ignore[arg-type]
        discriminator_layers=layers,
        discriminator_width=2,
    )
    network = build_discriminator(**config.discriminator_options()).train()
    least = preflight.least_side(config)
    network(torch.zeros(1, 3, least, least))
    with pytest.raises((ValueError, RuntimeError)):
        network(torch.zeros(1, 3, least - 1, least - 1))
    size = 4 * (-(-least // 4))
    preflight.check_sizes(replace(config, crop_size=0), size, size)
    with pytest.raises(UsageError, match="discriminator needs images"):
        preflight.check_sizes(replace(config, crop_size=4), size, size)


def test_too_few_test_images_are_found_before_training(prepared: Path) -> None:
    manifest = preflight.check_train(prepared, SMALL, str(prepared / "checkpoints"))
    with pytest.raises(UsageError, match=r"testB has 1 image, .* raise test_share"):
        preflight.check_test_images(manifest)


def test_a_full_disk_is_found_before_training(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = preflight.check_train(prepared, SMALL, "c")
    preflight.check_disk(SMALL, manifest, str(prepared / "c"), prepared / "m")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10_000))
    with pytest.raises(CycleGANError, match="make room"):
        preflight.check_disk(SMALL, manifest, str(prepared / "c"), prepared / "m")


def test_the_disk_that_checkpoints_take_is_estimated_from_above(prepared: Path, tmp_path: Path) -> None:
    """The estimate for one checkpoint is what a real one takes, plus some per cent."""
    from cyclegan.training.train import train

    config = replace(SMALL, epochs=1, decay_epochs=0, sample_every=0, threads=1, ema=0.9, pool_size=8)
    manifest = preflight.check_train(prepared, config, "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CYCLEGAN_TRACKING", "off")
        train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c"))
        (size,) = (f.stat().st_size for f in (tmp_path / "c").rglob("*") if f.stat().st_size > 100_000)
        usage = namedtuple("usage", "total used free")
        needed = preflight.KEPT_CHECKPOINTS * size
        patch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, int(0.85 * needed)))
        with pytest.raises(CycleGANError):
            preflight.check_disk(config, manifest, str(tmp_path / "other"), tmp_path / "m")
        patch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, int(1.3 * needed)))
        preflight.check_disk(config, manifest, str(tmp_path / "other"), tmp_path / "m")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"cyclegan-pipeline\[fid\]"):
        preflight.check_evaluate(EvaluateConfig(features="inception2048"))
    preflight.check_evaluate(EvaluateConfig(features="auto"))
    with pytest.raises(UsageError, match=r"cyclegan-pipeline\[s3\]"):
        preflight.check_train_alone(SMALL, "s3://bucket/checkpoints")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.pth"):
        preflight.check_evaluate(EvaluateConfig(weights="absent.pth"))
    with pytest.raises(UsageError, match=r"absent\.pth"):
        preflight.check_train_alone(TrainConfig(weights="absent.pth"), "c")
    with pytest.raises(UsageError, match=r"absent\.pth"):
        preflight.check_train_alone(replace(SMALL, discriminator="perceptual", weights="absent.pth"), "c")
    preflight.check_train_alone(replace(SMALL, weights="absent.pth"), "c")  # nothing would read it
    with pytest.raises(UsageError, match="no scores"):
        preflight.check_evaluate(EvaluateConfig(champion=str(tmp_path)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_weights_of_fid_are_offered_once_in_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclegan.evaluation.extractors import inception_weights

    loaded: list[str] = []
    monkeypatch.setattr(inception_weights, "cached_file", lambda: None)
    monkeypatch.setattr(inception_weights, "load_weights", lambda: loaded.append("weights"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    said = Terminal()
    monkeypatch.setattr("sys.stderr", said)

    def offer(answer: str, **fields: str) -> list[str]:
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        offer_weights.offer_evaluation_weights(EvaluateConfig(**fields))  # type: ignore[arg-type]
        return loaded

    assert offer("y\n", features="random") == []
    assert said.getvalue() == ""
    assert offer("n\n") == []
    assert "95 MB" in said.getvalue()
    assert offer("y\n") == [], "asked once is enough"
    shutil.rmtree(tmp_path / ".cache")
    assert offer("\n") == ["weights"]
    shutil.rmtree(tmp_path / ".cache")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    offer_weights.offer_evaluation_weights(EvaluateConfig())
    assert loaded == ["weights"], "nobody is asked where there is no terminal"


def test_a_link_to_a_place_that_is_not_there_yet_is_one_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "large disk" / "runs")
    places.writable(tmp_path / "runs" / "maps")
    places.writable(Path("/"))


def test_a_place_that_may_not_be_written_to_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounted").mkdir()
    closed = {tmp_path}
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) not in closed)
    places.writable(tmp_path / "mounted")  # into which translations may go
    with pytest.raises(CycleGANError, match="Nothing may be written to"):
        places.writable(tmp_path / "new" / "model")
    closed.add(tmp_path / "mounted")
    with pytest.raises(CycleGANError, match="Nothing may be written to"):
        places.writable(tmp_path / "mounted")
