"""A look at the generators while they train: the kernel distance on a fixed set of test images.

The kernel distance (KID), because it is unbiased: the Fréchet distance of a hundred images mostly tells how
few they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import torch

from cyclegan.data.prepared import Prepared
from cyclegan.errors import UsageError
from cyclegan.evaluation.config import Features
from cyclegan.evaluation.distances import kernel_distance
from cyclegan.evaluation.extractors.cache import cached_features
from cyclegan.evaluation.extractors.features import load_extractor
from cyclegan.evaluation.translations import ENDS, load_test_sets, translate_images
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.networks import Generator

logger = logging.getLogger(__name__)


class Monitor:
    """Scores generators again and again on the same images; features of real images are made once."""

    def __init__(
        self,
        data: Prepared,
        *,
        size: tuple[int, int] | None = None,
        features: Features = "auto",
        weights: str = "",
        weights_sha256: str = "",
        device: torch.device | str = "cpu",
        max_images: int = 100,
        batch_size: int = 16,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        """`size` is the (height, width) that test images are evaluated at; None: as prepared.
        `features`, `weights` and `weights_sha256` are those of EvaluateConfig; in messages their names begin
        with `prefix`.

        Raises UsageError or CycleGANError for weights that cannot be used, or too few test images.
        """
        self.device, self.batch_size = torch.device(device), batch_size
        self.extractor = load_extractor(
            features, weights, weights_sha256, self.device, prefix=prefix, kinds=data.kinds
        )
        self.sets = load_test_sets(data, size or (data.height, data.width), max_images=max_images, seed=seed)
        if (fewest := min(len(test.images) for test in self.sets.values())) < 4:
            raise UsageError(f"Scores during training need 4 test images of each domain, not {fewest}.")
        self.real = {
            end: cached_features(test.images, self.extractor, batch_size, f"real {end}")
            for end, test in self.sets.items()
        }

    @property
    def headline(self) -> str:
        """The key of the mean of both directions in what `score` returns: lower is better."""
        return self.extractor.kernel

    def score(self, generators: Mapping[Direction, Generator]) -> dict[str, float]:
        """`<kernel>_AtoB`, `<kernel>_BtoA`, their mean `<kernel>`, and `evaluation_seconds`.

        <kernel> is `kid` or, with another extractor, `kernel_<name>`. Draws no random numbers; the generators
        are left in the mode they came in.
        """
        start = time.perf_counter()
        scores: dict[str, float] = {}
        for direction in DIRECTIONS:
            source, target = ENDS[direction]
            generator = generators[direction]
            training = generator.training
            generator.eval()
            try:
                images = translate_images(
                    generator, self.sets[source].images, self.batch_size, self.device, direction
                )
            finally:
                generator.train(training)
            fake = self.extractor(images, self.batch_size)
            scores[f"{self.headline}_{direction}"], _ = kernel_distance(fake, self.real[target])
        scores[self.headline] = sum(scores.values()) / len(scores)
        scores["evaluation_seconds"] = time.perf_counter() - start
        logger.info(
            "%s %.4f (evaluation took %.1f s)",
            self.headline,
            scores[self.headline],
            scores["evaluation_seconds"],
        )
        return scores
