"""What the scores say, in a sentence for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cyclegan.evaluation.result import Evaluation
from cyclegan.evaluation.translations import ENDS
from cyclegan.io.pages.page import nearer
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.pixel_kind import alike
from cyclegan.registry.champion import Champion

Tone = Literal["good", "warn", "bad"]


@dataclass(frozen=True)
class Verdict:
    """One sentence, and whether it is good news."""

    text: str
    tone: Tone
    measure: str
    """How it was measured, as a second, smaller sentence."""


def verdict(e: Evaluation, champion: Champion | None = None) -> Verdict:
    """Judge both directions by the part of the way from the untranslated images to real ones.

    Where that distance is one of random features, which noise can please, and true pictures are known, by L1.
    """
    by_truth = e.extractor.name == "random" and e.manifest.paired
    found = [_by_truth(e, d) if by_truth else _by_distance(e, d) for d in DIRECTIONS]
    tones = [tone for _, tone in found]
    text = "; ".join(part for part, _ in found)
    if champion:
        text += f". Compared with the champion: {champion.verdict}"
    for d in DIRECTIONS:  # a mean colour that is closer to the truth than the translations
        if e.scores.get(f"l1_{d}", 0.0) >= e.scores.get(f"l1_{d}_mean", float("inf")):
            tones.append("warn")
    if (e.extractor.name == "random" and not by_truth) or (champion and "worse" in champion.verdict):
        tones.append("warn")  # features of a random network are too rough for good news
    tone: Tone = "bad" if "bad" in tones else "warn" if "warn" in tones else "good"
    name = "FID" if e.extractor.frechet == "fid" else f"the Fréchet distance of {e.extractor.name} features"
    fewest = min(len(test.images) for test in e.sets.values())
    if by_truth:
        how = f"Measured by L1 on {fewest} test pairs, whose true pictures are known."
        return Verdict(f"{text}.", tone, how)
    scale = "0 % is as far from real images as the untranslated input, 100 % is a distance of 0"
    if not alike(e.data.kinds):
        scale = "with different channels, the untranslated input cannot be compared with real images"
    return Verdict(f"{text}.", tone, f"Measured by {name} on {fewest} test images: {scale}.")


def _by_truth(e: Evaluation, d: Direction) -> tuple[str, Tone]:
    source, target = (e.names[end] for end in ENDS[d])
    error, mean = e.scores[f"l1_{d}"], e.scores[f"l1_{d}_mean"]
    untranslated = e.scores.get(f"l1_{d}_input")
    text = f"{source} → {target} is {nearer(error, mean)} the true {target} images than their mean colour"
    if untranslated is not None and error >= untranslated:
        return f"{text}, and worse than no translation at all", "bad"
    bounds = e.gains.get(f"l1_{d}")
    if bounds and bounds[0] <= 0 <= bounds[1]:
        return f"{text}, which these few pairs cannot tell from equally close", "warn"
    return text, "good"


def _by_distance(e: Evaluation, d: Direction) -> tuple[str, Tone]:
    source, target = (e.names[end] for end in ENDS[d])
    name = f"{e.extractor.frechet}_{d}"
    way = f"{source} → {target}"
    if (gain := e.gain(name)) is None:
        return f"{way} is {e.scores[name]:.4g} from real {target} images, where 0 would be alike", "warn"
    low, high = e.gains.get(name, (None, None))
    if gain <= 0:
        if high is not None and high > 0:
            return f"{way} is not closer to real {target} images than the input is", "bad"
        return f"{way} is worse than no translation at all", "bad"
    share = _share(gain)
    covered = f"{way} comes {share} of the way from the input to real {target} images"
    if low is None or high is None:
        return covered, "good"
    covered += f" (95 %: {100 * low:.0f} to {100 * high:.0f} %)"
    if low <= 0:
        return f"{covered}, which these few images cannot tell from nothing", "warn"
    return covered, "good"


def _share(part: float) -> str:
    """A part of the whole in words, never more than it is: 100 % is said of 1 alone."""
    if part >= 1:
        return "100 %"
    if part >= 0.99:
        return f"nearly all ({math.floor(1000 * part) / 10:.1f} %)"
    return f"{math.floor(100 * part + 1e-9)} %"  # 100 × 0.29 is 28.999…
