"""Look at a dataset before training: what is in it, what is wrong with it, what would flatter a score."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclegan.data.config import InspectConfig
from cyclegan.data.inspect.records import DomainSummary, Duplicate, Inspection
from cyclegan.data.layout.domains import find_domains
from cyclegan.data.layout.files import SUBSETS, list_files
from cyclegan.errors import CycleGANError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.data.inspect.measure import Measurement

logger = logging.getLogger(__name__)

ORDER = (*SUBSETS, "valA", "valB", "A", "B")
FLAT = 4.0


def inspect(folder: Path, report: Path | None, config: InspectConfig) -> Inspection:
    """Measure every image of a dataset; write the HTML page `report` unless it is None.

    `folder` may have any layout that fetch understands. Raises UsageError if it has none,
    CycleGANError if no image of a domain can be read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    with warnings.catch_warnings():  # here, since it is not for single threads
        warnings.simplefilter("ignore")  # Pillow's, of large images, damaged EXIF and the like
        return _inspect(folder, report, config)


def _inspect(folder: Path, report: Path | None, config: InspectConfig) -> Inspection:
    from cyclegan.data.inspect.findings import judge
    from cyclegan.data.inspect.measure import Job, measure
    from cyclegan.data.preprocess.workers import for_each

    found = find_domains(list_files(folder), str(folder)).domains
    names = {domain: sorted(found[domain].values()) for domain in ORDER if domain in found}
    jobs = [
        Job(str(folder / name), config.min_size, config.max_pixels)
        for files in names.values()
        for name in files
    ]
    results = for_each(measure, jobs, config.workers, "inspect")
    measured = {d: dict(zip(files, islice(results, len(files)), strict=True)) for d, files in names.items()}
    good = {d: {name: m for name, m in ms.items() if not m.reason} for d, ms in measured.items()}
    for domain, images in good.items():
        if not images:
            raise CycleGANError(
                f"None of the {len(measured[domain])} images of {domain} in {folder} is usable."
            )
    summaries = {domain: _summarise(good[domain], len(measured[domain])) for domain in good}
    duplicates = _duplicates(good)
    inspection = Inspection(
        folder=folder,
        domains=summaries,
        findings=judge(summaries, duplicates),
        duplicates=duplicates,
        flat=[name for images in good.values() for name, m in images.items() if m.contrast < FLAT],
        rejected=[(name, m.reason) for ms in measured.values() for name, m in ms.items() if m.reason],
    )
    if report is not None:
        from cyclegan.data.inspect.page import write_page

        write_page(report, inspection, good, config)
    return inspection


def _thumbnails(images: dict[str, Measurement]) -> np.ndarray:
    import numpy as np

    return np.stack([image.pixels for image in images.values()])


def _summarise(images: dict[str, Measurement], total: int) -> DomainSummary:
    import numpy as np

    values = list(images.values())
    small = _thumbnails(images).astype(np.float32)
    spread = small.max(axis=3) - small.min(axis=3)
    qualities = [m.quality for m in values if m.quality]
    red, green, blue = (float(v) for v in small.mean(axis=(0, 1, 2)))
    return DomainSummary(
        count=len(values),
        bad=total - len(values),
        sizes=Counter(f"{m.width}x{m.height}" for m in values).most_common(3),
        short_side=float(np.median([min(m.width, m.height) for m in values])),
        aspect=float(np.median([max(m.width, m.height) / min(m.width, m.height) for m in values])),
        modes=dict(Counter(m.mode for m in values).most_common()),
        formats=dict(Counter(m.format for m in values).most_common()),
        quality=float(np.median(qualities)) if qualities else 0.0,
        kilobytes=float(np.median([m.file_size for m in values])) / 1000,
        grey=sum(m.colourless for m in values),
        colourless=[name for name, m in images.items() if m.colourless],
        flat=sum(m.contrast < FLAT for m in values),
        turned=sum(m.turned for m in values),
        animated=sum(m.animated for m in values),
        wide=sum(m.wide for m in values),
        deep=_deep([m.deep for m in values if m.deep and m.scaled]),
        unscaled=_deep([m.deep for m in values if m.deep and not m.scaled]),
        brightness=float(small.mean()),
        contrast=float(np.mean([m.contrast for m in values])),
        colour=(red, green, blue),
        saturation=float(spread.mean()),
    )


def _deep(found: list[tuple[float, float, float]]) -> tuple[int, float, float, float]:
    if not found:
        return 0, 0.0, 0.0, 0.0
    lows, highs, scales = zip(*found, strict=True)
    return len(found), min(lows), max(highs), max(scales)


def _range(domain: DomainSummary) -> str:
    found = [levels for levels in (domain.deep, domain.unscaled) if levels[0]]
    return (
        f"{min(low for _, low, _, _ in found):g} to {max(high for _, _, high, _ in found):g}"
        if found
        else "-"
    )


def _duplicates(images: dict[str, dict[str, Measurement]]) -> list[Duplicate]:
    """Within each domain, across train and test of a side, and across A and B of train and of test."""
    from cyclegan.data.duplicates import find_pairs

    small = {domain: _thumbnails(measured) for domain, measured in images.items()}
    digests = {domain: [m.digest for m in measured.values()] for domain, measured in images.items()}
    names = {domain: list(measured) for domain, measured in images.items()}
    kinds: list[tuple[str, str, Literal["train and test", "A and B", "within"]]] = [
        *((f"train{side}", f"test{side}", "train and test") for side in "AB"),
        ("trainA", "trainB", "A and B"),
        ("testA", "testB", "A and B"),
        ("A", "B", "A and B"),
        *((domain, domain, "within") for domain in ORDER),
    ]
    found = []
    for first, second, kind in kinds:
        if first not in images or second not in images:
            continue
        other = (None, None) if first == second else (small[second], digests[second])
        for pair in find_pairs(small[first], digests[first], *other):
            found.append(Duplicate(names[first][pair.first], names[second][pair.second], pair.exact, kind))
    return found


def as_table(inspection: Inspection) -> str:
    """The domains and the findings as text for a terminal."""
    rows = [("", *inspection.domains)]

    def row(label: str, cells: list[str]) -> None:
        rows.append((label, *cells))

    of = list(inspection.domains.values())
    row("images", [str(d.count) for d in of])
    row("unusable", [str(d.bad) for d in of])
    row("size", [d.sizes[0][0] + ("" if d.sizes[0][1] == d.count else " …") for d in of])
    row("mode", [" ".join(f"{m}:{n}" if len(d.modes) > 1 else m for m, n in d.modes.items()) for d in of])
    row(
        "format",
        [" ".join(f"{f}:{n}" if len(d.formats) > 1 else f for f, n in d.formats.items()) for d in of],
    )
    row("JPEG quality", [f"{d.quality:.0f}" if d.quality else "-" for d in of])
    row("kB each", [f"{d.kilobytes:.0f}" for d in of])
    row("brightness", [f"{d.brightness:.0f}" for d in of])
    row("contrast", [f"{d.contrast:.0f}" for d in of])
    row("saturation", [f"{d.saturation:.0f}" for d in of])
    row("no colour", [str(d.grey) for d in of])
    row("near-flat", [str(d.flat) for d in of])
    if any(d.deep[0] or d.unscaled[0] for d in of):
        row("above 8 bits", [_range(d) for d in of])
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in rows]
    lines = ["  ".join(cells).rstrip() for cells in padded]
    marks = {"bad": "!!", "warn": "! ", "note": "  "}
    lines += ["", *(f"{marks[finding.level]} {finding.text}" for finding in inspection.findings)]
    if not inspection.findings:
        lines.append("no problems found")
    return "\n".join(lines)
