"""A prepared folder of small random images, and the smallest networks."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan.training.config import TrainConfig


@pytest.fixture(autouse=True)
def _untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # tiny networks gain nothing from more, and lose much on a busy machine


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 and 5 training images, 4 and 4 test images of 40×40, in large squares of random colour."""
    folder = tmp_path_factory.mktemp("prepared")
    chance = np.random.default_rng(0)
    domains = {}
    for name, count in {"trainA": 7, "trainB": 5, "testA": 4, "testB": 4}.items():
        coarse = chance.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
        np.save(folder / f"{name}.npy", coarse.repeat(8, axis=1).repeat(8, axis=2))
        domains[name] = {"count": count, "names": [f"{i}.png" for i in range(count)]}
    manifest = {"version": "0" * 32 + ".dir", "paired": False, "height": 40, "width": 40}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "domains": domains, "config": {}}))
    return folder


@pytest.fixture(scope="session")
def warm() -> ForkServerContext:
    """Starts processes from a server that has loaded torch, which costs ten seconds a process otherwise."""
    context = multiprocessing.get_context("forkserver")
    modules = ["torch._dynamo", "torch.distributed", "cyclegan.tracking.base", "cyclegan.io.storage"]
    context.set_forkserver_preload([*modules, "cyclegan.training.train"])
    return context


@pytest.fixture
def small() -> Callable[..., TrainConfig]:
    """A configuration that trains in a second; keyword arguments replace its fields."""

    def config(**fields: object) -> TrainConfig:
        network = {"generator": "resnet", "blocks": 1, "width": 4, "crop_size": 32, "precision": "fp32"}
        judge = {"discriminator": "patchgan", "discriminator_width": 4, "discriminator_layers": 1}
        run = {"epochs": 2, "decay_epochs": 1, "pool_size": 5, "log_every": 3, "threads": 1}
        run |= {"sample_every": 0, "samples": 2}  # drawing and encoding them takes longer than so few updates
        return TrainConfig(**{**network, **judge, **run, **fields})  # type: ignore[arg-type]

    return config
