"""A copy of the project, small enough that the whole pipeline runs in seconds."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (
    *("data.dvc", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvc/sample"),
    *("cyclegan", "components", "pipeline"),
)
# the sample's 264 images, five updates of networks as small as they get
PARAMS = """\
fetch:
  source: synthetic:city
preprocess:
  load_size: 32
train:
  generator: resnet
  blocks: 1
  width: 4
  discriminator_width: 4
  crop_size: 0
  epochs: 1
  decay_epochs: 0
  batch_size: 20
  log_every: 1
  sample_every: 0
  threads: 1
evaluate:
  features: random
  max_images: 8
  resamples: 0
  examples: 2
register:
  name: cyclegan
"""

Run = Callable[..., str]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """run(folder, "dvc", "repro", …) → standard output; fails the test with what the command said.

    The commands see neither the user's git and DVC settings nor the network.
    """
    home = tmp_path_factory.mktemp("home")
    nowhere = "http://127.0.0.1:9"
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "HOME": str(home),
        "CYCLEGAN_TRACKING": "off",
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
           (("NAME", "A. Tester"), ("EMAIL", "tester@example.org"))},
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip

    # the empty home has no ~/.aws; and DVC takes /dev/null for a missing file
    hidden = {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"}

    def call(folder: Path, *command: str | Path, fails: bool = False, **more: str) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k not in hidden} | settings | more,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{' '.join(map(str, command))} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return done.stdout + done.stderr if fails else done.stdout

    return call


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The project with small parameters, committed: what a user clones."""
    folder = tmp_path_factory.mktemp("origin")
    for name in PROJECT:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "The project")
    return folder


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, run: Run, origin: Path) -> Callable[[], Path]:
    """Makes a fresh clone of `origin`."""

    def make() -> Path:
        folder = tmp_path_factory.mktemp("clone")
        run(folder, "git", "clone", "-q", origin, ".")
        return folder

    return make


@pytest.fixture(scope="session")
def reproduced(clone: Callable[[], Path], run: Run) -> Path:
    """A clone in which `dvc repro --pull` ran, dvc.lock committed. Tests that change it take a copy."""
    folder = clone()
    run(folder, "dvc", "repro", "--pull")
    run(folder, "git", "add", "dvc.lock")
    run(folder, "git", "commit", "-q", "-m", "First run")
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of `reproduced` for the test alone."""
    return Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))


OPTIONS = {"name": "resnet", "norm": "instance", "blocks": 1, "width": 4, "upsample": "resize"}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a prepared folder, a model with scores, and a reference implementation's weights."""
    import torch

    from cyclegan.model import DIRECTIONS, save_model, weights_digest
    from cyclegan.networks import build_generator
    from tools.fuzz.models import _reference_state

    here = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    (here / "prepared").mkdir()
    domains = {}
    for name in ("trainA", "trainB", "testA", "testB"):
        pixels = random.integers(0, 256, (3, 16, 16, 3), np.uint8)
        np.save(here / "prepared" / f"{name}.npy", pixels)
        domains[name] = {"count": 3, "names": [f"{i}.png" for i in range(3)]}
        (here / "raw" / name).mkdir(parents=True)
        for i, image in enumerate(pixels):
            Image.fromarray(image).resize((40, 40)).save(here / "raw" / name / f"{i}.png")
    manifest = {"version": "0" * 32 + ".dir", "paired": False, "height": 16, "width": 16}
    manifest |= {"domains": domains, "config": {}}
    (here / "prepared" / "manifest.json").write_text(json.dumps(manifest))
    pair = {direction: build_generator(**OPTIONS) for direction in DIRECTIONS}
    save_model(here / "model", pair, {"generator": OPTIONS, "image_size": 16})
    facts = {"headline": "score", "data_version": manifest["version"], "protocol": {}, "extractor": None}
    facts |= {"intervals": {}, "model_digest": weights_digest(here / "model")}
    (here / "scores").mkdir()
    (here / "scores" / "scores.json").write_text('{"score": 1.0}')
    (here / "scores" / "evaluation.json").write_text(json.dumps(facts))
    torch.save(_reference_weights(_reference_state()), here / "net.pth")
    return here


def _reference_weights(state: dict[str, object]) -> dict[str, object]:
    return {name: tensor for name, tensor in state.items() if name.startswith("model.")}


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the world to work in, with a former result under `out`."""
    shutil.copytree(world, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_REGISTRY_URI", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield tmp_path / "here"
    logging.getLogger("cyclegan").setLevel(logging.NOTSET)


def leave(world: Path, client: Any, name: str, where: str, folder: Path) -> str:
    """What `evaluate` and `register` leave in MLflow, without what takes them long; returns the run's id."""
    from mlflow.entities import LoggedModelOutput

    from cyclegan.model import DIRECTIONS
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.decision import read_evidence
    from cyclegan.registry.pairs.promote import promote

    experiment = client.create_experiment(name, where)
    run_id = str(client.create_run(experiment).info.run_id)
    client.log_artifacts(run_id, str(world / "scores"), "evaluation")
    shutil.copytree(world / "model", folder / "files" / "artifacts")
    versions = {}
    for direction in DIRECTIONS:
        registered = f"{name}-{direction}"
        model_id = client.create_logged_model(experiment, registered, source_run_id=run_id).model_id
        client.log_model_artifacts(model_id, str(folder / "files"))
        client.finalize_logged_model(model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        client.create_registered_model(registered)
        version = client.create_model_version(registered, f"models:/{model_id}", run_id, model_id=model_id)
        versions[direction] = str(version.version)
    promote(client, RegisterConfig(name=name), read_evidence(world / "scores"), versions, {}, "")
    return run_id
