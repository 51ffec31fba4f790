"""How far translations are from real images of their target domain, and how certain that is."""

from __future__ import annotations

import torch

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
from cyclegan.evaluation.result import Evaluation
from cyclegan.evaluation.translations import ENDS, Domain
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.pixel_kind import alike


def add_distances(e: Evaluation) -> None:
    """Distances in features, precision and recall of both directions, with intervals."""
    size, scores = e.config.batch_size, e.scores
    with e.timed("features of real images"):
        real = {
            end: cached_features(test.images, e.extractor, size, f"real {end}")
            for end, test in e.sets.items()
        }
    with e.timed("features of translations"):
        fake = {d: e.extractor(t.images, size, f"translated {d}") for d, t in e.translations.items()}
    with e.timed("distances"):
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
        with e.timed("intervals"):
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
