"""The place of every image in trainA, trainB, testA and testB."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cyclegan.data.layout.domains import Domains, add_image, find_domains, role_of
from cyclegan.data.layout.files import count_suffixes, is_hidden, is_image
from cyclegan.data.layout.pairs import stem_key
from cyclegan.errors import UsageError

logger = logging.getLogger(__name__)


def split(names: Sequence[str], test_share: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide names into train and test, test being `test_share` of them and at least one.

    At least two out of ten or more, since with one test image no model can be evaluated.
    The choice depends on the seed and the stems alone, so two domains of the same stems are divided alike and
    test pairs remain pairs.
    """
    count = min(max(2 if len(names) >= 10 else 1, round(test_share * len(names))), len(names) - 1)

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{stem_key(name)}".encode("utf-8", "surrogateescape")).digest()

    test = set(sorted(names, key=draw)[: max(count, 0)])
    return [name for name in names if name not in test], sorted(test)


@dataclass(frozen=True)
class Arrangement:
    """Where every image goes, {place: name} with places like 'trainA/sub/1.jpg', and the domains' names."""

    places: dict[str, str]
    names: dict[str, str]


def arrange(
    names: Collection[str],
    *,
    test_share: float,
    seed: int,
    where: str,
    a_folder: str = "",
    b_folder: str = "",
) -> Arrangement:
    """Find the domains in a tree of relative POSIX paths and give every image its place.

    The layouts are those of `find_domains`, at any depth and in any case. Validation images become the test
    set where there is no other; where there is neither, `test_share` of each domain does. Raises UsageError,
    naming `where` and the folders found, when there is no such layout or more than one.
    """
    found = find_domains(names, where, a_folder=a_folder, b_folder=b_folder)
    domains = found.domains
    places: dict[str, str] = {}
    for side in "AB":
        train = domains.get(f"train{side}", domains.get(side, {}))
        test = domains.get(f"test{side}", {})
        if not test and (test := domains.get(f"val{side}", {})):
            logger.info("%s: the %d validation images of %s become test%s", where, len(test), side, side)
        if not test:
            if len(train) < 2:
                raise UsageError(
                    f"{where}: domain {side} has only {len(train)} image; at least 2 are needed."
                )
            kept, taken = split(sorted(train), test_share, seed)
            logger.info("%s has no test%s: holding out %d of %d images", where, side, len(taken), len(train))
            train, test = {below: train[below] for below in kept}, {below: train[below] for below in taken}
        places |= {f"train{side}/{below}": name for below, name in train.items()}
        places |= {f"test{side}/{below}": name for below, name in test.items()}
    if found.names != {"A": "A", "B": "B"}:
        logger.info("%s: A is %s, B is %s", where, found.names["A"], found.names["B"])
    if left_out := _left_out(set(names) - set(places.values())):
        logger.info("%s: ignored: %s", where, left_out)
    return Arrangement(places, found.names)


def _left_out(names: Collection[str]) -> str:
    """What was not taken, by folder and reason."""
    hidden = sum(map(is_hidden, names))
    folders = Counter(PurePosixPath(name).parent.as_posix() for name in names if is_image(name))
    others = [name for name in names if not is_image(name) and not is_hidden(name)]
    parts = [f"{count} images in {folder}/" for folder, count in folders.most_common(5)]
    parts += [count_suffixes(others)] if others else []
    parts += [f"{hidden} hidden files"] if hidden else []
    return ", ".join(parts)


def arrange_pairs(names: Collection[str], *, test_share: float, seed: int, where: str) -> dict[str, str]:
    """Place images that show A and B side by side: {'train/1.jpg' or 'test/1.jpg': name}.

    Folders train, val and test count as such; without test (or val) a share is held out. Raises UsageError if
    there are fewer than 2 images, or two of one place.
    """
    images = sorted(filter(is_image, names))
    found: Domains = {}
    for name in images:
        parts = PurePosixPath(name).parts
        roles = [role for part in parts[:-1] if (role := role_of(part)) in {"train", "test", "val"}]
        below = "/".join(part for part in parts if role_of(part) not in {"train", "test", "val"})
        add_image(found, roles[0] if roles else "train", below, name, where)
    train, test = found.get("train", {}), found.get("test", found.get("val", {}))
    if not test and len(train) > 1:
        kept, taken = split(sorted(train), test_share, seed)
        train, test = {below: train[below] for below in kept}, {below: train[below] for below in taken}
    if not train or not test:
        raise UsageError(f"{where} has {len(images)} images side by side; at least 2 are needed.")
    return {f"train/{below}": n for below, n in train.items()} | {f"test/{b}": n for b, n in test.items()}
