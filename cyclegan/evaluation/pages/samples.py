"""A few test images and what became of them, as files: for comparing models, DVC and MLflow.

They are evenly spaced through the test set, so every model that is judged on the same images shows the
same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cyclegan.evaluation.images import Images
from cyclegan.evaluation.result import Evaluation
from cyclegan.evaluation.translations import ENDS, reconstruct
from cyclegan.io.pages.pictures import WIDTH, sheet
from cyclegan.model import DIRECTIONS, Direction

SHOWN = 6
"""Images of each direction that are kept as files."""
IN_SHEET = 3
LARGEST = 512


@dataclass(frozen=True)
class Shown:
    """Some rows of a direction's test set."""

    rows: list[int]
    names: list[str]
    pictures: dict[str, Images]
    """'input', 'translation', 'back' and, of pairs, 'truth': uint8 N×H×W×3, others in false colours."""


def shown(e: Evaluation, d: Direction, rows: list[int]) -> Shown:
    """The pictures of some rows of the test set."""
    source, target = ENDS[d]
    given = e.sets[source].images[rows]
    pictures = {"input": given, "translation": e.translations[d].images[rows]}
    if e.manifest.paired:
        pictures["truth"] = e.sets[target].images[rows]
    pictures["back"] = reconstruct(e.model, d, given, e.extractor.device)
    ends = {"input": source, "back": source, "translation": target, "truth": target}
    pictures = {kind: e.views[ends[kind]](images) for kind, images in pictures.items()}
    return Shown(rows, [e.sets[source].names[row] for row in rows], pictures)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` rows, evenly spaced."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, most)).round()]


def write_samples(folder: Path, e: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """Write the pictures into the folder; returns for each direction name, row and files of each image."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, list[dict[str, Any]]] = {}
    for d in DIRECTIONS:
        some = shown(e, d, spread(len(e.translations[d].images), SHOWN))
        index[d] = []
        for i, (row, name) in enumerate(zip(some.rows, some.names, strict=True)):
            files = {}
            for kind, images in some.pictures.items():
                files[kind] = f"{d}-{i + 1}-{kind}.webp"
                _save(folder / files[kind], images[i])
            index[d].append({"name": name, "row": row, "files": files})
    return index


def sample_sheet(
    e: Evaluation, d: Direction, count: int = IN_SHEET, kinds: Sequence[str] = (), width: int = WIDTH
) -> NDArray[np.uint8]:
    """`count` test images of a direction and what became of them, labelled; `width` pixels wide.

    `kinds` are those of `Shown.pictures`, all of them unless some are named.
    """
    source, target = (e.names[end] for end in ENDS[d])
    some = shown(e, d, spread(len(e.translations[d].images), count))
    labels = {
        "input": f"{source} (input)",
        "translation": f"{target} (translation)",
        "truth": f"{target} (truth)",
        "back": f"{source} (and back)",
    }
    columns = {labels[kind]: images for kind, images in some.pictures.items() if not kinds or kind in kinds}
    return sheet(columns, [name.rpartition("/")[2] for name in some.names], width)


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    picture.save(path, "WEBP", quality=90)
