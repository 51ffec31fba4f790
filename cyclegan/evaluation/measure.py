"""Everything measured about a model on the test images: distances, pixels, nearest training images."""

from __future__ import annotations

import logging

import numpy as np
import torch

from cyclegan.data.prepared import Prepared
from cyclegan.errors import UsageError
from cyclegan.evaluation import nearest, paired
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.extractors.features import load_extractor
from cyclegan.evaluation.paired import Values
from cyclegan.evaluation.realism import add_distances, add_gain
from cyclegan.evaluation.result import Evaluation, about
from cyclegan.evaluation.translations import ENDS, load_test_sets, translate
from cyclegan.model import DIRECTIONS, Direction, Model
from cyclegan.pixel_kind import alike, all_rgb, in_words
from cyclegan.registry.metrics import where

logger = logging.getLogger(__name__)


def measure(data: Prepared, model: Model, config: EvaluateConfig, device: torch.device) -> Evaluation:
    """All measurements of both directions on the test images; nothing is written.

    Raises UsageError where the model takes images of a different kind from those in `data`.
    """
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
    result = Evaluation(config, data, model, extractor, sets, translations={})
    with result.timed("translations"):
        result.translations |= {d: translate(model, d, sets, config.batch_size, device) for d in DIRECTIONS}
    add_distances(result)
    with result.timed("pixels"):
        _add_pixels(result)
    with result.timed("nearest training images"):
        _add_nearest(result)
    result.notes += _notes(result)
    for note in result.notes:
        logger.warning("%s", note)
    return result


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
            of_mean = paired.l1(np.broadcast_to(mean, truth.shape), truth)
            e.scores[f"l1_{d}_mean"] = float(of_mean.mean())
            add_gain(e, f"l1_{d}", [_influence(values["l1"])], [_influence(of_mean)])
        e.per_image.setdefault(d, {}).update(values)


def _add_mean(e: Evaluation, name: str, values: Values) -> None:
    """The mean of values that are never negative, with its interval."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    e.scores[name] = mean
    low, high = about(mean, error)
    e.intervals[name] = max(0.0, low), high


def _influence(values: Values) -> torch.Tensor:
    """What each value adds to their mean: the mean less that without the value."""
    return torch.from_numpy((values - values.mean()) / (len(values) - 1))


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
