"""Which files of a tree are images of which domain, whatever the tree looks like."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from cyclegan.errors import UsageError

logger = logging.getLogger(__name__)

DOMAINS = ("trainA", "trainB", "testA", "testB")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"}
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
    """All files below `folder` as sorted relative POSIX paths; linked folders are followed, but not in circles."""
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

    The choice depends on the seed and the stems alone, so two domains of the same stems are divided alike and
    test pairs stay pairs.
    """
    count = min(max(1, round(test_share * len(names))), len(names) - 1)

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{stem_key(name)}".encode("utf-8", "surrogateescape")).digest()

    test = set(sorted(names, key=draw)[: max(count, 0)])
    return [name for name in names if name not in test], sorted(test)


def _role(name: str) -> str | None:
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower())) if not re.search(r"\d", name) else None


def _domain_of(parts: tuple[str, ...]) -> tuple[str, int] | None:
    """The domain that a path's first folders name, and how many of them do: ('trainA', 1), ('testB', 2), ('A', 1)."""
    first = _role(parts[0]) if parts else None
    if first in {"train", "test"}:
        second = _role(parts[1]) if len(parts) > 1 else None
        return (first + second, 2) if second in {"A", "B"} else None
    return (first, 1) if first else None


def _complete(domains: Collection[str]) -> bool:
    return {"trainA", "trainB"} <= set(domains) or {"A", "B"} <= set(domains)


def arrange(names: Iterable[str], *, test_share: float, seed: int, where: str) -> dict[str, str]:
    """Find the domains in a tree of relative POSIX paths and give every image its place.

    Recognised, at any depth and in any case: `trainA trainB [testA testB]`, `train/A train/B [test/A test/B]`
    and `A B`. Where there are no test folders, `test_share` of each domain becomes its test set.
    Returns {place: name}, places like 'trainA/sub/1.jpg'. Raises UsageError, naming `where`, when there is no such
    layout or more than one.
    """
    names = list(names)
    images = sorted(filter(is_image, names))
    found: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for depth in range(MAX_DEPTH):
        found = {}
        for name in images:
            parts = PurePosixPath(name).parts
            if len(parts) <= depth + 1 or not (domain := _domain_of(parts[depth:-1])):
                continue
            place = "/".join(parts[depth + domain[1] :])
            former = found.setdefault(parts[:depth], {}).setdefault(domain[0], {}).setdefault(place, name)
            if former != name:
                raise UsageError(f"{where}: '{former}' and '{name}' would both become {domain[0]}/{place}.")
        found = {base: domains for base, domains in found.items() if _complete(domains)}
        if found:
            break
    if not found:
        kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
        what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4)) or "no files"
        raise UsageError(
            f"{where} has no folders trainA and trainB (or A and B) with images in them; it has {what}."
        )
    if len(found) > 1:
        both = " and ".join(f"'{'/'.join(base)}'" for base in sorted(found)[:2])
        raise UsageError(f"{where} holds more than one dataset, {both}: give the folder of one of them.")
    domains = next(iter(found.values()))
    places: dict[str, str] = {}
    for side in "AB":
        train = domains.get(f"train{side}", domains.get(side, {}))
        test = domains.get(f"test{side}", {})
        if f"train{side}" not in domains or not test:
            if len(train) < 2:
                raise UsageError(f"{where}: domain {side} has {len(train)} image(s); at least 2 are needed.")
            chosen, left = split(sorted(train), test_share, seed)
            logger.info(
                "%s: no test%s given; %d of its %d images become it", where, side, len(left), len(train)
            )
            train, test = {k: train[k] for k in chosen}, {k: train[k] for k in left}
        places |= {f"train{side}/{place}": name for place, name in train.items()}
        places |= {f"test{side}/{place}": name for place, name in test.items()}
    left_aside = Counter(
        PurePosixPath(n).suffix.lower() or "no suffix" for n in set(names) - set(places.values())
    )
    if left_aside:
        what = ", ".join(f"{count} {kind}" for kind, count in left_aside.most_common(6))
        logger.info("%s: files left aside: %s", where, what)
    return places
