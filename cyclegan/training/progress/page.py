"""A page that shows a run while it trains: newest pictures, curves, time left. A browser keeps it fresh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cyclegan.io.pages import charts
from cyclegan.io.pages.page import write_page

REFRESH_SECONDS = 30


def progress_page(model: Path) -> Path:
    """Where the page of a model folder is: beside it, since what is in the folder has a version."""
    return model.with_name(f"{model.name}-progress.html")


def write_progress(
    path: Path,
    *,
    title: str,
    status: str,
    finished: bool,
    curves: str,
    pictures: Mapping[str, str],
    names: Mapping[str, str],
) -> None:
    """Write the page.

    `status` is in words, `curves` are as in losses.csv, `pictures` are data: addresses by direction.
    """
    ways = {"AtoB": f"{names['A']} → {names['B']}", "BtoA": f"{names['B']} → {names['A']}"}
    drawn = charts.curves(curves, names)
    write_page(
        path,
        "training/progress/progress.html.j2",
        title=title,
        status=status,
        refresh=0 if finished else REFRESH_SECONDS,
        pictures={ways.get(key, key): address for key, address in pictures.items()},
        charts=[charts.lines(name, "update", series) for name, series in drawn.items()],
    )
