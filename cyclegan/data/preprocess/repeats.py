"""Train images that show what a test image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.data.preprocess.left_out import kept_rows, readable

if TYPE_CHECKING:
    from cyclegan.data.preprocess.packing import Outcome, Raster

EXAMPLES = 3  # train images named in the manifest for each test image that they repeat


def across_train_and_test(
    folder: Path,
    files: Mapping[str, Sequence[str]],
    outcomes: Mapping[str, Sequence[Outcome]],
    refused: Mapping[str, str],
    rasters: Mapping[str, Raster],
) -> list[dict[str, str]]:
    """Train images that show what a test image of the same domain shows, from the arrays as packed first."""
    import numpy as np

    from cyclegan.data.duplicates import SIDE, find_pairs
    from cyclegan.data.preprocess.packing import row_digest

    found = []
    for side in "AB":
        subsets = (f"train{side}", f"test{side}")
        kept = {subset: kept_rows(subset, files[subset], refused) for subset in subsets}
        small = {subset: [outcomes[subset][row].thumbnail for row in rows] for subset, rows in kept.items()}
        both = set.intersection(*map(set, small.values()))
        sets = []
        for subset, rows in kept.items():
            npy = folder / f"{subset}.npy"
            # whole images are compared only where their thumbnails agree
            digests = [
                row_digest(npy, row, rasters[side]) if thumbnail in both else thumbnail
                for row, thumbnail in zip(rows, small[subset], strict=True)
            ]
            thumbnails = np.frombuffer(b"".join(small[subset]), np.uint8).reshape(-1, SIDE, SIDE, 3)
            sets.append(([f"{subset}/{files[subset][row]}" for row in rows], digests, thumbnails))
        (train, train_digests, train_small), (test, test_digests, test_small) = sets
        for pair in find_pairs(train_small, train_digests, test_small, test_digests):
            kind = "exact" if pair.exact else "near"
            found.append({"train": train[pair.first], "test": test[pair.second], "kind": kind})
    return found


def by_test_image(duplicates: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """By test image: how many train images show the same, exactly and nearly, and the first of them."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for duplicate in duplicates:
        groups.setdefault(duplicate["test"], []).append(duplicate)
    return [
        {
            "test": readable(test),
            "exact": sum(found["kind"] == "exact" for found in group),
            "near": sum(found["kind"] == "near" for found in group),
            "train": [readable(found["train"]) for found in group[:EXAMPLES]],
        }
        for test, group in sorted(groups.items())
    ]
