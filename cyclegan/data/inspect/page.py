"""The page that shows what `inspect` found: one HTML file, pictures and styles inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.data.inspect.measure import Measurement, preview
from cyclegan.io.pages import page

if TYPE_CHECKING:
    from cyclegan.data.config import InspectConfig
    from cyclegan.data.inspect.records import Inspection

TEMPLATE = "data/inspect/inspect.html.j2"
BINS = 32
WIDTH, HEIGHT = 240, 64


def write_page(
    path: Path, inspection: Inspection, images: dict[str, dict[str, Measurement]], config: InspectConfig
) -> None:
    """Write the page; `images` are the usable ones of each domain."""
    folder = inspection.folder

    def picture(name: str) -> dict[str, str]:
        return {"name": _readable(name), "data": preview(folder / name)}

    kinds = ("train and test", "A and B", "within")
    duplicates = {kind: [d for d in inspection.duplicates if d.kind == kind] for kind in kinds}
    page.write_page(
        path,
        TEMPLATE,
        title=folder.resolve().name,
        inspection=inspection,
        samples={
            domain: [picture(name) for name in _spread(list(images[domain]), config.samples)]
            for domain in images
        },
        histograms={domain: _histogram(images[domain]) for domain in images},
        duplicates={
            kind: [(picture(d.first), picture(d.second), d.exact) for d in found[: config.examples]]
            for kind, found in duplicates.items()
            if found
        },
        duplicate_counts={kind: len(found) for kind, found in duplicates.items()},
        flat=[picture(name) for name in inspection.flat[: config.examples]],
        colourless={
            domain: [picture(name) for name in summary.colourless[: config.examples]]
            for domain, summary in inspection.domains.items()
            if 0 < summary.grey < summary.count
        },
        rejected=[(_readable(name), reason) for name, reason in inspection.rejected],
        chart=(WIDTH, HEIGHT),
    )


def _spread(names: list[str], count: int) -> list[str]:
    """`count` evenly spaced names."""
    if len(names) <= count:
        return names
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)] if count else []


def _histogram(images: dict[str, Measurement]) -> list[tuple[str, str]]:
    """For each channel its colour and the points of an SVG line: how often each intensity occurs."""
    small = np.stack([image.pixels for image in images.values()])
    counts = [np.histogram(small[..., channel], BINS, (0, 256))[0] for channel in range(3)]
    highest = max(int(count.max()) for count in counts)
    lines = []
    for colour, count in zip(("red", "green", "blue"), counts, strict=True):
        points = [(0.0, float(HEIGHT))]
        points += [
            ((i + 0.5) * WIDTH / BINS, HEIGHT - 0.95 * HEIGHT * n / highest) for i, n in enumerate(count)
        ]
        points.append((float(WIDTH), float(HEIGHT)))
        lines.append((colour, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
    return lines


def _readable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
