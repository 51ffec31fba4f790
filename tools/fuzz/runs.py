"""Attacks on checkpoints, scores and small notes."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

from tools.fuzz.common import Attack, damaged, encodable, require
from tools.fuzz.models import MODEL_CONFIG, mutate_safetensors, mutate_state
from tools.fuzz.mutate import as_json, mutate_text, mutate_value


def checkpoints(here: Path) -> Attack:
    """Checkpoints whose name carries the right checksum, and the run that resumes from them."""
    import logging

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load, save

    from cyclegan.data.prepared import Prepared
    from cyclegan.io.storage import open_store
    from cyclegan.runtime.distributed import process_group
    from cyclegan.training.checkpoints.checkpoints import Checkpoints, _digest
    from cyclegan.training.config import TrainConfig
    from cyclegan.training.progress.reporter import losses_csv
    from cyclegan.training.setup import Setup, sampling_of
    from cyclegan.training.train import fastest_update, resume_or_begin, train
    from cyclegan.training.updates.schedule import Schedule
    from cyclegan.training.updates.update import TERMS

    os.environ["CYCLEGAN_TRACKING"] = "off"
    logging.getLogger("cyclegan").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    folder = _tiny_prepared(here / "prepared")
    config = TrainConfig(
        generator="resnet",
        blocks=1,
        width=2,
        discriminator="patchgan",
        discriminator_width=2,
        discriminator_layers=1,
        crop_size=16,
        pool_size=2,
        epochs=2,
        decay_epochs=1,
        ema=0.5,
        precision="fp32",
        device="cpu",
        threads=1,
        compile="off",
    )
    train(folder, here / "model", config, checkpoints=str(here / "kept"))
    newest = max((here / "kept").glob("*/*.safetensors"))
    data, fingerprint = newest.read_bytes(), newest.parent.name
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    progress, tensors = json.loads(header["progress"]), load(data)
    prepared, schedule = Prepared.open(folder), Schedule(config.epochs, config.decay_epochs, config.decay)
    step, place = progress["step"], here / "attacked"
    columns = torch.zeros(1, 3, dtype=torch.int64)

    def run(own: str, name: str, content: bytes, *, update: bool) -> int:
        """Resume from one checkpoint and check what was taken over; returns after which update."""
        target = place / own / f"{name}-{_digest(content)}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        try:
            with process_group(torch.device("cpu")) as processes:
                sampling = sampling_of(config, prepared, processes)
                device = torch.device("cpu")
                setup = Setup(config, prepared, device, torch.float32, 1, processes, sampling, schedule)
                store = open_store(str(place))
                with Checkpoints(store, setup.fingerprint) as kept_there:
                    state = resume_or_begin(setup, kept_there, str(place))
            require(0 <= state.step <= setup.total, f"step {state.step} of {setup.total}")
            if not state.step:
                return 0
            require(all(bool(t.isfinite().all()) for t in state.tensors().values()), "not finite")
            require(encodable(state.progress.to_json()), "a record that cannot be written again")
            losses_csv(state.progress.curves).encode()
            require(
                all(len(row) == len(TERMS) + 2 for row in state.progress.curves), "rows of another length"
            )
            require(set(state.progress.losses) <= set(TERMS), "losses of other names")
            require(all(row.shape == (len(TERMS),) for row in state.pending), "losses of another shape")
            state.best_exported()
            if update:
                images = torch.zeros(1, 3, 16, 16)
                fastest_update(setup, state)(images, images, columns, columns)
            return state.step
        finally:
            target.unlink()
            if target.parent.name != fingerprint:
                target.parent.rmdir()

    if run(fingerprint, f"{step:010d}", data, update=False) != step:
        raise RuntimeError("A sound checkpoint is not resumed from: nothing would be tried.")

    def attack(rng: Random) -> None:
        metadata, name, content = dict(header), f"{step:010d}", data
        kind = rng.randrange(8)
        if kind < 3:
            metadata["progress"] = as_json(mutate_value(progress, rng), rng)
            content = save(tensors, metadata=_strings(metadata))
        elif kind == 3:
            metadata = mutate_value(metadata, rng)
            content = save(tensors, metadata=_strings(metadata))
        elif kind < 6:
            changed = mutate_state(tensors, rng)
            changed = changed if isinstance(changed, dict) else {}
            kept = {k: v.to_dense().contiguous() for k, v in changed.items() if _storable(k, v)}
            try:
                content = save(kept, metadata=metadata)
            except (ValueError, RuntimeError, SafetensorError):
                content = b""
        elif kind == 6:
            content = mutate_safetensors(data, rng)
        else:
            number = rng.choice([0, 1, step + 1, 10**9, 9_999_999_999])
            name, metadata["progress"] = f"{number:010d}", json.dumps(progress | {"step": number})
            content = save(tensors, metadata=metadata)
        own = fingerprint
        if rng.randrange(6) == 0:
            own = mutate_text(own, rng, "-0123456789abcdef٣²").replace("/", "").replace("\0", "")[:200]
            own = own.encode("utf-8", "replace").decode() or "x"
        run(own, name, content, update=rng.randrange(3) == 0)

    return attack


def _strings(values: Any) -> dict[str, str]:
    """What safetensors takes as metadata."""
    if not isinstance(values, dict):
        return {}
    made = {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return {_utf8(k): _utf8(v) for k, v in made.items()}


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _storable(name: Any, tensor: Any) -> bool:
    import torch

    plain = isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu"
    return plain and tensor.numel() < 1 << 16 and not tensor.is_complex()


def _tiny_prepared(folder: Path) -> Path:
    folder.mkdir(parents=True)
    domains = {}
    rng = np.random.default_rng(0)
    for name, count in {"trainA": 2, "trainB": 2, "testA": 2, "testB": 2}.items():
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (count, 16, 16, 3), np.uint8))
        domains[name] = {"count": count, "names": [f"{i}.png" for i in range(count)]}
    manifest = {"version": "0" * 32 + ".dir", "paired": False, "height": 16, "width": 16}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"domains": domains, "config": {}}))
    return folder


SCORES = {
    "fid": 31.5,
    "score": 31.5,
    "fid_AtoB": 30.0,
    "kid_AtoB": 0.01,
    "kid_BtoA": 0.02,
    "kid_AtoB_se": 0.001,
}
EVALUATION: dict[str, Any] = {
    "headline": "fid",
    "headline_is": "mean of fid_AtoB and fid_BtoA",
    "lower_is_better": True,
    "intervals": {"fid": [30.0, 33.0], "score": [30.0, 33.0], "fid_AtoB": [29.0, 31.0]},
    "extractor": {"name": "inception2048", "features": 2048, "sha256": "a" * 64},
    "model_digest": "b" * 64,
    "data_version": "0" * 32 + ".dir",
    "names": {"A": "photos", "B": "maps"},
    "data_uri": "synthetic:city",
    "protocol": {"compared": "translations", "testA": 4, "testB": 4},
    "notes": [],
    "samples": {"AtoB": [{"name": "0.png", "files": {"input": "a.png", "translation": "b.png"}}]},
    "versions": {"torch": "2.9"},
}


def scores(here: Path) -> Attack:
    """scores.json and evaluation.json by all that reads them, and the evidence kept in the registry."""
    from cyclegan.inference.write_card import write_card
    from cyclegan.registry.champion import find_champion
    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.decision import Evidence, decide, read_evidence
    from cyclegan.registry.pairs.promote import present_champion
    from cyclegan.registry.results import read_scores
    from cyclegan.registry.sweep import kernel_distance

    sound, folder, model = here / "sound", here / "scores", here / "model"
    for place in (sound, folder, model):
        place.mkdir()
    (sound / "scores.json").write_text(json.dumps(SCORES))
    (sound / "evaluation.json").write_text(json.dumps(EVALUATION))
    (model / "config.json").write_text(json.dumps(MODEL_CONFIG | {"data": {}}))
    ours = read_evidence(sound, "b" * 64)

    def attack(rng: Random) -> None:
        values, facts = json.dumps(SCORES), json.dumps(EVALUATION)
        kind = rng.randrange(10)
        if kind < 4:
            facts = as_json(mutate_value(EVALUATION, rng), rng)
        elif kind < 8:
            values = as_json(mutate_value(SCORES, rng), rng)
        elif kind == 8:
            facts = mutate_text(facts, rng)
        else:
            values = mutate_text(values, rng)
        (folder / "scores.json").write_bytes(damaged(values))
        (folder / "evaluation.json").write_bytes(damaged(facts))
        reader = rng.randrange(6)
        if reader == 0:
            read_scores(folder)
        elif reader == 1:
            evidence = read_evidence(folder, "b" * 64)
            require(math.isfinite(evidence.score), "a score that is not finite")
            require(encodable(asdict(evidence)), "evidence that cannot be kept")
            require(Evidence.from_json(evidence.to_json()) == evidence, "evidence that changes")
            decide(evidence, ours, RegisterConfig(name="x"))
            decide(ours, evidence, RegisterConfig(name="x", rule="certain"))
        elif reader == 2:
            champion = find_champion(str(folder), sound)
            assert champion is not None
            numbers = [
                *champion.scores.values(),
                *(end for ends in champion.intervals.values() for end in ends),
            ]
            require(
                all(isinstance(n, float) and math.isfinite(n) for n in numbers), "scores that are not numbers"
            )
        elif reader == 3:
            require(encodable(write_card(str(model), folder, "", None)), "a card that cannot be written")
        elif reader == 4:
            require(math.isfinite(kernel_distance(folder)), "a distance that is not finite")
        else:
            text = as_json(mutate_value(asdict(ours), rng), rng)
            version = SimpleNamespace(tags={"evidence": text}, version="1")
            client: Any = SimpleNamespace(get_model_version_by_alias=lambda *_: version)
            champion_now = present_champion(client, "x")
            decide(ours, champion_now, RegisterConfig(name="x", rule=rng.choice(["better", "certain"])))

    return attack


def notes(here: Path) -> Attack:
    """The small notes: folder listings of a DVC remote, leases of checkpoints, metadata of exported files."""
    from cyclegan.data.fetch.dvc_remote import _read_listing
    from cyclegan.engines.onnx_file import facts_of
    from cyclegan.io.storage import open_store
    from cyclegan.training.checkpoints.lock import _content

    listing = [{"md5": "0" * 32, "relpath": f"trainA/{i}.png"} for i in range(3)]
    lease = {"holder": "host 1", "task": "", "beat": "3"}
    store = open_store(str(here / "store"))

    def attack(rng: Random) -> None:
        kind = rng.randrange(3)
        if kind == 0:
            text = as_json(mutate_value(listing, rng), rng)
            (here / "listing").write_bytes(damaged(text))
            for name in _read_listing(here / "listing", "the version"):
                inside = (here / "tree" / name).resolve().is_relative_to((here / "tree").resolve())
                require(inside, f"a file outside the folder: {name!r}")
                require(encodable(name), "a name that cannot be written")
        elif kind == 1:
            store.write("lease", damaged(as_json(mutate_value(lease, rng), rng)))
            found = _content(store, "lease")
            require(all(isinstance(part, str) for part in found.values()), "a lease of something else")
        else:
            values = {"direction": "AtoB", "multiple": "4", "config": json.dumps(MODEL_CONFIG), "parity": "x"}
            values["config"] = as_json(mutate_value(MODEL_CONFIG, rng), rng)
            changed = mutate_value(values, rng) if rng.randrange(2) else values
            facts = facts_of(_strings(changed), here / "x.onnx")
            require(facts["direction"] in ("AtoB", "BtoA"), "an unknown direction")
            require(0 < facts["multiple"] <= 2048, f"multiple {facts['multiple']}")
            require(isinstance(facts["config"], dict), "a config that is not a mapping")

    return attack
