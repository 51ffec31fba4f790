"""The training step: from packed arrays to a model folder. Run the same command again to go on."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cyclegan.data.packed import PackedImages
from cyclegan.data.prepare import read_manifest
from cyclegan.model import save_model
from cyclegan.training.accelerate import Captured, compile_networks, compiles
from cyclegan.training.checkpoint import Checkpoints
from cyclegan.training.device import (
    machine,
    memory_format,
    resolve_device,
    resolve_precision,
    resolve_threads,
)
from cyclegan.training.distributed import any_process, averaged, processes
from cyclegan.training.fingerprint import decisive, fingerprint
from cyclegan.training.lock import locked
from cyclegan.training.report import Reporter, write_losses
from cyclegan.training.samples import sample_images
from cyclegan.training.schedule import Schedule
from cyclegan.training.setup import (
    announce_memory,
    build_update,
    describe,
    initial_state,
    load_encoders,
    sampling_of,
)
from cyclegan.training.signals import StopRequest
from cyclegan.uri import data_name

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)


def train(
    prepared: Path, model: Path, config: TrainConfig, *, checkpoints: str = "outputs/checkpoints"
) -> dict[str, float]:
    """Train both generators on a prepared folder and write the model folder.

    Goes on from the newest checkpoint under `checkpoints` (a folder or s3://…) that the same data and
    parameters made; a finished run writes its model again. Returns the last mean of each loss,
    `images_per_second` (pairs of an image of A and one of B), `epochs` and `steps`.
    Raises UsageError for parameters that don't fit data or machine, Interrupted (exit code 128 + signal) when
    SIGTERM or Ctrl-C ended it early with a checkpoint, CycleGANError when the losses cease to be numbers.
    """
    from cyclegan.storage import open_store
    from cyclegan.tracking import Tracker, git_commit, open_run

    manifest = read_manifest(prepared)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    threads = resolve_threads(config.threads)
    schedule = Schedule(config.epochs, config.decay_epochs, config.decay)
    store = open_store(checkpoints)

    with (
        machine(device, threads=threads, deterministic=config.deterministic),
        processes(device) as me,
        StopRequest() as stop,
    ):
        sampling = sampling_of(config, manifest, me)
        total = schedule.epochs * sampling.steps
        name = fingerprint(decisive(asdict(config), asdict(manifest), str(precision)), schedule)
        with locked(store, name) if me.first else nullcontext():
            if me.first:
                announce_memory(config, sampling, device, me, precision)
            captured = device.type == "cuda" and me.world == 1 and config.compile != "off"
            state = initial_state(config, sampling, device, me, capturable=captured)
            kept = Checkpoints(store, name)
            for tensors, facts in kept.load(schedule, sampling.steps):
                state.load(tensors, facts, me)
                logger.info("Going on after update %d of %d.", state.step, total)
                break
            else:
                if kept.others():
                    logger.info(
                        "The checkpoints in %s are of other parameters or data; starting anew.", checkpoints
                    )
                load_encoders(state.networks, config)
            if threads != (before := state.facts.setdefault("threads", threads)):
                message = (
                    "The checkpoint was made with %d CPU threads, now there are %d: rounding will differ."
                )
                logger.warning(message, before, threads)

            update = build_update(config, state, precision)
            if compiles(config.compile, device, total - state.step):
                compile_networks(state.networks)
            perform = Captured(update) if captured else update

            layout = memory_format(device)
            domain_a, domain_b = (
                PackedImages(
                    prepared / f"train{end}.npy", device, crop_size=config.crop_size, memory_format=layout
                )
                for end in "AB"
            )
            size = sampling.height, sampling.width
            samples = [
                sample_images(PackedImages(prepared / f"test{end}.npy", device), config.samples, size)
                for end in "AB"
            ]
            monitor = None
            if config.evaluate_every and me.first:
                from cyclegan.evaluation.in_training import Monitor

                monitor = Monitor(prepared, size=min(size), device=device)

            run_name = f"{config.generator} {data_name(manifest.uri)} {size[0]}×{size[1]} seed {config.seed}"
            run = open_run("train", run_id=state.facts.get("mlflow_run_id"), name=run_name)
            with run if me.first else nullcontext(Tracker()) as tracker:
                state.facts["mlflow_run_id"] = tracker.run_id
                tracker.params("train", config)
                tracker.dataset(manifest)
                report = Reporter(
                    tracker, batch_size=config.batch_size, total=total, step=state.step, samples=samples
                )
                if me.first and state.step == 0 and config.sample_every:
                    report.translations(*state.exported(), 0)
                saved = time.monotonic()

                def log(lr: float) -> None:
                    rows, state.pending = averaged(torch.stack(state.pending)), []
                    state.facts["losses"] = means = report.losses(rows, state.step, lr)
                    state.facts.setdefault("curves", []).append([state.step, *means.values(), lr])
                    state.facts["images_per_second"] = report.images_per_second()

                def save() -> None:
                    nonlocal saved
                    tensors = state.tensors()
                    if me.first:
                        kept.save(state.step, tensors, {**state.facts, "step": state.step})
                    saved = time.monotonic()
                    report.resume_clock(state.step)

                for epoch in range(state.step // sampling.steps, schedule.epochs):
                    if state.facts.get("stopped"):
                        break
                    lr = config.lr * schedule.factor(epoch)
                    state.set_lr(lr)
                    plan = sampling.plan(epoch).part(me.rank, me.world)
                    # Each table goes once an epoch to where it is read, so that no update waits for it.
                    rows_a, rows_b = plan.a.to(domain_a.images.device), plan.b.to(domain_b.images.device)
                    buffer_a, buffer_b = plan.buffer_a.to(device), plan.buffer_b.to(device)

                    for i in range(state.step % sampling.steps, sampling.steps):
                        a, b = domain_a.batch(rows_a[i]), domain_b.batch(rows_b[i])
                        state.pending.append(perform(a, b, buffer_a[i], buffer_b[i]))
                        state.advance()
                        if state.step % config.log_every == 0:
                            log(lr)
                        # Several processes must agree on when to stop or save, and that costs a message.
                        if me.world == 1 or state.step % 10 == 0:
                            asked = any_process(bool(stop.number), device)
                            due = time.monotonic() - saved > 60 * config.checkpoint_minutes
                            if asked or any_process(due, device):
                                save()
                            if asked:
                                stop.raise_interrupted(state.step, total)

                    if state.pending:
                        log(lr)
                    done, last = epoch + 1, epoch + 1 == schedule.epochs
                    AtoB, BtoA = state.exported()
                    if me.first and (last or (config.sample_every and done % config.sample_every == 0)):
                        report.translations(AtoB, BtoA, done)
                    if monitor and done % config.evaluate_every == 0:
                        scores = monitor.score({"AtoB": AtoB, "BtoA": BtoA})
                        tracker.metrics(scores, state.step)
                        state.note_score(scores[monitor.headline], done, config.patience)
                    if config.evaluate_every and any_process(bool(state.facts.get("stopped")), device):
                        state.facts["stopped"] = last = True
                    if last or done % config.checkpoint_every == 0:
                        save()
                report.close()

                if me.first:
                    state.restore_best()
                    AtoB, BtoA = state.exported()
                    config_json = describe(config, manifest, sampling)
                    config_json |= {
                        "epochs": state.epoch_exported(sampling.steps),
                        "git_commit": git_commit(),
                    }
                    config_json |= {"mlflow_run_id": tracker.run_id}
                    save_model(model, {"AtoB": AtoB, "BtoA": BtoA}, config_json)
                    write_losses(model / "losses.csv", state.facts.get("curves", []))
                return {
                    **state.facts.get("losses", {}),
                    "images_per_second": state.facts.get("images_per_second", 0.0),
                    "epochs": float(state.step // sampling.steps),
                    "steps": float(state.step),
                }
