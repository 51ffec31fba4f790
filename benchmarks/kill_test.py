"""Kill training at random moments, start it again, and compare the end with a run that never stopped.

    python benchmarks/kill_test.py --kills 25

A checkpoint is written after every update, so that most kills fall into the writing of one. Prints a table
and writes benchmarks/results/kill_test.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.record import RESULTS, record
from cyclegan.io.files import sha256, write_json
from cyclegan.training.config import TrainConfig

MODULES = ["torch._dynamo", "cyclegan.tracking.base", "cyclegan.io.storage", "cyclegan.training.train"]


def prepare(folder: Path) -> None:
    """Random images of 40×40 as a prepared folder."""
    chance = np.random.default_rng(0)
    domains = {}
    for name, count in {"trainA": 7, "trainB": 5, "testA": 4, "testB": 4}.items():
        np.save(folder / f"{name}.npy", chance.integers(0, 256, (count, 40, 40, 3), dtype=np.uint8))
        domains[name] = {"count": count, "names": [f"{i}.png" for i in range(count)]}
    manifest = {"version": "0" * 32 + ".dir", "paired": False, "height": 40, "width": 40}
    write_json(folder / "manifest.json", {**manifest, "domains": domains, "config": {}})


def run(prepared: Path, model: Path, config: TrainConfig, checkpoints: Path) -> None:
    """Train in this process, quietly."""
    os.environ.update(CYCLEGAN_TRACKING="off", OMP_NUM_THREADS="1")
    from cyclegan.training.train import train

    train(prepared, model, config, checkpoints=str(checkpoints))


def halves(checkpoints: Path) -> int:
    """Checkpoints that are being written, or were left half written by a kill."""
    return len(list(checkpoints.glob("*/.*.safetensors.*")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "kill_test.json", help="results as JSON")
    options = parser.parse_args()

    network = {"generator": "resnet", "blocks": 1, "width": 16, "crop_size": 32, "threads": 1}
    judge = {"discriminator": "patchgan", "discriminator_width": 16, "discriminator_layers": 1}
    # Long enough that every kill hits a run in progress.
    length = {"epochs": options.kills // 2, "decay_epochs": options.kills // 2, "pool_size": 5, "ema": 0.9}
    config = TrainConfig(**{**network, **judge, **length, "checkpoint_minutes": 1e-9})

    chance = random.Random(options.seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prepared").mkdir()
        prepare(folder / "prepared")

        def start(
            model: str, checkpoints: str, config: TrainConfig = config
        ) -> multiprocessing.process.BaseProcess:
            arguments = (folder / "prepared", folder / model, config, folder / checkpoints)
            process = context.Process(target=run, args=arguments)
            process.start()
            return process

        straight = start("straight", "once", replace(config, checkpoint_minutes=60, checkpoint_every=10**6))
        straight.join()
        kills = while_writing = 0
        while kills < options.kills:
            before = sorted((folder / "killed").glob("*/*.safetensors"))
            process = start("resumed", "killed")
            while sorted((folder / "killed").glob("*/*.safetensors")) == before and process.is_alive():
                time.sleep(0.001)
            time.sleep(chance.random() * 0.2)
            # Every other kill waits for a moment at which a checkpoint is half written.
            while kills % 2 and not halves(folder / "killed") and process.is_alive():
                pass
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            kills += 1
            while_writing += halves(folder / "killed") > 0
        last = start("resumed", "killed")
        last.join()
        same = [
            sha256(folder / "straight" / f"{d}.safetensors")
            == sha256(folder / "resumed" / f"{d}.safetensors")
            for d in ("AtoB", "BtoA")
        ]
    result = {
        "kills": kills,
        "while_writing_a_checkpoint": while_writing,
        "resumes": kills,
        "mismatches": same.count(False),
        "updates": 7 * (config.epochs + config.decay_epochs),
    }
    for key, value in result.items():
        print(f"{key:<28}{value}")
    record(options.out, result)


if __name__ == "__main__":
    main()
