from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.distances import frechet_distance
from cyclegan.evaluation.extractors import cache, inception_weights
from cyclegan.evaluation.extractors.features import Extractor, load_extractor
from cyclegan.io import download
from cyclegan.io.files import sha256


def images(count: int = 5, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def tiny_state(fill: float = 1.0) -> dict[str, torch.Tensor]:
    """The names of torch-fidelity's Inception that matter to reading a file, not its shapes."""
    return {f"{layer}.conv.weight": torch.full((1,), fill) for layer in inception_weights.LAST_LAYER.values()}


def test_random_network_never_changes() -> None:
    """Its scores are compared over years and machines, so its weights are part of the format."""
    extractor = load_extractor("random")
    assert extractor.sha256 == "ca338f768ff89ac1662ec97e889944858707c2d5fbe206264224bc01abd7ac4e"
    features = extractor(images(), batch_size=2)
    assert features.shape == (5, extractor.dimensions)
    assert torch.allclose(features, load_extractor("random")(images(), batch_size=5), atol=1e-6)


def test_random_network_is_never_called_fid() -> None:
    extractor = load_extractor("random")
    assert (extractor.frechet, extractor.kernel, extractor.suffix) == (
        "frechet_random",
        "kernel_random",
        "_random",
    )


def test_random_features_order_what_eyes_order() -> None:
    extractor = load_extractor("random")
    x = images(40, seed=1)
    noisy, dark = np.clip(x.astype(int) + 15, 0, 255).astype(np.uint8), x // 3
    real = extractor(images(40, seed=2), 8)
    distances = [frechet_distance(real, extractor(y, 8)) for y in (x, noisy, dark)]
    assert distances == sorted(distances)


def test_auto_without_weights_says_loudly_what_it_falls_back_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="cyclegan"):
        assert load_extractor("auto").name == "random"
    assert "a fixed random network" in caplog.text
    assert "not FID" in caplog.text


def test_weights_of_unknown_hash_are_refused_with_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    torch.save(tiny_state(), path)
    with pytest.raises(UsageError, match=sha256(path)):
        inception_weights.load_weights(str(path))
    with pytest.raises(CycleGANError, match="not " + "0" * 64):
        inception_weights.load_weights(str(path), "0" * 64)
    assert inception_weights.load_weights(str(path), sha256(path)).features() == (64, 192, 768, 2048)


def test_a_hostile_file_runs_nothing_even_if_its_hash_is_trusted(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "hostile.pth"
    torch.save({"weight": Hostile()}, path)
    with pytest.raises(CycleGANError, match="not a weights file"):
        inception_weights.load_weights(str(path), sha256(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 broken"])
def test_damaged_weights_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    for name in ("broken.pth", "broken.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CycleGANError, match=r"not a weights file|Inception"):
            inception_weights.load_weights(str(path), sha256(path))


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.ones(1)}, path)
    with pytest.raises(CycleGANError, match="torch-fidelity's names"):
        inception_weights.load_weights(str(path), sha256(path))


def test_features_behind_zero_layers_are_refused(tmp_path: Path) -> None:
    state = tiny_state() | {"Mixed_7c.conv.weight": torch.zeros(1)}
    path = tmp_path / "part.pth"
    torch.save(state, path)
    assert inception_weights.load_weights(str(path), sha256(path)).features() == (64, 192, 768)
    with pytest.raises(UsageError, match=r"cannot give the features '2048'.*64, 192, 768"):
        load_extractor("inception2048", str(path), sha256(path))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere/inception.pth", "There is no weights file"),
        ("http://127.0.0.1:9/inception.pth", "Cannot download .*--features random"),
        (
            "ftp://example.org/inception.pth",
            "Cannot fetch ftp://example.org/.*: use a path, https:// or s3://",
        ),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.0)
    with pytest.raises(CycleGANError, match=message) as caught:
        inception_weights.load_weights(address)
    assert "\n" not in str(caught.value)


def test_own_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(
        inception_weights, "URL", "http://127.0.0.1:9/weights-inception-2015-12-05-6726825d.pth"
    )
    with pytest.raises(CycleGANError, match="by --weights, or choose --features random"):
        load_extractor("inception2048")
    with pytest.raises(CycleGANError, match="by --evaluate-weights, or choose --evaluate-features random"):
        load_extractor("inception2048", prefix="evaluate_")


def test_hints_name_the_settings_of_the_step_that_they_are_seen_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_extractor("auto", prefix="evaluate_")
    assert "set evaluate_features=inception2048, or name evaluate_weights." in caplog.text
    unknown = tmp_path / "unknown.pth"
    unknown.write_bytes(b"what is it")
    with pytest.raises(UsageError, match="set evaluate_weights_sha256"):
        load_extractor("inception768", str(unknown), prefix="evaluate_")


def test_a_damaged_download_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "damaged.pth"
    source.write_bytes(b"half a file")
    monkeypatch.setattr(inception_weights, "URL", source.as_uri())
    with pytest.raises(CycleGANError, match="damaged"):
        load_extractor("inception2048")
    assert inception_weights.cached_file() is None


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 0},
        {"max_images": 1},
        {"resamples": -1},
        {"map_threshold": 0},
        {"examples": 0},
        {"weights_sha256": "abc"},
        {"features": "random", "weights": "x.pth"},
    ],
)
def test_config_refuses(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        EvaluateConfig(**fields)  # type: ignore[arg-type]


def counting(extractor: Extractor) -> tuple[Extractor, list[int]]:
    """The same extractor, and a list that grows by the number of images it sees."""
    seen: list[int] = []

    def function(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return extractor.function(pixels)

    copy = Extractor(extractor.name, extractor.dimensions, extractor.sha256, function, extractor.device)
    return copy, seen


def test_cache_serves_the_same_pixels_and_extractor_only(caplog: pytest.LogCaptureFixture) -> None:
    extractor, seen = counting(load_extractor("random"))
    first = cache.cached_features(images(), extractor, 8)
    assert torch.equal(cache.cached_features(images(), extractor, 8), first)
    assert seen == [5]
    changed = images()
    changed[4, 0, 0, 0] ^= 1
    cache.cached_features(changed, extractor, 8)
    assert seen == [5, 5]
    other = Extractor(extractor.name, extractor.dimensions, "0" * 64, extractor.function, extractor.device)
    cache.cached_features(images(), other, 8)
    assert seen == [5, 5, 5]
    for file in (cache.cache_folder() / "features").iterdir():
        file.write_bytes(b"half a file")
    assert torch.equal(cache.cached_features(images(), extractor, 8), first)
    assert "damaged" in caplog.text


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CYCLEGAN_CACHE", str(tmp_path / "file"))
    extractor = load_extractor("random")
    assert cache.cached_features(images(), extractor, 8).shape == (5, extractor.dimensions)
    assert "Cannot keep features" in caplog.text


@pytest.mark.parametrize("dimensions", [64, 768])
def test_inception_equals_torch_fidelitys_own(inception_file: Path, dimensions: int) -> None:
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    x = images(2, 96)
    ours = load_extractor(f"inception{dimensions}", str(inception_file))(x, 2)  # type: ignore[arg-type]
    network = FeatureExtractorInceptionV3(
        "theirs", [str(dimensions)], feature_extractor_weights_path=str(inception_file)
    )
    theirs = network(torch.tensor(x).permute(0, 3, 1, 2))[0]
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_real_weights_by_path_and_by_address(inception_file: Path, tmp_path: Path) -> None:
    """`auto` takes the deepest features that a file can give, and a safetensors copy is the same network."""
    from safetensors.torch import save_file

    extractor = load_extractor("auto", str(inception_file))
    assert (extractor.name, extractor.dimensions) == ("inception768", 768)
    assert extractor.frechet == "frechet_inception768"
    state = torch.load(inception_file, weights_only=True)
    copy = tmp_path / "copy.safetensors"
    save_file(state, copy)
    again = load_extractor("inception768", copy.as_uri(), sha256(copy))
    assert torch.equal(again(images(1), 1), extractor(images(1), 1))


def test_a_file_in_torchs_cache_is_found(inception_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copyfile(inception_file, folder / inception_weights.URL.rsplit("/", 1)[1])
    assert load_extractor("auto").name == "inception768"


def test_weights_from_s3(tmp_path: Path, s3_bucket: str) -> None:
    from cyclegan.io.storage import open_store

    path = tmp_path / "inception.pth"
    torch.save(tiny_state(), path)
    open_store(f"s3://{s3_bucket}/weights").put(path, "inception.pth")
    address = f"s3://{s3_bucket}/weights/inception.pth"
    assert inception_weights.load_weights(address, sha256(path)).sha256 == sha256(path)
    with pytest.raises(CycleGANError):
        inception_weights.load_weights(f"s3://{s3_bucket}/weights/none.pth")
