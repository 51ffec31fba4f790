"""The training step: from packed arrays to a model folder. Run the same command again to resume."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan.data.packed import PackedImages
from cyclegan.data.prepared import Prepared
from cyclegan.errors import enough_memory
from cyclegan.io.storage import open_store
from cyclegan.model_config import guard_model
from cyclegan.runtime.cpu import resolve_threads
from cyclegan.runtime.device import machine, resolve_device, resolve_precision
from cyclegan.runtime.distributed import process_group
from cyclegan.runtime.signals import StopRequest
from cyclegan.tracking.base import Tracker, git_commit
from cyclegan.tracking.runs import open_run
from cyclegan.training.build import build_update, initial_state, load_weights
from cyclegan.training.checkpoints.checkpoints import Checkpoints
from cyclegan.training.checkpoints.lock import locked
from cyclegan.training.loop import Trainer
from cyclegan.training.memory import announce_memory
from cyclegan.training.pretrained import Initial, read_initial
from cyclegan.training.progress.advice import faster
from cyclegan.training.progress.pace import Pace, Pause
from cyclegan.training.progress.reporter import Reporter
from cyclegan.training.progress.samples import sample_images
from cyclegan.training.setup import Setup, sampling_of
from cyclegan.training.state import State
from cyclegan.training.updates.compile import CudaGraphUpdate, compiled
from cyclegan.training.updates.schedule import Schedule
from cyclegan.training.updates.update import Update

if TYPE_CHECKING:
    from cyclegan.evaluation.monitor import Monitor
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
    guard_model(model)
    data = Prepared.open(prepared)
    config, initial = read_initial(config)
    config.check_kinds(data.kinds)
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    threads = resolve_threads(config.threads)
    schedule = Schedule(config.epochs, config.decay_epochs, config.decay)
    store = open_store(checkpoints)

    with (
        machine(device, threads=threads, deterministic=config.deterministic),
        process_group(device) as processes,
        enough_memory(
            "raise accumulation_steps, enable gradient_checkpointing, or lower crop_size or batch_size "
            "(see the estimate at the top of the log)"
        ),
    ):
        sampling = sampling_of(config, data, processes)
        digest = initial.digest if initial else ""
        setup = Setup(config, data, device, precision, threads, processes, sampling, schedule, digest)
        kept = Checkpoints(store, setup.fingerprint, full_rate=schedule.constant * setup.steps)
        with locked(store, kept.folder) if processes.is_main else nullcontext(), kept:
            if processes.is_main:
                announce_memory(setup)
            state = resume_or_begin(setup, kept, checkpoints, initial)
            del initial  # as large as all networks
            return run(setup, state, kept, model)


def resume_or_begin(
    setup: Setup, kept: Checkpoints, checkpoints: str, initial: Initial | None = None
) -> State:
    """The state in the newest checkpoint that fits, else as the seed and pretrained weights make it."""
    state = initial_state(setup)
    for tensors, progress in kept.load(setup.schedule, setup.steps):
        try:
            state.load(tensors, progress, setup.processes)
        except ValueError as error:
            what = "Skipping the checkpoint of update %d, which does not fit: %s"
            logger.warning(what, progress.step, error)
            state = initial_state(setup)
            continue
        logger.info("Resuming after update %d of %d.", state.step, setup.total)
        break
    else:
        if kept.others():
            what = "No checkpoint in %s matches these parameters and data; starting from scratch.%s"
            advice = "" if initial else " To train a finished model further, name it with --init."
            logger.info(what, kept.store.uri, advice)
        load_weights(state, setup.config, initial)
    if (best := state.progress.best) and not setup.config.evaluate_every:
        message = "Epoch %d scored best so far; without evaluate_every the model is the newest epoch's."
        logger.warning(message, best.epoch)
    for what, before, now in (
        ("CPU threads", state.progress.threads, setup.threads),
        ("compiled networks", state.progress.compiled, setup.compiled),
    ):
        if before not in (None, now):
            message = "The checkpoint was written with %s: %s, this run uses %s; rounding will differ."
            logger.warning(message, what, before, now)
    state.progress.networks = setup.config.networks()
    state.progress.threads = state.progress.threads or setup.threads
    state.progress.compiled = setup.compiled if state.progress.compiled is None else state.progress.compiled
    return state


def run(setup: Setup, state: State, kept: Checkpoints, model: Path) -> dict[str, float]:
    """Train from `state` to the end, as one MLflow run, and write the model folder; returns as `train`."""
    update = fastest_update(setup, state)
    images_a, images_b = (training_images(setup, domain) for domain in "AB")
    samples = [samples_of(setup, domain) for domain in "AB"]
    monitor = monitor_of(setup)
    opened = open_run("train", run_id=state.progress.mlflow_run_id, name=setup.name)
    with opened if setup.processes.is_main else nullcontext(Tracker()) as tracker:
        state.progress.mlflow_run_id = tracker.run_id
        tracker.params("train", setup.config)
        tracker.dataset(setup.data)
        report = Reporter(
            tracker,
            pace_of(setup),
            batch_size=setup.config.batch_size,
            step=state.step,
            samples=samples,
            names=setup.data.names,
            main=setup.processes.is_main,
            bits=setup.data.manifest.bits,
            advice=lambda: advice_for(setup),
        )
        commit = git_commit()
        with StopRequest() as stop:  # only here: before, nothing would be lost and nobody would ask `stop`
            trainer = Trainer(
                setup, state, update, images_a, images_b, kept, stop, tracker, report, monitor, model, commit
            )
            trainer.run()
        return trainer.results()


def advice_for(setup: Setup) -> str:
    """What would make the run shorter; nothing where a GPU computes it."""
    return faster(setup.config, *setup.size, setup.data.kinds) if setup.device.type == "cpu" else ""


def fastest_update(setup: Setup, state: State) -> Update | CudaGraphUpdate:
    """The update of `state`, compiled and recorded as far as device and configuration allow."""
    networks = compiled(state.networks) if setup.compiled else state.networks
    update = build_update(setup.config, state, networks, setup.precision)
    return CudaGraphUpdate(update) if setup.captured else update


def pace_of(setup: Setup) -> Pace:
    """The clock of the run's updates."""
    config = setup.config
    every: dict[Pause, int] = {
        "samples": config.sample_every,
        "evaluation": config.evaluate_every,
        "checkpoint": config.checkpoint_every,
        "model": config.checkpoint_every,
    }
    wait = torch.cuda.synchronize if setup.device.type == "cuda" else None
    return Pace(setup.total, setup.steps, every, synchronise=wait)


def training_images(setup: Setup, domain: str) -> PackedImages:
    """What domain A or B is trained on."""
    array, config = setup.data.array(f"train{domain}"), setup.config
    crop = {"crop_size": config.crop_size, "crop_width": config.crop_width}
    return PackedImages(array, setup.device, **crop, memory_format=setup.memory_format)


def samples_of(setup: Setup, domain: str) -> Tensor:
    """The test images of domain A or B whose translations are shown, N×C×H×W in [-1, 1]."""
    images = PackedImages(setup.data.array(f"test{domain}"), setup.device)
    return sample_images(images, setup.config.samples, setup.test_size)


def monitor_of(setup: Setup) -> Monitor | None:
    """What scores the generators during training, in the first process where that is asked for."""
    if not (setup.config.evaluate_every and setup.processes.is_main):
        return None
    from cyclegan.evaluation.monitor import Monitor

    config = setup.config
    return Monitor(
        setup.data,
        size=setup.test_size,
        features=config.evaluate_features,
        weights=config.evaluate_weights,
        weights_sha256=config.evaluate_weights_sha256,
        device=setup.device,
        prefix="evaluate_",
    )
