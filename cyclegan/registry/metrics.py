"""What the scores are called, what they mean and which way is better: the one table of metrics.

`evaluate` writes names such as `frechet_inception768_AtoB` into scores.json; every page, table and run shows
what `describe` says about them. It is in the registry because evaluation and registry both read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

NO_NAMES: Mapping[str, str] = {"A": "A", "B": "B"}
ARROW = " → "
Group = Literal["Realism", "Faithfulness to the truth", "Consistency", "Memorisation"]
GROUPS: tuple[Group, ...] = ("Realism", "Faithfulness to the truth", "Consistency", "Memorisation")
Kind = Literal["score", "baseline", "error"]


@dataclass(frozen=True)
class Metric:
    """One name in scores.json."""

    name: str
    label: str
    """In plain words, without the direction."""
    hint: str
    """How to read a value."""
    unit: str
    """'dB', 'share' (0 to 1) or empty."""
    direction: str
    """'AtoB', 'BtoA', a domain 'A' or 'B' for errors of a round trip, or '' for both directions."""
    where: str
    """The direction in the user's names of the domains."""
    higher_is_better: bool | None
    """None: neither, as for a baseline."""
    group: Group
    kind: Kind
    order: int
    """In which order metrics are shown."""


# family: label, hint, unit, higher is better, group
_FAMILIES: dict[str, tuple[str, str, str, bool | None, Group]] = {
    "score": ("Score", "mean Fréchet distance of both directions; 0 is alike", "", False, "Realism"),
    "frechet": ("Fréchet distance", "translations to real images; 0 is alike", "", False, "Realism"),
    "kernel": ("Kernel distance", "unbiased; 0 is alike", "", False, "Realism"),
    "precision": ("Precision", "share of translations that look real", "share", True, "Realism"),
    "recall": ("Recall", "share of the real variety that is covered", "share", True, "Realism"),
    "l1": ("L1 to the truth", "mean absolute error, 1 is the full range", "share", False, GROUPS[1]),
    "map_accuracy": ("Pixel accuracy", "share of pixels close to the truth", "share", True, GROUPS[1]),
    "ssim": ("SSIM", "structural similarity; 1 is the truth", "", True, GROUPS[1]),
    "psnr": ("PSNR", "peak signal-to-noise ratio", "dB", True, GROUPS[1]),
    "lpips": ("LPIPS", "perceptual distance; 0 is the truth", "", False, GROUPS[1]),
    "cycle_l1": ("Cycle error", "there and back again, L1", "share", False, "Consistency"),
    "identity_l1": (
        "Identity error",
        "L1 of an image that is already of the target domain",
        "share",
        False,
        GROUPS[2],
    ),
    "nearest_train": ("Distance to training images", "a copy is near 0", "share", None, "Memorisation"),
}
_PATTERN = re.compile(
    r"(?P<family>score|fid|kid|frechet|kernel|precision|recall|lpips|l1|map_accuracy|ssim|psnr|cycle_l1|"
    r"identity_l1|nearest_train)(?P<features>_(inception\d+|random))?"
    r"(_(?P<direction>AtoB|BtoA|A|B))?(_(?P<extra>input|mean|se))?"
)


def describe(name: str, names: Mapping[str, str] = NO_NAMES) -> Metric | None:
    """What a name in scores.json stands for; None for what is not a score, such as a loss.

    `names` are the user's names of domain A and B.
    """
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    family, features = match["family"], (match["features"] or "").removeprefix("_")
    key = {"fid": "frechet", "kid": "kernel"}.get(family, family)
    label, hint, unit, higher, group = _FAMILIES[key]
    if family in ("fid", "kid"):
        label = family.upper()
    elif features:
        label += f" ({features})"
    direction, extra = match["direction"] or "", match["extra"]
    kind: Kind = "score"
    if extra == "se":
        label, hint, kind, higher = f"{label}, standard error", "", "error", None
    elif extra:
        what = {"input": "untranslated input", "mean": "mean colour"}[extra]
        label, hint, kind, higher = f"{label} of the {what}", "", "baseline", None
    elif family == "nearest_train" and len(direction) == 1:
        label, kind = "Distance of real test images to training images", "baseline"
    order, way = list(_FAMILIES).index(key), where(direction, names, key)
    return Metric(name, label, hint, unit, direction, way, higher, group, kind, order)


def where(direction: str, names: Mapping[str, str] = NO_NAMES, family: str = "") -> str:
    """'horse → zebra' for AtoB, 'horse → zebra → horse' for the cycle error of A; empty for both."""
    a, b = names["A"], names["B"]
    if direction in ("AtoB", "BtoA"):
        return ARROW.join((a, b) if direction == "AtoB" else (b, a))
    if not direction:
        return ""
    own, other = (a, b) if direction == "A" else (b, a)
    if family == "cycle_l1":
        return ARROW.join((own, other, own))
    return ARROW.join((own, own)) if family == "identity_l1" else own


def in_words(sentence: str) -> str:
    """A sentence for people: names of scores such as frechet_random in it are replaced by their labels."""
    return re.sub(r"\w+_\w+", lambda name: m.label if (m := describe(name[0])) else name[0], sentence)


def scores(found: Iterable[str], names: Mapping[str, str] = NO_NAMES) -> list[Metric]:
    """The scores among some names, the headline first, in the order in which they are shown."""
    metrics = [metric for name in found if (metric := describe(name, names)) and metric.kind == "score"]
    return sorted(metrics, key=lambda m: (GROUPS.index(m.group), m.order, m.direction, m.name))


def headline(values: Mapping[str, float]) -> dict[str, float]:
    """The few of all scores that a list of runs shows: `score`, each direction's Fréchet and kernel distance
    and, with test pairs, its L1."""
    chosen = ("score", "frechet", "kernel", "l1")
    found = [
        m for m in scores(values) if list(_FAMILIES)[m.order] in chosen and (m.direction or m.order == 0)
    ]
    return {metric.name: values[metric.name] for metric in found}
