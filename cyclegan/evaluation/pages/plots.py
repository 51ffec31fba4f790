"""Pictures for `dvc plots`, which shows images without a network and two versions of them side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cyclegan.evaluation.pages.samples import sample_sheet
from cyclegan.evaluation.result import Evaluation
from cyclegan.io.pages import charts
from cyclegan.model import DIRECTIONS


def write_plots(folder: Path, e: Evaluation, model: Path) -> None:
    """Write samples_AtoB.png, samples_BtoA.png and, where the model has curves, losses.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for d in DIRECTIONS:
        Image.fromarray(sample_sheet(e, d)).save(folder / f"samples_{d}.png")
    curves = charts.read_losses(model / "losses.csv", e.names)
    if curves:
        drawn = [charts.lines(title, "update", series) for title, series in curves.items()]
        (folder / "losses.svg").write_text(charts.as_svg(drawn), encoding="utf-8")
