"""A copy of the project, small enough that the whole pipeline runs in seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
