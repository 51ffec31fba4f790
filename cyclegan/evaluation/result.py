"""What an evaluation found out: scores, intervals, and the images and values that the report shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from cyclegan.data.prepared import Manifest, Prepared
from cyclegan.evaluation import nearest
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.extractors.features import Extractor
from cyclegan.evaluation.paired import Values
from cyclegan.evaluation.translations import Domain, EvalImages, Translations
from cyclegan.io.pages.false_colour import View
from cyclegan.model import DIRECTIONS, Direction, Model

logger = logging.getLogger(__name__)

Interval = tuple[float, float]
BOOTSTRAP_LIMIT = 2000
"""Test images of a domain up to which resamples take minutes at most."""


def about(value: float, error: float) -> Interval:
    """The 95 % interval of a value with this standard error."""
    return value - 1.96 * error, value + 1.96 * error


def _baseline(name: str) -> str:
    return f"{name}_mean" if name.startswith("l1_") else f"{name.rpartition('_')[0]}_input"


@dataclass
class Evaluation:
    """Everything found out about a model; what the report is drawn from."""

    config: EvaluateConfig
    data: Prepared
    model: Model
    extractor: Extractor
    sets: dict[Domain, EvalImages]
    translations: dict[Direction, Translations]
    scores: dict[str, float] = field(default_factory=dict)
    """Name to value: all finite."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """95 % intervals of some of the scores."""
    gains: dict[str, Interval] = field(default_factory=dict)
    """95 % intervals of `gain`: narrower than those of the scores, whose images are the same."""
    per_image: dict[Direction, dict[str, Values]] = field(default_factory=dict)
    """Values of single images, in the order of the source domain's test set."""
    nearest: dict[Direction, nearest.Nearest] = field(default_factory=dict)
    """The training image of the target domain nearest to each translation."""
    spacing: dict[Direction, float] = field(default_factory=dict)
    """Median distance, in features, of a real target image to the nearest other one."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know before trusting the numbers."""
    seconds: dict[str, float] = field(default_factory=dict)

    def gain(self, name: str) -> float | None:
        """The part of the way from `baseline` to 0 by one of `compared`: 1 is all of it, below 0 worse.

        None without a baseline, and where untranslated images may be as good as real ones.
        """
        baseline = self.baseline(name)
        if baseline is None:
            return None
        low, _ = self.intervals.get(_baseline(name), (baseline, baseline))
        return 1 - self.scores[name] / baseline if low > 0 else None

    def baseline(self, name: str) -> float | None:
        """What can be had without a model: a distance, as `fid_AtoB`, of untranslated images, or L1, as
        `l1_AtoB`, of the mean colour of the true ones; None where that cannot be compared.
        """
        return self.scores.get(_baseline(name))

    @property
    def distances(self) -> list[str]:
        """Names of the distances to real images, of both directions."""
        return self._of_directions(self.extractor.frechet, self.extractor.kernel)

    @property
    def compared(self) -> list[str]:
        """Names of the scores that have a baseline: the distances, and L1 where truths are known."""
        return [*self.distances, *self._of_directions("l1")]

    def _of_directions(self, *kinds: str) -> list[str]:
        return [name for kind in kinds for d in DIRECTIONS if (name := f"{kind}_{d}") in self.scores]

    @property
    def bootstrapped(self) -> bool:
        """Whether the distances' intervals come from resamples; their cost grows with the cube of n."""
        counts = [len(test.images) for test in self.sets.values()]
        return max(counts) <= BOOTSTRAP_LIMIT or min(counts) < 3

    @property
    def interval_method(self) -> str:
        """How the intervals came about, in a few words."""
        resamples = f"{self.config.resamples} bootstrap resamples"
        return f"95 %: {resamples if self.bootstrapped else 'jackknife'}; ±1.96 standard errors of means"

    @property
    def manifest(self) -> Manifest:
        """Of the prepared data that the model was judged on."""
        return self.data.manifest

    @cached_property
    def views(self) -> dict[Domain, View]:
        """How images of A and B are shown, by the real ones among them."""
        return {end: View.of(test.images) for end, test in self.sets.items()}

    @property
    def names(self) -> dict[str, str]:
        """What the user calls domain A and B."""
        return self.data.names

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Log what is being measured, and add the time that it takes to `seconds`."""
        logger.info("Evaluating: %s.", what)
        start = time.perf_counter()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start
