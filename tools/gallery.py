"""Make the pictures of a published model for docs/results.md.

    python -m tools.gallery PREPARED MODEL SCORES NAME

writes NAME.webp, NAME-AtoB.webp, NAME-BtoA.webp and NAME-losses.svg into docs/images. NAME.webp has four
test images in four rows: of A, their translations, of B (of pairs: the truth), their translations. Nothing
is chosen for beauty: the first rows of the others are evenly spaced through the test set, the last three are
those with the lowest, the median and the highest error, which is the L1 distance from the truth where there
are pairs, and the cycle error elsewhere.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cyclegan.data.prepared import Prepared
from cyclegan.evaluation.pages.samples import spread
from cyclegan.evaluation.translations import ENDS, load_test_sets, reconstruct, translate_images
from cyclegan.io.pages.pictures import sheet
from cyclegan.model import DIRECTIONS, load_model
from tools.prose import ROOT

FIXED = 4
WIDTH = 1000
IMAGES = ROOT / "docs" / "images"


def main() -> int:
    """Write the pictures; returns the exit code."""
    if len(sys.argv) != 5:
        print(__doc__)
        return 2
    prepared, folder, scores = (Path(word) for word in sys.argv[1:4])
    data, model, device = Prepared.open(prepared), load_model(folder), torch.device("cpu")
    sets = load_test_sets(data, model.test_size(data.height, data.width))
    with (scores / "per_image.csv").open(newline="") as file:
        judged = list(csv.DictReader(file))
    strips = []
    for d in DIRECTIONS:
        source, target = ENDS[d]
        measure = "l1" if data.paired else "cycle_l1"
        errors = np.array([float(row[measure]) for row in judged if row["direction"] == d])
        order = np.argsort(errors, kind="stable")
        picked = {
            "lowest error": order[0],
            "median error": order[len(order) // 2],
            "highest error": order[-1],
        }
        rows = [*spread(len(errors), FIXED), *map(int, picked.values())]
        given = sets[source].images[rows]
        translated = translate_images(model[d], given, 1, device)
        strips += [np.hstack([*given[:FIXED]]), np.hstack([*translated[:FIXED]])]
        columns = {
            f"{data.names[source]} (input)": given,
            f"{data.names[target]} (translation)": translated,
        }
        if data.paired:
            columns[f"{data.names[target]} (truth)"] = sets[target].images[rows]
        else:
            columns[f"{data.names[source]} (and back)"] = reconstruct(model, d, given, device)
        names = [sets[source].names[row].rpartition("/")[2] for row in rows]
        for i, what in enumerate(picked, FIXED):
            names[i] += f": {what}, {errors[rows[i]]:.4f}"
        path = IMAGES / f"{sys.argv[4]}-{d}.webp"
        Image.fromarray(sheet(columns, names, WIDTH)).save(path, "WEBP", quality=82, method=6)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    Image.fromarray(np.vstack(strips)).save(IMAGES / f"{sys.argv[4]}.webp", "WEBP", quality=85, method=6)
    if (curves := scores / "plots" / "losses.svg").is_file():
        shutil.copyfile(curves, IMAGES / f"{sys.argv[4]}-losses.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
