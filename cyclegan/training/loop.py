"""The training step: from packed arrays to a model folder. Run the same command again to go on."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cyclegan.data.packed import PackedImages, Sampling
from cyclegan.data.prepare import Manifest, read_manifest
from cyclegan.errors import UsageError
from cyclegan.model import library_versions, save_model
from cyclegan.networks import VggUnet, build_discriminator, build_generator
from cyclegan.networks.recompute import Recomputable
from cyclegan.training.checkpoint import Checkpoints
from cyclegan.training.device import machine, resolve_device, resolve_precision, resolve_threads
from cyclegan.training.distributed import Processes, any_process, averaged, processes
from cyclegan.training.fingerprint import decisive, fingerprint
from cyclegan.training.history import ImageBuffer, lane_slots
from cyclegan.training.lock import locked
from cyclegan.training.pretrained import load_encoder
from cyclegan.training.report import Reporter
from cyclegan.training.samples import sample_images
from cyclegan.training.schedule import Schedule
from cyclegan.training.signals import StopRequest
from cyclegan.training.state import Average, State
from cyclegan.training.step import Networks, Update

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
        sampling = _sampling(config, manifest, me)
        name = fingerprint(decisive(asdict(config), asdict(manifest), str(precision)), schedule)
        with locked(store, name) if me.first else nullcontext():
            state = _initial_state(config, sampling, device, me)
            kept = Checkpoints(store, name)
            for tensors, facts in kept.load(schedule, sampling.steps):
                state.load(tensors, facts, me)
                logger.info("Going on after update %d of %d.", state.step, schedule.epochs * sampling.steps)
                break
            else:
                _load_encoders(state.networks, config)
            _note_threads(state, threads)
            update = Update(
                state.networks,
                state.generators,
                state.discriminators,
                state.buffer_a,
                state.buffer_b,
                lambda_cycle=config.lambda_cycle,
                lambda_identity=config.lambda_identity,
                objective=config.objective,
                order=config.order,
                discriminator_updates=config.discriminator_updates,
                accumulate=config.accumulate,
                precision=precision,
            )
            size = sampling.height, sampling.width
            domain_a, domain_b = (
                PackedImages(prepared / f"train{domain}.npy", device, crop_size=config.crop_size)
                for domain in "AB"
            )
            samples = [
                sample_images(PackedImages(prepared / f"test{domain}.npy", device), config.samples, size)
                for domain in "AB"
            ]
            run = open_run("train", run_id=state.facts.get("mlflow_run_id"), name=_run_name(config, manifest))
            with run if me.first else nullcontext(Tracker()) as tracker:
                state.facts["mlflow_run_id"] = tracker.run_id
                tracker.params("train", config)
                tracker.dataset(manifest)
                total = schedule.epochs * sampling.steps
                report = Reporter(
                    tracker, batch_size=config.batch_size, total=total, step=state.step, samples=samples
                )
                saved = time.monotonic()

                def log(lr: float) -> None:
                    rows, state.pending = averaged(torch.stack(state.pending)), []
                    state.facts["losses"] = report.losses(rows, state.step, lr)
                    state.facts["images_per_second"] = report.images_per_second()

                def save() -> None:
                    nonlocal saved
                    tensors = state.tensors()
                    if me.first:
                        kept.save(state.step, tensors, {**state.facts, "step": state.step})
                    saved = time.monotonic()
                    report.resume_clock(state.step)

                for epoch in range(state.step // sampling.steps, schedule.epochs):
                    lr = config.lr * schedule.factor(epoch)
                    state.set_lr(lr)
                    plan = sampling.plan(epoch).part(me.rank, me.world).to(device)
                    for i in range(state.step % sampling.steps, sampling.steps):
                        a, b = domain_a.batch(plan.a[i]), domain_b.batch(plan.b[i])
                        state.pending.append(update(a, b, plan.buffer_a[i], plan.buffer_b[i]))
                        state.advance()
                        if state.step % config.log_every == 0:
                            log(lr)
                        if _time_to_look(state.step, me):
                            asked = any_process(bool(stop.number), device)
                            due = time.monotonic() - saved > 60 * config.checkpoint_minutes
                            if asked or any_process(due, device):
                                save()
                            if asked:
                                stop.raise_interrupted(state.step, total)
                    if state.pending:
                        log(lr)
                    done = epoch + 1
                    last = done == schedule.epochs
                    if last or (config.sample_every and done % config.sample_every == 0):
                        report.translations(*state.exported(), done)
                    if last or done % config.checkpoint_every == 0:
                        save()
                report.close()

                if me.first:
                    described = _describe(config, manifest, sampling, schedule)
                    described |= {"git_commit": git_commit(), "mlflow_run_id": tracker.run_id}
                    AtoB, BtoA = state.exported()
                    save_model(model, {"AtoB": AtoB, "BtoA": BtoA}, described)
                return {
                    **state.facts.get("losses", {}),
                    "images_per_second": state.facts.get("images_per_second", 0.0),
                    "epochs": float(schedule.epochs),
                    "steps": float(state.step),
                }


def _sampling(config: TrainConfig, manifest: Manifest, me: Processes) -> Sampling:
    """How batches are drawn; raises UsageError where the parameters don't fit the data."""
    if config.batch_size % (me.world * config.accumulate):
        raise UsageError(
            f"batch_size = {config.batch_size} can't be divided among {me.world} processes, each of which "
            f"computes it in {config.accumulate} parts."
        )
    sampling = Sampling(
        count_a=manifest.domains["trainA"]["count"],
        count_b=manifest.domains["trainB"]["count"],
        image_height=manifest.height,
        image_width=manifest.width,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        flip=config.flip,
        epoch_size=config.epoch_size,
        seed=config.seed,
        lane_slots=lane_slots(config.buffer_size, config.batch_size),
    )
    multiple = {"vgg_unet": 32, "resnet": 4, "unet": 2**config.depth}[config.generator]
    if sampling.height % multiple or sampling.width % multiple:
        raise UsageError(
            f"{config.generator} takes images whose sides are multiples of {multiple}, not "
            f"{sampling.height}×{sampling.width}: choose crop_size, or the load_size of preprocess, to fit."
        )
    return sampling


def _initial_state(config: TrainConfig, sampling: Sampling, device: torch.device, me: Processes) -> State:
    """The four networks as the seed makes them, their optimisers, empty buffers."""
    torch.manual_seed(config.seed)
    networks = Networks(
        AtoB=build_generator(**config.generator_options()),
        BtoA=build_generator(**config.generator_options()),
        D_A=build_discriminator(**config.discriminator_options()),
        D_B=build_discriminator(**config.discriminator_options()),
    )
    # The packed arrays are stored channels last, and so do the convolutions work best on GPUs.
    networks.to(memory_format=torch.channels_last)
    networks.to(device)
    for generator in (networks.AtoB, networks.BtoA):
        assert isinstance(generator, Recomputable)
        generator.recompute = config.recompute
    adam: dict[str, Any] = {"lr": config.lr, "betas": (config.beta1, config.beta2), "fused": True}
    lanes, slots = config.batch_size // me.world, sampling.lane_slots
    return State(
        networks=networks,
        generators=torch.optim.Adam(networks.generators(), **adam),
        discriminators=torch.optim.Adam(networks.discriminators(), **adam),
        buffer_a=ImageBuffer(lanes, slots, sampling.height, sampling.width, device),
        buffer_b=ImageBuffer(lanes, slots, sampling.height, sampling.width, device),
        average=Average(networks, config.ema) if config.ema else None,
    )


def _load_encoders(networks: Networks, config: TrainConfig) -> None:
    generators = [g for g in (networks.AtoB, networks.BtoA) if isinstance(g, VggUnet)]
    if generators:
        load_encoder(generators, config.weights, partial=config.weights_partial)


def _note_threads(state: State, threads: int) -> None:
    """Sums of floating-point numbers depend on how many threads share them, so resuming should keep that."""
    if threads != (before := state.facts.setdefault("threads", threads)):
        logger.warning(
            "The checkpoint was made with %d CPU threads, this process has %d: rounding will differ.",
            before,
            threads,
        )


def _time_to_look(step: int, me: Processes) -> bool:
    """Several processes must agree on when to stop or save, and that costs a message: every tenth update."""
    return me.world == 1 or step % 10 == 0


def _run_name(config: TrainConfig, manifest: Manifest) -> str:
    return f"{config.generator} {manifest.height}px {config.epochs + config.decay_epochs} epochs"


def _describe(
    config: TrainConfig, manifest: Manifest, sampling: Sampling, schedule: Schedule
) -> dict[str, Any]:
    """The model's config.json, but for what the run knows."""
    return {
        "generator": config.generator_options(),
        "image_size": min(sampling.height, sampling.width),
        "data": {"uri": manifest.uri, "version": manifest.version, "paired": manifest.paired},
        "train": asdict(config),
        "epochs": schedule.epochs,
        "seed": config.seed,
        "versions": library_versions(),
    }
