"""The trained models that the repository publishes: there after `dvc pull`, small, and of use."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cyclegan import load

Run = Callable[..., str]
ROOT = Path(__file__).resolve().parents[2]
LARGEST = 15_000_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """What a fresh clone gets by `dvc pull models`."""
    folder = tmp_path_factory.mktemp("published")
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "models.dvc"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / ".dvc" / "sample", folder / ".dvc" / "sample")
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "pull", "-q", "models")
    return folder / "models"


def test_they_are_small_enough_for_a_repository(models: Path) -> None:
    assert yaml.safe_load((ROOT / "models.dvc").read_text())["outs"][0]["size"] <= LARGEST
    assert sum(path.stat().st_size for path in models.rglob("*") if path.is_file()) <= LARGEST


def test_a_picture_is_translated_without_any_training(models: Path, run: Run, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (75, 100, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    for model in sorted(path for path in models.iterdir() if path.is_dir()):
        run(tmp_path, "cyclegan", "translate", model, "photo.png", "--out", f"{model.name}.png")
        assert Image.open(tmp_path / f"{model.name}.png").size == (100, 75)
        assert (model / "README.md").read_text().startswith("---\n")


def test_maps_are_much_nearer_to_the_truth_than_the_photographs_they_were_drawn_from(
    models: Path, real_data: Path
) -> None:
    draw = load(models / "maps", "AtoB")
    drawn, untranslated = [], []
    with zipfile.ZipFile(real_data / "maps.zip") as archive:
        for number in (1, 101, 151, 200):
            photo, truth = (
                np.asarray(Image.open(archive.open(f"maps/test{side}/{number}_{side}.jpg")).convert("RGB"))
                for side in "AB"
            )
            drawn.append(np.abs(draw(photo).astype(float) - truth).mean())
            untranslated.append(np.abs(photo.astype(float) - truth).mean())
    assert np.mean(drawn) < np.mean(untranslated) / 3
