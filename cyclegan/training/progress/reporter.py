"""What the outside sees of a run: the progress bar, metrics, sample grids, warnings."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cyclegan.errors import CycleGANError
from cyclegan.training.progress.diagnostics import (
    complaints,
    correlation,
    diversity,
    first_non_finite,
    inversions,
)
from cyclegan.training.progress.samples import grid, translate_and_back
from cyclegan.training.update import TERMS

if TYPE_CHECKING:
    from cyclegan.tracking.base import Tracker

logger = logging.getLogger(__name__)

LINE_SECONDS = 30.0


class Reporter:
    """Turns losses and generators into numbers and pictures; the only place that waits for the device."""

    def __init__(
        self,
        tracker: Tracker,
        *,
        batch_size: int,
        total: int,
        step: int,
        samples: list[Tensor],
        bar: bool = True,
    ) -> None:
        """`samples`: test images of A and of B, each N×3×H×W; `total` and `step` count updates.

        With `bar` there is a progress bar where there is a terminal.
        """
        self.tracker, self.batch_size, self.samples = tracker, batch_size, samples
        disable = None if bar else True
        self.bar = tqdm(total=total, initial=step, unit="update", disable=disable, smoothing=0.05)
        self.total, self._said = total, time.monotonic()
        self.steps, self.seconds = 0, 0.0
        self._since, self._mark = step, time.perf_counter()
        self._seen: Counter[str] = Counter()

    def losses(self, rows: Tensor, step: int, lr: float) -> dict[str, float]:
        """Report the losses of the updates that led to `step`, rows × TERMS; returns their means.

        Raises CycleGANError, naming the update, where one of them is nan or infinite.
        """
        rows = rows.cpu()  # waits for the device, so the clock below is right
        now = time.perf_counter()
        took, done = now - self._mark, step - self._since
        self.steps, self.seconds = self.steps + done, self.seconds + took
        bad = first_non_finite(rows)
        if bad is not None:
            raise CycleGANError(_not_finite(step - len(rows) + bad + 1))
        means = dict(zip(TERMS, rows.double().mean(0).tolist(), strict=True))
        numbers = {
            f"discriminator/{name}" if name.startswith(("real", "fake")) else f"loss/{name}": value
            for name, value in means.items()
        }
        numbers |= {"lr": lr, "images_per_second": done * self.batch_size / took if took else 0.0}
        if torch.cuda.is_available():
            numbers["device_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.tracker.metrics(numbers, step)
        self.bar.update(step - self.bar.n)
        self.bar.set_postfix(cycle=f"{means['cycle_A']:.3f} {means['cycle_B']:.3f}", refresh=False)
        self._log(step, numbers["images_per_second"], means)
        self._warn(complaints(means))
        self.resume_clock(step)
        return means

    def _log(self, step: int, speed: float, means: dict[str, float]) -> None:
        """Now and then a line, where there is no terminal for the bar: in a file, a pod, a notebook's log."""
        if self.bar.disable and (step == self.total or time.monotonic() - self._said > LINE_SECONDS):
            cycle = f"cycle {means['cycle_A']:.3f} {means['cycle_B']:.3f}"
            logger.info("Update %d of %d, %.1f images/s, %s.", step, self.total, speed, cycle)
            self._said = time.monotonic()

    def resume_clock(self, step: int) -> None:
        """Leave what was done since the last report (samples, checkpoints) out of the images per second."""
        self._since, self._mark = step, time.perf_counter()

    def translations(self, AtoB: nn.Module, BtoA: nn.Module, epoch: int) -> None:
        """Log a grid for each direction: input, translation, reconstruction."""
        a, b = self.samples
        for direction, there, back, images in (("AtoB", AtoB, BtoA, a), ("BtoA", BtoA, AtoB, b)):
            translated, reconstructed = translate_and_back(there, back, images)
            self.tracker.image(f"samples_{direction}", grid(images, translated, reconstructed), epoch)
            alike, varied = correlation(images, translated), diversity(translated, images)
            self.tracker.metrics({f"input_correlation_{direction}": alike}, epoch)
            self._warn(inversions(direction, alike, varied))

    def close(self) -> None:
        """End the progress bar."""
        self.bar.close()

    def images_per_second(self) -> float:
        """Pairs trained on per second since this process began."""
        return self.steps * self.batch_size / self.seconds if self.seconds else 0.0

    def _warn(self, messages: list[str]) -> None:
        """Each warning once, at the third report that gives reason for it; one alone may be chance."""
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
    writer.writerows(rows)
    return text.getvalue()


def _not_finite(step: int) -> str:
    return (
        f"At update {step} the losses are not finite numbers any more; the checkpoint before it is good. "
        "Start again with another seed, a smaller lr, or precision fp32."
    )
