"""Attacks on prepared folders, parameter files and addresses."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np

from tools.fuzz.common import Attack, damaged, encodable, offline, require
from tools.fuzz.mutate import as_json, mutate_bytes, mutate_text, mutate_value


def prepared_folders(here: Path) -> Attack:
    """manifest.json, provenance.json and arrays of a prepared folder."""
    from cyclegan.data.prepared import Prepared
    from cyclegan.data.source import read_origin
    from cyclegan.training.checkpoints.fingerprint import decisive
    from cyclegan.training.config import TrainConfig

    folder = here / "prepared"
    folder.mkdir()
    counts = {"trainA": 3, "trainB": 2, "testA": 2, "testB": 2}
    manifest: dict[str, Any] = {
        "format": 1,
        "version": "0" * 32 + ".dir",
        "paired": True,
        "height": 8,
        "width": 8,
        "domains": {n: {"count": c, "names": [f"{i}.png" for i in range(c)]} for n, c in counts.items()},
        "rejected": [{"file": "trainA/x.png", "reason": "no image"}],
        "duplicates": [{"test": "testA/0.png", "exact": 1, "near": 0, "train": ["trainA/1.png"]}],
        "config": {"load_size": 8, "aspect": "squash"},
        "filter": "Lanczos",
        "decoding": "1: Pillow",
        "deep": {"trainA": {"count": 1, "low": 0, "high": 4095, "declared": 65535}},
    }
    provenance = {"format": 1, "uri": "synthetic:city", "names": {"A": "photos", "B": "maps"}}
    for name, count in counts.items():
        np.save(folder / f"{name}.npy", np.zeros((count, 8, 8, 3), np.uint8))
    array = (folder / "trainA.npy").read_bytes()

    def attack(rng: Random) -> None:
        texts = {"manifest.json": json.dumps(manifest), "provenance.json": json.dumps(provenance)}
        packed = array
        kind = rng.randrange(10)
        if kind < 5:
            texts["manifest.json"] = as_json(mutate_value(manifest, rng), rng)
        elif kind == 5:
            texts["manifest.json"] = mutate_text(texts["manifest.json"], rng)
        elif kind == 6:
            texts["provenance.json"] = as_json(mutate_value(provenance, rng), rng)
        elif kind == 7:
            packed = _another_array(rng, here)
        else:
            packed = mutate_bytes(array, rng)
        for name, text in texts.items():
            (folder / name).write_bytes(damaged(text))
        (folder / "trainA.npy").write_bytes(packed)
        read_origin(folder / "provenance.json")
        data = Prepared.open(folder)
        for name in counts:
            images = data.array(name)
            require(images.dtype == np.uint8, f"pixels of {images.dtype}")
            require(images.shape == (data.count(name), data.height, data.width, 3), f"shape {images.shape}")
            require(images.flags.c_contiguous, "pixels in another order")
            int(images.sum())
        require(encodable(asdict(data.manifest)), "a manifest that cannot be written again")
        require(data.title.isprintable() and encodable([data.uri, data.names]), "names that cannot be shown")
        decisive(asdict(TrainConfig()), asdict(data.manifest), "torch.float32")

    return attack


def _another_array(rng: Random, here: Path) -> bytes:
    """An .npy file of another dtype, shape, order or kind."""
    shape = rng.choice([(3, 8, 8, 3), (3, 8, 8), (3, 8, 8, 1), (0, 8, 8, 3), (3, 3, 8, 8), (192, 3), ()])
    kinds = (
        np.uint8,
        np.int8,
        np.bool_,
        np.float32,
        np.float16,
        np.uint16,
        np.complex64,
        ">u2",
        "S1",
        "V1",
        "U1",
    )
    dtype: Any = rng.choice(kinds)
    array = np.zeros(shape, dtype)
    if rng.randrange(2):
        array = np.asfortranarray(array)
    np.save(here / "another.npy", array)
    return (here / "another.npy").read_bytes() + rng.choice([b"", b"", b"more"])


def parameter_files(here: Path) -> Attack:
    """params.yaml and the presets, section by section, and what is computed from them first."""
    import torch

    from cyclegan.cli import preflight
    from cyclegan.cli.params import PRESETS, load_section
    from cyclegan.data.config import FetchConfig, PreprocessConfig
    from cyclegan.evaluation.config import EvaluateConfig
    from cyclegan.networks import _WithoutInitialisation
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.training.build import build_networks
    from cyclegan.training.config import TrainConfig
    from cyclegan.training.updates.schedule import Schedule

    configs: dict[str, type[Any]] = {
        "fetch": FetchConfig,
        "preprocess": PreprocessConfig,
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "register": RegisterConfig,
    }
    whole = {name: {f.name: f.default for f in fields(config)} for name, config in configs.items()}
    whole["train"] |= {"generator": "resnet", "blocks": 2, "width": 4, "discriminator_width": 4}
    texts = [path.read_text(encoding="utf-8") for path in sorted(PRESETS.glob("*.yaml"))]
    path = here / "params.yaml"

    def attack(rng: Random) -> None:
        section = rng.choice([*configs, "train"])
        if rng.randrange(3):
            text = as_json({section: mutate_value(whole[section], rng)}, rng)
        else:
            text = mutate_text(rng.choice(texts), rng)
        path.write_bytes(damaged(text))
        config = load_section(path, section, configs[section])
        values = asdict(config)
        require(encodable(values), "values that cannot be written again")
        whole_numbers = [value for value in values.values() if isinstance(value, int)]
        require(all(abs(value) < 2**63 for value in whole_numbers), "numbers that no library takes")
        if isinstance(config, TrainConfig):
            torch.Generator().manual_seed(config.seed)
            Schedule(config.epochs, config.decay_epochs, config.decay).factor(config.epochs)
            with torch.device("meta"), _WithoutInitialisation():
                build_networks(config)
            preflight.check_sizes(config, 256, 256)
        elif "seed" in values:
            np.random.default_rng(config.seed)

    return attack


SECRET = "hunter2"
ADDRESSES = (
    f"https://user:{SECRET}@example.org:8080/set.zip?token={SECRET}#x",
    f"http://user:{SECRET}@[::1]:80/a.zip",
    "https://example.org/maps.zip",
    "s3://bucket/some/prefix/set.zip",
    "s3://bucket/prefix/",
    "file:///tmp/nowhere/set.zip",
    "models:/maps-AtoB@champion",
    "models:/maps/3",
    "runs:/0123456789abcdef0123456789abcdef",
    "synthetic:city?train=1&test=1&size=16&seed=0",
    "datasets/maps",
    f"postgresql://user:{SECRET}@host/db",
)


def addresses(here: Path) -> Attack:
    """Addresses of data, weights, checkpoints, models and servers, without a network."""
    from cyclegan.cli.places import name_of
    from cyclegan.cli.preflight import check_address
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.fetch.dvc_remote import open_remote
    from cyclegan.data.fetch.origins import fill
    from cyclegan.io import s3
    from cyclegan.io.download import RetryPolicy, download
    from cyclegan.io.files import is_dir
    from cyclegan.io.storage import open_store
    from cyclegan.io.uri import Address, data_name, path_of, redact, scrub
    from cyclegan.io.weights import load_state_dict
    from cyclegan.registry.locate import ADDRESS

    once = RetryPolicy(retries=0, timeout=0.1, pause=0.0)
    target = here / "target"
    letters = "/:@?#%[]&=+ .~\\\n\t\0\x1b…"

    def attack(rng: Random) -> None:
        address = mutate_text(rng.choice(ADDRESSES), rng, letters)
        if rng.randrange(20) == 0:
            address = address.replace(
                "example.org", rng.choice(["é.org", "a" * 300, "a." * 200, "xn--", "١.org"])
            )
        shown = redact(address)
        require(shown.isprintable(), "an address that is not printable")
        require(str(Address(address)) == shown and redact(shown) == redact(redact(shown)), "not stable")
        require(scrub(f"Cannot get {address}: no.", address).isprintable() or True, "")
        data_name(address), path_of(address), ADDRESS.fullmatch(address)
        kind = rng.randrange(7)
        with offline(), mock.patch.object(s3, "ATTEMPTS", 1):
            if kind == 0:
                download(address, target, once)
            elif kind == 1:
                load_state_dict(address, advice="name a copy")
            elif kind == 2:
                name = name_of(FetchConfig(source=address or "x"))
                require("/" not in name and name not in {"", ".", ".."}, f"a folder called {name!r}")
            elif kind == 3:
                folder = here / "filled"
                folder.mkdir(exist_ok=True)
                config = FetchConfig(source=address or "x", retries=0, timeout=0.1, retry_pause=0.0)
                # a drawing takes a while, and `/` is a folder like any other
                if "synthetic" not in address and not any(
                    map(is_dir, (Path(address), Path(path_of(address))))
                ):
                    fill(folder, folder, config)
            elif kind == 4:
                _ask_server(address)
            elif kind == 5:
                check_address(address, "--weights")
            else:
                reader = open_remote(address, once) if rng.randrange(2) else open_store(address)
                if (
                    not address.startswith("s3") or rng.randrange(10) == 0
                ):  # a client takes a tenth of a second
                    reader.get("a/b", target)

    return attack


def _ask_server(address: str) -> None:
    from cyclegan.tracking.server import check_server

    os.environ["MLFLOW_TRACKING_URI"] = address.replace("\0", "").encode("utf-8", "replace").decode()
    try:
        check_server(0.1)
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
