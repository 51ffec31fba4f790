"""What the outside sees of a run: the progress bar, metrics, sample grids, warnings."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from cyclegan.errors import CycleGANError
from cyclegan.io.pages.false_colour import View
from cyclegan.io.pages.page import picture
from cyclegan.networks import Generator
from cyclegan.pixels import to_integers
from cyclegan.training.progress.diagnostics import (
    complaints,
    correlation,
    diversity,
    first_non_finite,
    inversions,
)
from cyclegan.training.progress.pace import Pace, duration
from cyclegan.training.progress.samples import Grid, labelled, translate_and_back
from cyclegan.training.updates.update import TERMS

if TYPE_CHECKING:
    from cyclegan.tracking.base import Tracker

logger = logging.getLogger(__name__)

# MLflow's pages make a section of what stands before the last slash and sort sections by name, so pictures
# come first; its comparisons sort metrics by name, so scores come before what training reports. Of two runs
# it draws first the metric recorded first. No score is known then, so it is a cycle loss: those of two runs
# compare, as adversarial losses and diagnostics do not.
SAMPLES = "samples"
TRAIN = "train"
DIAGNOSTICS = "train/diagnostics"
SPEED = "train/speed"

LINE_SECONDS = 30.0
DAY = 24 * 3600.0


class Reporter:
    """Turns losses and generators into numbers and pictures; the only place that waits for the device."""

    def __init__(
        self,
        tracker: Tracker,
        pace: Pace,
        *,
        batch_size: int,
        step: int,
        samples: list[Tensor],
        names: Mapping[str, str] | None = None,
        bits: int = 8,
        main: bool = True,
        advice: Callable[[], str] = lambda: "",
    ) -> None:
        """`samples`: test images of A and of B, each N×C×H×W; `step` is the last update that was done.

        `names` are the user's names of domain A and B, for the labels in pictures, and `bits` those of a
        channel.
        The `main` process shows a progress bar where there is a terminal, and else writes a line now and
        then. `advice` says what would make the run shorter; it is asked for where that is worth saying.
        """
        self.tracker, self.pace, self.batch_size, self.samples = tracker, pace, batch_size, samples
        self.main, self.advice = main, advice
        self.names = names or {"A": "A", "B": "B"}
        self.bits = bits
        self.bar = tqdm(
            total=pace.total,
            initial=step,
            disable=None if main else True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )
        self._said = time.monotonic()
        self._cycle = ""
        self.pictures: dict[str, Grid] = {}
        """The newest samples of each direction."""
        self._addresses: dict[str, str] = {}
        self._epoch_shown = 0
        self._estimated = False
        self._seen: Counter[str] = Counter()

    def updated(self, step: int) -> None:
        """Move the bar, or write a line where there is none; early on say how long the run will take."""
        self.pace.updated()
        if not self.main:
            return
        if self.pace.measured and not self._estimated and step < self.pace.total:
            self._estimated = True
            self._estimate(step)
        if self.bar.disable:
            if step == self.pace.total or time.monotonic() - self._said > LINE_SECONDS:
                self._said = time.monotonic()
                where = f"Update {step} of {self.pace.total}, {self._epoch(step)}"
                logger.info("%s: %s.", where, self._now(step))
        else:
            self.bar.set_description_str(self._epoch(step).capitalize(), refresh=False)
            self.bar.set_postfix_str(self._now(step), refresh=False)
            self.bar.update(step - self.bar.n)

    def _epoch(self, step: int) -> str:
        epochs = self.pace.total // self.pace.steps_per_epoch
        return f"epoch {-(-step // self.pace.steps_per_epoch)} of {epochs}"

    def _now(self, step: int) -> str:
        left = self.pace.left(step)
        parts = [f"{self.pace.recent_speed * self.batch_size:.1f} images/s"]
        if left is not None and step < self.pace.total:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts + [self._cycle] * bool(self._cycle))

    def _estimate(self, step: int) -> None:
        left = self.pace.left(step) or 0.0
        form = "%A %d %B, %H:%M" if left > 12 * 3600 else "%H:%M"
        ends = time.strftime(form, time.localtime(time.time() + left))
        whole = step == self.pace.updates
        what = "This run takes" if whole else "The rest of this run takes"
        takes = duration(left + self.pace.elapsed if whole else left)
        scored = self.pace.unmeasured("evaluation", step)
        more = f", and longer by {scored} evaluation{'s'[: scored > 1]}" if scored else ""
        logger.info("%s about %s, until %s%s.", what, takes, ends, more)
        if advice := self.advice() if left > DAY else "":
            logger.warning("%s", advice)

    def losses(self, rows: Tensor, step: int, lr: float) -> dict[str, float]:
        """Report the losses of the updates that led to `step`, rows × TERMS; returns their means.

        Raises CycleGANError, naming the update, where one of them is nan or infinite.
        """
        rows = rows.cpu()  # waits for the device, so that the pace below is right
        bad = first_non_finite(rows)
        if bad is not None:
            raise CycleGANError(_not_finite(step - len(rows) + bad + 1))
        means = dict(zip(TERMS, rows.double().mean(0).tolist(), strict=True))
        numbers = {
            f"{DIAGNOSTICS}/{name}" if name.startswith(("real", "fake")) else f"{TRAIN}/{name}": means[name]
            for name in sorted(TERMS, key=lambda name: not name.startswith("cycle"))
        }
        numbers |= {f"{SPEED}/lr": lr}
        if speed := self.pace.interval():  # none for updates of a process before this one
            numbers |= {f"{SPEED}/images_per_second": speed * self.batch_size}
        if torch.cuda.is_available():
            numbers[f"{SPEED}/device_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.tracker.metrics(numbers, step)
        self._cycle = f"cycle loss {means['cycle_A']:.3f} {means['cycle_B']:.3f}"
        self._warn(complaints(means))
        return means

    def scores(self, found: Mapping[str, float], step: int) -> None:
        """Report what the monitor found after update `step`, under names that `evaluate` doesn't use.

        MLflow shows a metric's value at the latest step, and `evaluate` logs at none.
        """
        self.tracker.metrics({f"{TRAIN}/{name}": value for name, value in found.items()}, step)

    def translations(self, AtoB: Generator, BtoA: Generator, epoch: int) -> None:
        """Log a grid for each direction: input, translation, reconstruction."""
        self._epoch_shown = epoch
        for direction, images, translated in self.draw(AtoB, BtoA):
            self.tracker.image(f"{SAMPLES}/{direction}", self.pictures[direction], epoch)
            alike, varied = correlation(images, translated), diversity(translated, images)
            if epoch:  # of untrained generators it would only be the first metric of the run
                self.tracker.metrics({f"{DIAGNOSTICS}/input_correlation_{direction}": alike}, epoch)
            self._warn(inversions(direction, alike, varied))

    def draw(self, AtoB: Generator, BtoA: Generator) -> list[tuple[str, Tensor, Tensor]]:
        """Make `pictures` those of these generators; returns direction, images and their translations."""
        a, b = self.samples
        drawn = []
        for direction, there, back, images in (("AtoB", AtoB, BtoA, a), ("BtoA", BtoA, AtoB, b)):
            translated, reconstructed = translate_and_back(there, back, images)
            names = [self.names[end] for end in direction.split("to")]
            views = [View.of(to_integers(real, self.bits)) for real in (images, b if images is a else a)]
            self.pictures[direction] = labelled(
                images, translated, reconstructed, names, views=views, bits=self.bits
            )
            self._addresses.pop(direction, None)
            drawn.append((direction, images, translated))
        return drawn

    def addresses(self) -> dict[str, str]:
        """`pictures` as data: addresses; a grid is encoded once, on however many pages it is shown."""
        for direction, grid in self.pictures.items():
            if direction not in self._addresses:
                self._addresses[direction] = picture(grid, 1200, effort=2)
        return self._addresses

    def status(self, step: int) -> str:
        """Where the run is and how long it will take, in words."""
        return f"{self._epoch(step)}, {self._now(step)}".capitalize()

    def close(self) -> None:
        """End the progress bar, and leave the newest samples where MLflow's sliders rest, at step 0.

        Until then the samples from before the first update are there, and MLflow shows the later of two.
        """
        self.bar.close()
        if self._epoch_shown:
            for direction, grid in self.pictures.items():
                self.tracker.image(f"{SAMPLES}/{direction}", grid, 0)

    def images_per_second(self) -> float:
        """Pairs trained on per second since this process began."""
        return self.pace.speed * self.batch_size

    def _warn(self, messages: list[str]) -> None:
        """Each warning once, at the third report that shows its cause; one alone may be chance."""
        for message in messages:
            kind = message.split("(")[0]  # its numbers change with every report, its first words don't
            self._seen[kind] += 1
            if self._seen[kind] == 3:
                logger.warning("%s", message)


def losses_csv(rows: Iterable[Sequence[float]]) -> str:
    """The loss curves as CSV, one row a log line: update, TERMS, learning rate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("step", *TERMS, "lr"))
    writer.writerows((int(row[0]), *row[1:]) for row in rows)  # a float once it was in a checkpoint
    return text.getvalue()


def _not_finite(step: int) -> str:
    return (
        f"Loss became NaN or infinite at update {step}. The previous checkpoint is intact: "
        "restart with another seed, a lower lr or --precision fp32."
    )
