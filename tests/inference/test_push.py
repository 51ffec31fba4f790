"""A model published in a folder: what others need, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cyclegan import load
from cyclegan.errors import UsageError
from cyclegan.inference.push import push

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    samples = tmp_path / "scores" / "samples"
    samples.mkdir(parents=True)
    for kind in ("input", "translation"):
        Image.fromarray(PHOTO).save(samples / f"AtoB-1-{kind}.webp")
    return tmp_path / "scores"


def test_half_of_the_bytes_and_nearly_the_same_pictures(model: Path, scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "published"
    for _ in range(2):  # the second time it replaces the first
        assert push(str(model), str(out), scores, half=True, pictures=False) == str(out)
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "config.json", "AtoB.safetensors", "BtoA.safetensors")
    }
    card = (out / "README.md").read_text()
    assert f'load("{out}")' in card and "webp" not in card, "no picture is shown that is not there"
    for direction in ("AtoB", "BtoA"):
        whole, half = (load_file(folder / f"{direction}.safetensors") for folder in (model, out))
        assert {tensor.dtype for tensor in half.values()} == {torch.float16}
        assert (out / f"{direction}.safetensors").stat().st_mode & 0o777 == 0o644, "others may read it"
        assert all(torch.equal(whole[name].half(), half[name]) for name in whole | half)
        before, after = (
            load(folder, direction, precision="fp32", engine="torch")(PHOTO).astype(int)  # type: ignore[arg-type]
            for folder in (model, out)
        )
        assert 0 < np.abs(before - after).max() <= 1


def test_whole_weights_and_pictures_unless_told_otherwise(model: Path, scores: Path, tmp_path: Path) -> None:
    push(str(model), str(tmp_path / "published"), scores)
    for direction in ("AtoB", "BtoA"):
        file = f"{direction}.safetensors"
        assert (tmp_path / "published" / file).read_bytes() == (model / file).read_bytes()
    shown = sorted(path.name for path in (tmp_path / "published" / "pictures").iterdir())
    assert shown == ["AtoB-1-input.webp", "AtoB-1-translation.webp"]


def test_what_cannot_be_published_is_refused_and_nothing_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        push(str(model), str(mine), tmp_path)
    assert (mine / "thesis.txt").read_text() == "years of work"
    monkeypatch.chdir(tmp_path)
    for mistyped in (
        "hf:/me/city",
        "HF:me/city",
        "https:/me:s3cret@hf.co/city",
        "https://me:s3cret@hf.co/city",
    ):
        with pytest.raises(UsageError, match="is not a Hub address") as refused:
            push(str(model), mistyped, tmp_path)
        assert "s3cret" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", model.name}
    large = shutil.copytree(model, tmp_path / "large")
    weights = load_file(large / "BtoA.safetensors")
    next(iter(weights.values())).fill_(7e4)
    save_file(weights, large / "BtoA.safetensors")
    with pytest.raises(UsageError, match="beyond float16"):
        push(str(large), str(tmp_path / "published"), tmp_path, half=True)
    assert not (tmp_path / "published").exists()
