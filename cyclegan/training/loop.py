"""The training loop: epochs of updates, then the samples, evaluation and checkpoint that are due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cyclegan.data.packed import PackedImages
from cyclegan.model import save_model
from cyclegan.registry.pages.card import model_card
from cyclegan.runtime.distributed import any_process, averaged
from cyclegan.runtime.signals import StopRequest
from cyclegan.tracking.base import Tracker
from cyclegan.training.checkpoints.checkpoints import Checkpoints
from cyclegan.training.progress.page import progress_page, write_progress
from cyclegan.training.progress.reporter import Reporter, losses_csv
from cyclegan.training.setup import Setup, describe
from cyclegan.training.state import State
from cyclegan.training.updates.schedule import in_epochs

if TYPE_CHECKING:
    from cyclegan.evaluation.monitor import Monitor

logger = logging.getLogger(__name__)

# Several processes must agree on when to stop or save, and that costs a message: once in so many updates.
AGREE_EVERY = 10


@dataclass
class Trainer:
    """One process of a training run, from `state` to the end of the schedule or of patience."""

    setup: Setup
    state: State
    update: Callable[..., Tensor]
    """As `Update.__call__`."""
    images_a: PackedImages
    images_b: PackedImages
    kept: Checkpoints
    stop: StopRequest
    tracker: Tracker
    report: Reporter
    monitor: Monitor | None
    """In the first process of a run with `evaluate_every`."""
    model: Path
    """The folder that always holds the newest generators (or the best-scored ones)."""
    git_commit: str | None
    saved: float = 0.0
    """When the last checkpoint was written, on the monotonic clock."""
    saved_step: int = -1
    """The update that it was written after; -1 where this process has written none."""

    def run(self) -> None:
        """All epochs that are left; raises Interrupted, with a checkpoint, when asked to stop."""
        setup, state = self.setup, self.state
        try:
            if setup.processes.is_main and setup.config.sample_every:
                if state.step == 0:
                    self.translations(0)
                else:  # for the page; MLflow has those of whole epochs
                    with self.report.pace.pause("samples"):
                        self.report.draw(*state.exported())
                        self.report.addresses()
            if setup.processes.is_main and state.step < setup.total:
                starting = f"Starting: {in_epochs(setup.schedule.epochs)}"
                self.show_progress("Resuming" if state.step else starting)
                logger.info("The run as it goes, in a browser: %s", progress_page(self.model))
            if self.monitor and state.step < setup.total:
                state.score_by(self.monitor.headline)
            self.saved = time.monotonic()
            self.report.pace.start()
            for epoch in range(state.step // setup.steps, setup.schedule.epochs):
                if self.out_of_patience():
                    break
                self.train_epoch(epoch)
                self.finish_epoch(epoch + 1)
            self.kept.finish()
        finally:
            self.report.close()  # before anybody writes where the bar stands
        self.export(finished=True)
        if self.setup.processes.is_main:
            self.show_progress(finished=True)

    def train_epoch(self, epoch: int) -> None:
        """The updates of an epoch, counted from 0, or what is left of them."""
        setup, state = self.setup, self.state
        lr = setup.config.lr * setup.schedule.factor(epoch)
        state.set_lr(lr)
        for batch in self.batches(epoch):
            state.pending.append(self.update(*batch))
            state.advance()
            self.report.updated(state.step)
            if state.step % setup.config.log_every == 0:
                self.log(lr)
            # Not after the last one: a run that resumes there begins the next epoch, so a checkpoint of it
            # must be of an epoch that was logged and scored. `finish_epoch` asks then.
            agreed = setup.processes.world_size == 1 or state.step % AGREE_EVERY == 0
            if agreed and state.step % setup.steps:
                self.save_or_stop()
        if state.pending:
            self.log(lr)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """For each update left in an epoch: images of A and of B, what their image pools do, and the random
        numbers of the augmentation where there is one.
        """
        device, processes = self.setup.device, self.setup.processes
        plan = self.setup.sampling.plan(epoch).part(processes.rank, processes.world_size)
        # Each table goes once an epoch to where it is read, so that no update waits for it.
        crops_a, crops_b = plan.a.to(self.images_a.images.device), plan.b.to(self.images_b.images.device)
        slots_a, slots_b = plan.slots_a.to(device), plan.slots_b.to(device)
        chances = [plan.chance_a.to(device), plan.chance_b.to(device)] if plan.chance_a.numel() else []
        for i in range(self.state.step % self.setup.steps, self.setup.steps):
            a, b = self.images_a.batch(crops_a[i]), self.images_b.batch(crops_b[i])
            yield a, b, slots_a[i], slots_b[i], *(table[i] for table in chances)

    def log(self, lr: float) -> None:
        """Report the losses of the updates since the last time, averaged over all processes."""
        state, report = self.state, self.report
        rows, state.pending = averaged(torch.stack(state.pending)), []
        progress = state.progress
        progress.losses = report.losses(rows, state.step, lr)
        progress.curves.append([state.step, *progress.losses.values(), lr])
        # 0 where the updates were done before this process resumed
        progress.images_per_second = report.images_per_second() or progress.images_per_second

    def save_or_stop(self) -> None:
        """Write a checkpoint when the last one is old or somebody asks to stop, then raising Interrupted."""
        setup = self.setup
        asked = any_process(bool(self.stop.number), setup.device)
        due = time.monotonic() - self.saved > 60 * setup.config.checkpoint_minutes
        if asked or any_process(due, setup.device):
            self.save()
        if asked:
            self.kept.finish()
            self.export()
            self.stop.raise_interrupted(self.state.step, setup.total)

    def save(self) -> None:
        """Begin to write a checkpoint, unless this update has one; every process must call it."""
        state = self.state
        if state.step == self.saved_step:
            return
        with self.report.pace.pause("checkpoint"):
            tensors = state.tensors()
            if self.setup.processes.is_main:
                self.kept.save(tensors, state.progress)
        self.saved, self.saved_step = time.monotonic(), state.step

    def finish_epoch(self, done: int) -> None:
        """What is due after so many epochs."""
        config, last = self.setup.config, done == self.setup.schedule.epochs
        sample = last or (config.sample_every and done % config.sample_every == 0)
        if self.setup.processes.is_main and sample:
            self.translations(done)
        if self.monitor and (last or done % config.evaluate_every == 0):
            self.evaluate(self.monitor, done)
        stopped = self.out_of_patience()
        if last or stopped or done % config.checkpoint_every == 0:
            self.save()
            if not (last or stopped):
                self.export()
        if not (last or stopped):
            if self.setup.processes.is_main:
                self.show_progress()
            self.save_or_stop()

    def translations(self, done: int) -> None:
        """Log the generators' translations of the sample images after so many epochs."""
        with self.report.pace.pause("samples"):
            self.report.translations(*self.state.exported(), done)
            self.report.addresses()  # encodes them for the page, which is most of the page's cost

    def evaluate(self, monitor: Monitor, done: int) -> None:
        """Score the generators after so many epochs, and keep them if they are the best so far."""
        AtoB, BtoA = self.state.exported()
        with self.report.pace.pause("evaluation"):
            scores = monitor.score({"AtoB": AtoB, "BtoA": BtoA})
        self.report.scores(scores, self.state.step)
        self.state.note_score(scores[monitor.headline], done, monitor.headline)

    def out_of_patience(self) -> bool:
        """Whether none of the last `patience` scores was better than the best; the same in every process."""
        ended = 0 < self.setup.config.patience <= self.state.progress.worse
        return any_process(ended, self.setup.device)  # the first alone has scored

    def export(self, *, finished: bool = False) -> None:
        """Write the model folder: the best-scored generators, or the newest where they are not scored.

        A best score from before the run was resumed without evaluations doesn't count.
        """
        if not self.setup.processes.is_main:
            return
        state = self.state
        best = state.progress.best if self.setup.config.evaluate_every else None
        with self.report.pace.pause("model"):
            AtoB, BtoA = state.best_exported() if best else state.exported()
            config = describe(
                self.setup,
                epochs=best.epoch if best else state.step // self.setup.steps,
                finished=finished,
                git_commit=self.git_commit,
                run_id=self.tracker.run_id,
            )
            curves = losses_csv(state.progress.curves)
            texts = {"losses.csv": curves, "README.md": model_card(config)}
            save_model(self.model, {"AtoB": AtoB, "BtoA": BtoA}, config, texts=texts)

    def show_progress(self, status: str = "", *, finished: bool = False) -> None:
        """Write the page that people watch the run on; a disk without room for it stops nothing.

        `status` is in words; where it is empty, how far the run is and how long it will take.
        """
        state, data = self.state, self.setup.data
        end = f"Finished after {in_epochs(state.step // self.setup.steps)}"
        try:
            write_progress(
                progress_page(self.model),
                title=data.title or "Training",
                status=end if finished else status or self.report.status(state.step),
                finished=finished,
                curves=losses_csv(state.progress.curves),
                pictures=self.report.addresses(),
                names=data.names,
            )
        except OSError as error:
            logger.warning("Could not write %s: %s.", progress_page(self.model), error.strerror)

    def results(self) -> dict[str, float]:
        """What `train` returns."""
        state = self.state
        return {
            **state.progress.losses,
            "images_per_second": state.progress.images_per_second,
            "epochs": float(state.step // self.setup.steps),
            "steps": float(state.step),
        }
