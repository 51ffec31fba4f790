from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.data.prepared import write_provenance
from cyclegan.io.files import write_json
from cyclegan.model import save_model
from cyclegan.networks import build_generator

INCEPTION = "inception-2015-12-05-to-mixed_7a.pth"


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No MLflow, one thread, and caches that are nobody else's."""
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("CYCLEGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture(scope="session")
def inception_file(real_weights: Path) -> Path:
    path = real_weights / INCEPTION
    if not path.is_file():
        pytest.skip(f"no {INCEPTION} among the real weights")
    return path


def pictures(count: int, side: int, hue: float, seed: int) -> np.ndarray:
    """Smooth coloured noise, uint8 N×H×W×3."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 6, 6, 3)) * 0.6 + 0.4 * np.array([hue, 0.5, 1 - hue])
    return np.stack(
        [
            np.asarray(
                Image.fromarray((255 * image).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
            )
            for image in coarse
        ]
    )


@pytest.fixture
def make_prepared(tmp_path: Path) -> Callable[..., Path]:
    """Write a prepared folder as the contract of preprocess has it."""

    def make(
        *, test_a: int = 12, test_b: int = 12, side: int = 32, paired: bool = True, name: str = "prepared"
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        counts = {"trainA": 10, "trainB": 14, "testA": test_a, "testB": test_b}
        for seed, (domain, count) in enumerate(counts.items()):
            np.save(
                folder / f"{domain}.npy", pictures(count, side, 0.2 if domain.endswith("A") else 0.9, seed)
            )
        domains = {
            domain: {"count": count, "names": [f"{domain}/<b>{i}</b>.png" for i in range(count)]}
            for domain, count in counts.items()
        }
        write_json(
            folder / "manifest.json",
            {
                "version": "0123456789abcdef0123456789abcdef.dir",
                "paired": paired,
                "height": side,
                "width": side,
                "domains": domains,
                "rejected": [],
                "config": {},
                "filter": "none",
            },
        )
        write_provenance(folder, "synthetic:noise", {"A": "A", "B": "B"})
        return folder

    return make


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Save a small generator pair with random weights."""

    def make(side: int | list[int] = 32, name: str = "model", seed: int = 0) -> Path:
        torch.manual_seed(seed)
        options = {"blocks": 1, "width": 4}
        save_model(
            tmp_path / name,
            {"AtoB": build_generator("resnet", **options), "BtoA": build_generator("resnet", **options)},
            {
                "generator": {"name": "resnet", **options},
                "image_size": side,
                "data": {
                    "uri": "synthetic:noise",
                    "version": "0123456789abcdef0123456789abcdef.dir",
                    "paired": True,
                },
                "train": {"lr": 2e-4, "generator": "resnet"},
                "git_commit": "f" * 40,
                "mlflow_run_id": None,
                "epochs": 1,
            },
        )
        return tmp_path / name

    return make
