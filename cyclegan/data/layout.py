"""Which files of a tree are images of which domain, whatever the tree looks like."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from cyclegan.errors import UsageError

logger = logging.getLogger(__name__)

SUBSETS = ("trainA", "trainB", "testA", "testB")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"}
    | {".heic", ".heif", ".ppm", ".pgm", ".pnm"}
)
MAX_DEPTH = 6

_ROLES = {
    "traina": "trainA",
    "trainb": "trainB",
    "testa": "testA",
    "testb": "testB",
    "a": "A",
    "b": "B",
    "domaina": "A",
    "domainb": "B",
    "train": "train",
    "test": "test",
}


def is_image(name: str) -> bool:
    """Whether a relative POSIX path is an image by its suffix and lies below nothing hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part.upper() == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def list_files(folder: Path) -> list[str]:
    """All files below `folder` as sorted relative POSIX paths; linked folders are followed, once."""
    names: list[str] = []
    seen = {folder.resolve()}
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            real = (Path(parent) / name).resolve()
            if real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        below = Path(parent).relative_to(folder)
        names += [(below / file).as_posix() for file in files]
    return sorted(names)


def stem_key(name: str) -> str:
    """What names a picture in both domains: the path less its suffix and an `_A` or `_B` ending."""
    return re.sub(r"_[AB]$", "", str(PurePosixPath(name).with_suffix("")))


def are_pairs(names_a: Collection[str], names_b: Collection[str]) -> bool:
    """Whether two domains hold the same pictures by name, each once."""
    a, b = {stem_key(name) for name in names_a}, {stem_key(name) for name in names_b}
    return bool(a) and a == b and len(a) == len(names_a) and len(b) == len(names_b)


def split(names: Sequence[str], test_share: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide names into train and test, test being `test_share` of them and at least one.

    At least two out of ten or more, since with one test image no model can be evaluated.
    The choice depends on the seed and the stems alone, so two domains of the same stems are divided alike and
    test pairs stay pairs.
    """
    count = min(max(2 if len(names) >= 10 else 1, round(test_share * len(names))), len(names) - 1)

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{stem_key(name)}".encode("utf-8", "surrogateescape")).digest()

    test = set(sorted(names, key=draw)[: max(count, 0)])
    return [name for name in names if name not in test], sorted(test)


def _role(name: str) -> str | None:
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower())) if not re.search(r"\d", name) else None


def _domain_of(parts: tuple[str, ...]) -> tuple[str, int] | None:
    """The domain that a path's first folders name, and how many of them: ('trainA', 1), ('testB', 2), …"""
    first = _role(parts[0]) if parts else None
    if first in {"train", "test"}:
        second = _role(parts[1]) if len(parts) > 1 else None
        return (first + second, 2) if second in {"A", "B"} else None
    return (first, 1) if first else None


def _kinds(names: Collection[str]) -> str:
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))


def _complete(domains: Collection[str]) -> bool:
    return {"trainA", "trainB"} <= set(domains) or {"A", "B"} <= set(domains)


Domains = dict[str, dict[str, str]]


def find_domains(names: Collection[str], where: str) -> Domains:
    """The images of each domain as {domain: {path below it: name}}, from the topmost folder that has both.

    Domains are trainA … testB, or A and B. Raises UsageError, naming `where`, as `arrange` does.
    """
    images = sorted(filter(is_image, names))
    for depth in range(MAX_DEPTH):
        found: dict[tuple[str, ...], Domains] = {}
        for name in images:
            parts = PurePosixPath(name).parts
            if len(parts) <= depth + 1 or not (domain := _domain_of(parts[depth:-1])):
                continue
            below = "/".join(parts[depth + domain[1] :])
            former = found.setdefault(parts[:depth], {}).setdefault(domain[0], {}).setdefault(below, name)
            if former != name:
                raise UsageError(f"{where}: '{former}' and '{name}' would both become {domain[0]}/{below}.")
        complete = [base for base, domains in found.items() if _complete(domains)]
        if len(complete) > 1:
            both = " and ".join(f"'{'/'.join(base)}'" for base in sorted(complete)[:2])
            raise UsageError(f"{where} holds more than one dataset, {both}: give the folder of one of them.")
        if complete:
            return found[complete[0]]
    what = _kinds(names) or "no files"
    raise UsageError(f"{where} has no folders trainA and trainB (or A and B) of images; it has {what}.")


def arrange(names: Collection[str], *, test_share: float, seed: int, where: str) -> dict[str, str]:
    """Find the domains in a tree of relative POSIX paths and give every image its place.

    Recognised, at any depth and in any case: `trainA trainB [testA testB]`, `train/A train/B [test/A test/B]`
    and `A B`. Where there are no test folders, `test_share` of each domain becomes its test set.
    Returns {place: name}, places like 'trainA/sub/1.jpg'. Raises UsageError, naming `where`, when there is no
    such layout or more than one.
    """
    domains = find_domains(names, where)
    places: dict[str, str] = {}
    for side in "AB":
        train = domains.get(f"train{side}", domains.get(side, {}))
        test = domains.get(f"test{side}", {})
        if not test:
            if len(train) < 2:
                raise UsageError(f"{where}: domain {side} has only {len(train)} image; give at least 2.")
            kept, taken = split(sorted(train), test_share, seed)
            logger.info("%s has no test%s: %d of %d images become it", where, side, len(taken), len(train))
            train, test = {below: train[below] for below in kept}, {below: train[below] for below in taken}
        places |= {f"train{side}/{below}": name for below, name in train.items()}
        places |= {f"test{side}/{below}": name for below, name in test.items()}
    if left_aside := set(names) - set(places.values()):
        logger.info("%s: files left aside: %s", where, _kinds(left_aside))
    return places
