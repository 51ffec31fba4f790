"""What the measurements of a dataset mean for training on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cyclegan.data.deep import dark
from cyclegan.data.inspect.records import DomainSummary, Duplicate, Finding
from cyclegan.io.uri import printable

FEW = 50


def judge(domains: dict[str, DomainSummary], duplicates: Sequence[Duplicate]) -> list[Finding]:
    """Everything noteworthy, the worst first."""
    found = [*_of_duplicates(duplicates), *_of_the_two_sides(domains)]
    for name, domain in domains.items():
        total = domain.count + domain.bad
        if domain.bad:
            found.append(Finding("bad", f"{name}: {domain.bad} of {total} images cannot be used."))
        if domain.flat:
            found.append(
                Finding("note", f"{name}: {domain.flat} images show almost nothing (nearly one colour).")
            )
        if 0 < domain.grey < domain.count:
            some = ", ".join(printable(file) for file in domain.colourless[:3])
            some += " …" if domain.grey > 3 else ""
            share = f"{domain.grey} of {domain.count} images have no colour ({some})"
            found.append(Finding("warn", f"{name}: {share}; the generator will learn to produce both."))
        elif domain.grey and any(other.grey < other.count for other in domains.values()):
            found.append(Finding("warn", f"{name}: no image has colour, unlike elsewhere in this dataset."))
        if domain.turned:
            found.append(
                Finding("note", f"{name}: {domain.turned} images are turned upright as their EXIF says.")
            )
        if domain.animated:
            found.append(
                Finding("note", f"{name}: {domain.animated} files have several frames; the first is used.")
            )
        found += _of_levels(name, domain)
        if domain.aspect > 1.25:
            ratio = f"the images are oblong (median {domain.aspect:.2f} : 1)"
            found.append(
                Finding(
                    "note",
                    f"{name}: {ratio}; aspect=squash distorts them, aspect=crop cuts them, unless load_width "
                    "makes the packed images oblong too.",
                )
            )
        if domain.count < FEW and not name.startswith(("test", "val")):
            found.append(Finding("warn", f"{name}: only {domain.count} images; expect overfitting."))
    return sorted(found, key=lambda finding: ("bad", "warn", "note").index(finding.level))


def _of_levels(name: str, domain: DomainSummary) -> list[Finding]:
    """Of images of more than 8 bits: whether their files say what is black and white."""
    found = []
    count, low, high, _ = domain.unscaled
    if count:
        text = f"{count} images have values from {low:g} to {high:g} without a known scale"
        found.append(Finding("bad", f"{name}: {text}; preprocess with --black and --white, or --percentile."))
    count, _, high, scale = domain.deep
    if hint := dark(high, scale):
        found.append(Finding("warn", f"{name}: {hint}."))
    elif count:
        text = f"{count} images have more than 8 bits, 0 to {scale:g} become 0 to 255"
        found.append(Finding("note", f"{name}: {text}, unless --channels and --bits keep them as they are."))
    return found


def _of_duplicates(duplicates: Sequence[Duplicate]) -> list[Finding]:
    texts: dict[str, tuple[Literal["bad", "warn"], str]] = {
        "train and test": (
            "bad",
            "in train and in test, which flatters the scores; preprocess can drop them",
        ),
        "A and B": ("warn", "in A and in B, so that the domains overlap"),
        "within": ("warn", "twice in one domain"),
    }
    found = []
    for kind, (level, text) in texts.items():
        pairs = [d for d in duplicates if d.kind == kind]
        if pairs:
            exact = sum(d.exact for d in pairs)
            number = "1 picture is" if len(pairs) == 1 else f"{len(pairs)} pictures are"
            found.append(Finding(level, f"{number} {text} ({exact} exactly, {len(pairs) - exact} nearly)."))
    return found


def _of_the_two_sides(domains: dict[str, DomainSummary]) -> list[Finding]:
    """What tells A from B without looking at what the pictures show."""
    found = []
    a, b = (domains.get(f"train{side}", domains.get(side)) for side in "AB")
    assert a is not None and b is not None
    cheat = "a discriminator can tell the domains by it, and the generator learns to imitate it"
    if a.quality and b.quality and abs(a.quality - b.quality) >= 4:
        text = f"JPEG quality is about {a.quality:.0f} in A and {b.quality:.0f} in B"
        found.append(Finding("warn", f"{text}; {cheat}."))
    share_a, share_b = a.formats.get("JPEG", 0) / a.count, b.formats.get("JPEG", 0) / b.count
    if abs(share_a - share_b) > 0.5:
        text = f"{share_a:.0%} of A and {share_b:.0%} of B are JPEGs"
        found.append(Finding("warn", f"{text}: compression marks one domain; {cheat}."))
    if (a.wide > 0) != (b.wide > 0):
        side, count = ("A", a.wide) if a.wide else ("B", b.wide)
        text = f"{count} images of {side} have a colour profile other than sRGB and none of the other domain"
        found.append(Finding("note", f"{text}; preprocess converts them to sRGB."))
    low, high = sorted((a.short_side, b.short_side))
    if high > 1.5 * low:
        text = f"the short side has {a.short_side:.0f} pixels in A and {b.short_side:.0f} in B"
        found.append(Finding("warn", f"{text}: one domain is sharper; {cheat}."))
    few, many = sorted((a.count, b.count))
    if many > 2 * few:
        found.append(Finding("note", f"A has {a.count} images to train on, B has {b.count}."))
    return found
