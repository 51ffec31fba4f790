"""The test images of both domains, whole and at the scale of training, and their translations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from cyclegan.data.prepared import Prepared
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.extractors.features import full_precision
from cyclegan.evaluation.images import Images, batches, bits_of, choose, resize, to_float
from cyclegan.evaluation.paired import Values
from cyclegan.model import Direction, Model
from cyclegan.networks import Generator
from cyclegan.networks.padding import at_any_size
from cyclegan.pixels import to_integers

Domain = Literal["A", "B"]
ENDS: dict[Direction, tuple[Domain, Domain]] = {"AtoB": ("A", "B"), "BtoA": ("B", "A")}
"""Each direction's source and target domain."""
OTHER: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}


@dataclass(frozen=True)
class EvalImages:
    """Test images of one domain, and the names of their files."""

    __test__ = False  # pytest takes classes by this name for tests

    images: Images
    names: list[str]


@dataclass(frozen=True)
class Translations:
    """A model's translations of one direction's test images; errors are L1 from 0 to 1."""

    images: Images
    """The translations, rounded to integers as if saved."""
    cycle: Values
    """|G'(G(x)) − x| of each source image x."""
    identity: Values | None
    """|G(y) − y| of each target image y; None where the domains have different channels."""


def load_test_sets(
    data: Prepared, size: tuple[int, int], *, max_images: int = 0, seed: int = 0
) -> dict[Domain, EvalImages]:
    """Both test sets, or `max_images` of each drawn by `seed` (the same rows of pairs).

    They are whole, resized to `size` = (height, width) where that is not the prepared size.
    Raises UsageError if a domain has fewer than 2 images, since a covariance needs two.
    """
    sets: dict[Domain, EvalImages] = {}
    for offset, domain in enumerate(ENDS["AtoB"]):
        packed = data.array(f"test{domain}")
        rows = choose(len(packed), max_images, seed if data.paired else seed + offset)
        if len(rows) < 2:
            raise UsageError(
                f"test{domain} of {data.folder} gives {len(rows)} images to evaluate on; it takes at least 2."
            )
        names = data.domains[f"test{domain}"]["names"]
        sets[domain] = EvalImages(resize(np.asarray(packed[rows]), *size), [names[i] for i in rows])
    return sets


def translate(
    model: Model, direction: Direction, sets: dict[Domain, EvalImages], batch_size: int, device: torch.device
) -> Translations:
    """Translate a direction's source images, there and back, and its target images onto themselves.

    Raises CycleGANError if the generator returns values that are not finite.
    """
    source, target = (sets[end].images for end in ENDS[direction])
    there, back = model[direction], model[OTHER[direction]]
    images, cycle, identity = [], [], []
    alike = source.shape[3] == target.shape[3]
    total = len(source) + len(target) * alike
    progress = tqdm(total=total, desc=direction, unit="image", disable=None, leave=False)
    with torch.inference_mode(), full_precision(), progress:
        for batch in batches(source, batch_size):
            x = to_float(batch, device)
            y = at_any_size(there, x)
            if not bool(y.isfinite().all()):
                raise CycleGANError(
                    f"Generator {direction} gives values that are not finite: it has diverged."
                )
            images.append(to_integers(y, bits_of(batch)))
            cycle.append(_l1(at_any_size(back, y), x))
            progress.update(len(batch))
        for batch in batches(target, batch_size) if alike else ():
            y = to_float(batch, device)
            identity.append(_l1(at_any_size(there, y), y))
            progress.update(len(batch))
    return Translations(
        np.concatenate(images), np.concatenate(cycle), np.concatenate(identity) if alike else None
    )


def translate_images(
    generator: Generator, images: Images, batch_size: int, device: torch.device, what: str = "translate"
) -> Images:
    """The generator's output for images, rounded to integers of as many bits."""
    progress = tqdm(total=len(images), desc=what, unit="image", disable=None, leave=False)
    parts = []
    with torch.inference_mode(), full_precision(), progress:
        for batch in batches(images, batch_size):
            parts.append(to_integers(at_any_size(generator, to_float(batch, device)), bits_of(batch)))
            progress.update(len(batch))
    return np.concatenate(parts)


def _l1(x: torch.Tensor, y: torch.Tensor) -> Values:
    values: Values = (x - y).abs().mean((1, 2, 3)).div(2).cpu().double().numpy()
    return values


def reconstruct(model: Model, direction: Direction, images: Images, device: torch.device) -> Images:
    """G'(G(x)) of a few source images, as integers of as many bits."""
    with torch.inference_mode(), full_precision():
        translated = at_any_size(model[direction], to_float(images, device))
        return to_integers(at_any_size(model[OTHER[direction]], translated), bits_of(images))
