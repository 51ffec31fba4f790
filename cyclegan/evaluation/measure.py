"""Everything measured about a model on the test images: distances, pixels, nearest training images."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from cyclegan.data.prepared import Manifest, Prepared
from cyclegan.errors import UsageError
from cyclegan.evaluation import nearest, paired
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.distances import (
    frechet_distance,
    frechet_influence,
    frechet_replicates,
    interval,
    jackknife_error,
    kernel_distance,
    nearest_distance,
    precision_recall,
    resample_counts,
)
from cyclegan.evaluation.extractors.cache import cached_features
from cyclegan.evaluation.extractors.features import Extractor, load_extractor
from cyclegan.evaluation.paired import Values
from cyclegan.evaluation.translations import ENDS, Domain, EvalImages, Translations, load_test_sets, translate
from cyclegan.io.pages.false_colour import View
from cyclegan.model import DIRECTIONS, Direction, Model
from cyclegan.pixel_kind import alike, all_rgb, in_words
from cyclegan.registry.metrics import where

logger = logging.getLogger(__name__)

Interval = tuple[float, float]
BOOTSTRAP_LIMIT = 2000
"""Test images of a domain up to which resamples take minutes at most."""


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
    gains: dict[Direction, Interval] = field(default_factory=dict)
    """95 % intervals of `gain`: narrower than the distances', whose images are the same."""
    per_image: dict[Direction, dict[str, Values]] = field(default_factory=dict)
    """Values of single images, in the order of the source domain's test set."""
    nearest: dict[Direction, nearest.Nearest] = field(default_factory=dict)
    """The training image of the target domain nearest to each translation."""
    spacing: dict[Direction, float] = field(default_factory=dict)
    """Median distance, in features, of a real target image to the nearest other one."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know before trusting the numbers."""
    seconds: dict[str, float] = field(default_factory=dict)

    def gain(self, d: Direction) -> float | None:
        """The part of the way from untranslated to real images: 1 is all of it, below 0 worse than nothing.

        None where untranslated images cannot be compared with real ones, or are as good as these.
        """
        untranslated = self.scores.get(f"{self.extractor.frechet}_input", 0.0)
        return 1 - self.scores[f"{self.extractor.frechet}_{d}"] / untranslated if untranslated > 0 else None

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


def measure(data: Prepared, model: Model, config: EvaluateConfig, device: torch.device) -> Evaluation:
    """All measurements of both directions on the test images; nothing is written.

    Raises UsageError where the model takes images of a different kind from those in `data`.
    """
    seconds: dict[str, float] = {}
    size = model.test_size(data.height, data.width)
    if model.kinds != data.kinds:
        raise UsageError(
            f"The model does not fit the images of {data.folder}: in the model, {in_words(model.kinds)}; "
            f"in the folder, {in_words(data.kinds)}."
        )
    extractor = load_extractor(
        config.features, config.weights, config.weights_sha256, device, kinds=data.kinds
    )
    sets = load_test_sets(data, size, max_images=config.max_images, seed=config.seed)
    with _timed("translations", seconds):
        translations = {d: translate(model, d, sets, config.batch_size, device) for d in DIRECTIONS}
    result = Evaluation(config, data, model, extractor, sets, translations, seconds=seconds)
    _add_distances(result)
    with _timed("pixels", seconds):
        _add_pixels(result)
    with _timed("nearest training images", seconds):
        _add_nearest(result)
    result.notes += _notes(result)
    for note in result.notes:
        logger.warning("%s", note)
    return result


@contextmanager
def _timed(what: str, seconds: dict[str, float]) -> Iterator[None]:
    logger.info("Evaluating: %s.", what)
    start = time.perf_counter()
    yield
    seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - start


def _add_distances(e: Evaluation) -> None:
    size, scores = e.config.batch_size, e.scores
    with _timed("features of real images", e.seconds):
        real = {
            end: cached_features(test.images, e.extractor, size, f"real {end}")
            for end, test in e.sets.items()
        }
    with _timed("features of translations", e.seconds):
        fake = {d: e.extractor(t.images, size, f"translated {d}") for d, t in e.translations.items()}
    with _timed("distances", e.seconds):
        frechet, kernel = e.extractor.frechet, e.extractor.kernel
        distances = {d: frechet_distance(fake[d], real[ENDS[d][1]]) for d in DIRECTIONS}
        scores["score"] = scores[frechet] = sum(distances.values()) / 2
        scores |= {f"{frechet}_{d}": distances[d] for d in DIRECTIONS}
        if alike(e.data.kinds):
            scores[f"{frechet}_input"] = frechet_distance(real["A"], real["B"])
        if min(len(features) for features in real.values()) >= 4:
            for d in DIRECTIONS:
                target = real[ENDS[d][1]]
                value, error = kernel_distance(fake[d], target, paired=e.manifest.paired)
                scores |= {f"{kernel}_{d}": value, f"{kernel}_{d}_se": error}
                e.intervals[f"{kernel}_{d}"] = (value - 1.96 * error, value + 1.96 * error)
                precision, recall = precision_recall(target, fake[d])
                scores |= {f"precision{e.extractor.suffix}_{d}": precision}
                scores |= {f"recall{e.extractor.suffix}_{d}": recall}
        for d in DIRECTIONS:
            _add_single_images(e, d, fake[d], real[ENDS[d][1]])
    if e.config.resamples:
        with _timed("intervals", e.seconds):
            (_add_intervals if e.bootstrapped else _add_jackknife_intervals)(e, real, fake)


def _add_single_images(e: Evaluation, d: Direction, fake: torch.Tensor, real: torch.Tensor) -> None:
    """Which translations look least like a real image, and which carry the Fréchet distance."""
    values = e.per_image.setdefault(d, {})
    values["nearest_real"] = nearest_distance(fake, real).numpy()
    e.spacing[d] = float(nearest_distance(real, real, itself=True).median())
    if len(fake) > 2:
        values["influence"] = frechet_influence(fake, real).numpy()


def _add_intervals(
    e: Evaluation, real: dict[Domain, torch.Tensor], fake: dict[Direction, torch.Tensor]
) -> None:
    """Bootstrap both directions on the same resampled images, and pairs as pairs: they are dependent."""
    generator = torch.Generator().manual_seed(e.config.seed)
    counts = {"A": resample_counts(len(real["A"]), e.config.resamples, generator)}
    counts["B"] = (
        counts["A"] if e.manifest.paired else resample_counts(len(real["B"]), e.config.resamples, generator)
    )
    total = torch.zeros(e.config.resamples, dtype=torch.float64)
    untranslated = frechet_replicates(real["A"], real["B"], counts["A"], counts["B"])
    for d in DIRECTIONS:
        source, target = ENDS[d]
        replicates = frechet_replicates(fake[d], real[target], counts[source], counts[target])
        name = f"{e.extractor.frechet}_{d}"
        e.intervals[name] = interval(e.scores[name], replicates)
        if (gain := e.gain(d)) is not None:
            e.gains[d] = interval(gain, 1 - replicates / untranslated)
        total += replicates / 2
    both = interval(e.scores["score"], total)
    e.intervals |= {"score": both, e.extractor.frechet: both}


def _add_jackknife_intervals(
    e: Evaluation, real: dict[Domain, torch.Tensor], fake: dict[Direction, torch.Tensor]
) -> None:
    """±1.96 standard errors from what each image adds to the distances, as translation and as real image."""
    frechet = e.extractor.frechet
    shares: dict[str, dict[Domain, torch.Tensor]] = {}
    for d in DIRECTIONS:
        source, target = ENDS[d]
        shares[f"{frechet}_{d}"] = {
            source: torch.from_numpy(e.per_image[d]["influence"]),
            target: frechet_influence(real[target], fake[d]),
        }
    both = [shares[f"{frechet}_{d}"] for d in DIRECTIONS]
    shares["score"] = shares[frechet] = {end: (both[0][end] + both[1][end]) / 2 for end in real}
    for name, by_end in shares.items():
        error = jackknife_error(list(by_end.values()), paired=e.manifest.paired)
        e.intervals[name] = (e.scores[name] - 1.96 * error, e.scores[name] + 1.96 * error)
    untranslated = {
        "A": frechet_influence(real["A"], real["B"]),
        "B": frechet_influence(real["B"], real["A"]),
    }
    for d in DIRECTIONS:
        if (gain := e.gain(d)) is None:
            continue
        # what each image adds to 1 − distance / untranslated, to first order
        of_gain = [
            ((1 - gain) * untranslated[end] - share) / e.scores[f"{frechet}_input"]
            for end, share in shares[f"{frechet}_{d}"].items()
        ]
        error = jackknife_error(of_gain, paired=e.manifest.paired)
        e.gains[d] = (gain - 1.96 * error, gain + 1.96 * error)


def _add_pixels(e: Evaluation) -> None:
    for d, t in e.translations.items():
        source, target = ENDS[d]
        values: dict[str, Values] = {"cycle_l1": t.cycle}
        _add_mean(e, f"cycle_l1_{source}", t.cycle)
        if t.identity is not None:
            _add_mean(e, f"identity_l1_{target}", t.identity)
        if e.manifest.paired:
            truth, given = e.sets[target].images, e.sets[source].images
            values["l1"] = paired.l1(t.images, truth)
            values["psnr"] = paired.psnr(t.images, truth)
            values["map_accuracy"] = paired.map_accuracy(t.images, truth, e.config.map_threshold)
            if min(truth.shape[1:3]) >= 11:
                values["ssim"] = paired.ssim(t.images, truth)
            for name in list(values)[1:]:  # no set: scores.json has their order, and must be the same bytes
                _add_mean(e, f"{name}_{d}", values[name])
            mean = truth.mean(axis=(0, 1, 2), dtype=np.float64).round().astype(truth.dtype)
            if alike(e.data.kinds):
                e.scores[f"l1_{d}_input"] = float(paired.l1(given, truth).mean())
            e.scores[f"l1_{d}_mean"] = float(paired.l1(np.broadcast_to(mean, truth.shape), truth).mean())
        e.per_image.setdefault(d, {}).update(values)


def _add_mean(e: Evaluation, name: str, values: Values) -> None:
    """The mean of values that are never negative, with its interval."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    e.scores[name] = mean
    e.intervals[name] = (max(0.0, mean - 1.96 * error), mean + 1.96 * error)


def _add_nearest(e: Evaluation) -> None:
    """`nearest_train_AtoB` far below `nearest_train_B` (real test images) means repeated training images."""
    for d, t in e.translations.items():
        target = ENDS[d][1]
        train = nearest.coarse(e.data.array(f"train{target}"))
        e.nearest[d] = nearest.nearest(nearest.coarse(t.images), train)
        real = nearest.nearest(nearest.coarse(e.sets[target].images), train)
        e.scores[f"nearest_train_{d}"] = float(np.median(e.nearest[d].distance))
        e.scores[f"nearest_train_{target}"] = float(np.median(real.distance))


def _notes(e: Evaluation) -> list[str]:
    notes = []
    fewest = min(len(test.images) for test in e.sets.values())
    if fewest < e.extractor.dimensions:
        notes.append(
            f"Only {fewest} test images for {e.extractor.dimensions} feature dimensions: "
            f"{e.extractor.frechet} is biased upwards, so compare it only with values from the same images; "
            f"{e.extractor.kernel} is unbiased."
        )
    if not all_rgb(e.data.kinds):
        apart = "" if alike(e.data.kinds) else ", nor what the untranslated input or the identity would score"
        notes.append(
            f"Inception takes RGB of 8 bits, but here {in_words(e.data.kinds)}: FID and KID cannot be "
            f"computed{apart}. Distances come from a fixed random network and rank models on the same data."
        )
    elif e.extractor.name == "random":
        notes.append(
            "Distances come from a fixed random network, not from Inception: they rank models on the same "
            "data but are not FID or KID."
        )
    if e.model.config.get("finished") is False:
        notes.append(f"Training is unfinished: the generators are from epoch {e.model.config['epochs']}.")
    trained_on = (e.model.config.get("data") or {}).get("version")
    if trained_on and trained_on != e.manifest.version:
        notes.append(f"The model was trained on data version {trained_on}, judged on {e.manifest.version}.")
    for d in DIRECTIONS:
        notes += _worse_than_nothing(e, d)
    for d in DIRECTIONS:
        target = ENDS[d][1]
        ours, real = e.scores[f"nearest_train_{d}"], e.scores[f"nearest_train_{target}"]
        if ours < 0.5 * real:
            notes.append(
                f"Translations {where(d, e.names)} are much closer to training images ({ours:.3f}) than real "
                f"test images are ({real:.3f}): check whether they repeat them."
            )
    return notes


def _worse_than_nothing(e: Evaluation, d: Direction) -> list[str]:
    """Said aloud: a generator that does worse than one that returns its input or a constant."""
    source, target, way = e.names[ENDS[d][0]], e.names[ENDS[d][1]], where(d, e.names)
    found = []
    score, untranslated = e.scores[f"{e.extractor.frechet}_{d}"], e.scores.get(f"{e.extractor.frechet}_input")
    if untranslated is not None and score >= untranslated:
        found.append(
            f"Worse than no translation: the translations {way} are further from the real images of {target} "
            f"(Fréchet distance {score:.4g}) than the untranslated ones of {source} are ({untranslated:.4g})."
        )
    for baseline, what in (
        ("input", "the untranslated input"),
        ("mean", "a constant image of the mean colour"),
    ):
        other = e.scores.get(f"l1_{d}_{baseline}")
        if other is not None and (ours := e.scores[f"l1_{d}"]) >= other:
            found.append(
                f"{way}: {what} is at least as close to the truth (L1 {other:.4g}) as the model ({ours:.4g})."
            )
    return found
