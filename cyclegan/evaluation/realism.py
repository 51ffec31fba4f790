"""How far translations are from real images of their target domain, and how certain that is."""

from __future__ import annotations

import torch

from cyclegan.evaluation.distances import (
    frechet_distance,
    frechet_influence,
    frechet_replicates,
    gain_error,
    interval,
    jackknife_error,
    kernel_influence,
    nearest_distance,
    precision_recall,
    resample_counts,
)
from cyclegan.evaluation.extractors.cache import cached_features
from cyclegan.evaluation.result import Evaluation, about
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
        frechet = e.extractor.frechet
        distances = {d: frechet_distance(fake[d], real[ENDS[d][1]]) for d in DIRECTIONS}
        scores["score"] = scores[frechet] = sum(distances.values()) / 2
        scores |= {f"{frechet}_{d}": distances[d] for d in DIRECTIONS}
        if alike(e.data.kinds):
            scores[f"{frechet}_input"] = frechet_distance(real["A"], real["B"])
        if min(len(features) for features in real.values()) >= 4:
            _add_kernel_distances(e, real, fake)
            for d in DIRECTIONS:
                precision, recall = precision_recall(real[ENDS[d][1]], fake[d])
                scores |= {f"precision{e.extractor.suffix}_{d}": precision}
                scores |= {f"recall{e.extractor.suffix}_{d}": recall}
        for d in DIRECTIONS:
            _add_single_images(e, d, fake[d], real[ENDS[d][1]])
    if e.config.resamples:
        with e.timed("intervals"):
            (_add_intervals if e.bootstrapped else _add_jackknife_intervals)(e, real, fake)


def add_gain(e: Evaluation, name: str, of_score: list[torch.Tensor], of_baseline: list[torch.Tensor]) -> None:
    """The jackknife's interval of a gain, where there is one, from the influences on score and baseline."""
    baseline, gain = e.baseline(name), e.gain(name)
    if baseline is not None and gain is not None:
        e.gains[name] = about(gain, gain_error(e.scores[name], of_score, baseline, of_baseline))


def _add_kernel_distances(
    e: Evaluation, real: dict[Domain, torch.Tensor], fake: dict[Direction, torch.Tensor]
) -> None:
    kernel, paired = e.extractor.kernel, e.manifest.paired
    baseline = f"{kernel}_input"
    of_untranslated: list[torch.Tensor] = []
    if alike(e.data.kinds):
        untranslated, of_untranslated = kernel_influence(real["A"], real["B"], paired=paired)
        e.scores[baseline] = untranslated
        e.intervals[baseline] = about(untranslated, jackknife_error(of_untranslated))
    for d in DIRECTIONS:
        name, source, target = f"{kernel}_{d}", *ENDS[d]
        e.scores[name], influences = kernel_influence(fake[d], real[target], paired=paired)
        error = e.scores[f"{name}_se"] = jackknife_error(influences)
        e.intervals[name] = about(e.scores[name], error)
        # first what images of A add, as in the other list
        add_gain(e, name, influences if source == "A" else influences[::-1], of_untranslated)


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
    untranslated = None
    if alike(e.data.kinds):
        untranslated = frechet_replicates(real["A"], real["B"], counts["A"], counts["B"])
    for d in DIRECTIONS:
        source, target = ENDS[d]
        replicates = frechet_replicates(fake[d], real[target], counts[source], counts[target])
        name = f"{e.extractor.frechet}_{d}"
        e.intervals[name] = interval(e.scores[name], replicates)
        if untranslated is not None and (gain := e.gain(name)) is not None:
            e.gains[name] = interval(gain, 1 - replicates / untranslated)
        total += replicates / 2
    both = interval(e.scores["score"], total)
    e.intervals |= {"score": both, e.extractor.frechet: both}


def _add_jackknife_intervals(
    e: Evaluation, real: dict[Domain, torch.Tensor], fake: dict[Direction, torch.Tensor]
) -> None:
    """±1.96 standard errors from what each image adds to the distances, as translation and as real image."""
    frechet = e.extractor.frechet

    def items(of_a: torch.Tensor, of_b: torch.Tensor) -> list[torch.Tensor]:
        return [of_a + of_b] if e.manifest.paired else [of_a, of_b]

    shares = {}
    for d in DIRECTIONS:
        source, target = ENDS[d]
        translated = torch.from_numpy(e.per_image[d]["influence"])
        by_end = {source: translated, target: frechet_influence(real[target], fake[d])}
        shares[f"{frechet}_{d}"] = items(by_end["A"], by_end["B"])
    both = [(one + other) / 2 for one, other in zip(*shares.values(), strict=True)]
    for name, influences in (shares | {"score": both, frechet: both}).items():
        e.intervals[name] = about(e.scores[name], jackknife_error(influences))
    if not alike(e.data.kinds):
        return
    untranslated = items(frechet_influence(real["A"], real["B"]), frechet_influence(real["B"], real["A"]))
    for name, influences in shares.items():
        add_gain(e, name, influences, untranslated)
