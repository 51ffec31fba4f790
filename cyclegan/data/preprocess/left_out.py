"""Images that are not packed: how many may be bad, what goes with them, and what is said of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from cyclegan.data.prepared import MANIFEST_FILE
from cyclegan.errors import CycleGANError

logger = logging.getLogger(__name__)


def kept_rows(subset: str, names: Sequence[str], refused: Mapping[str, str]) -> list[int]:
    """The rows, as packed first, of the images that were not refused."""
    return [row for row, name in enumerate(names) if f"{subset}/{name}" not in refused]


def check_share(refused: Mapping[str, str], total: int, limit: float, raw: Path) -> None:
    """Raise CycleGANError, with the usual reasons, where more than the share `limit` of `total` are bad."""
    if len(refused) > limit * total:
        reasons = Counter((PurePosixPath(name).suffix.lower(), reason) for name, reason in refused.items())
        first = dict.fromkeys(reasons, "")
        for name, reason in reversed(list(refused.items())):
            first[PurePosixPath(name).suffix.lower(), reason] = name
        kinds = [
            f"{readable(first[kind])}: {kind[1]}"
            if count == 1
            else f"{count} {kind[0]} files ({readable(first[kind])} …): {kind[1]}"
            for kind, count in reasons.most_common(3)
        ]
        raise CycleGANError(
            f"{len(refused)} of {total} images in {raw} are bad, more than max_bad_share = {limit:g}: "
            f"{'; '.join(kinds)}{' …' if len(reasons) > 3 else ''}."
        )


def orphans(files: Mapping[str, Sequence[str]], refused: Mapping[str, str]) -> dict[str, str]:
    """Test images whose other half was refused: without them row i would no longer meet row i."""
    orphans = {}
    for name_a, name_b in zip(files["testA"], files["testB"], strict=True):
        a, b = f"testA/{name_a}", f"testB/{name_b}"
        if (a in refused) != (b in refused):
            orphans[b if a in refused else a] = f"its pair {readable(a if a in refused else b)} was left out"
    return orphans


def report(refused: Mapping[str, str], duplicates: Sequence[Mapping[str, str]], *, dropped: bool) -> None:
    """Log what is left out, and warn of train images that repeat test images unless those were `dropped`."""
    for name, reason in list(refused.items())[:20]:
        logger.info("left out: %s: %s", readable(name), reason)
    if len(refused) > 20:
        logger.info("left out: %d more, all in %s", len(refused) - 20, MANIFEST_FILE)
    if duplicates and not dropped:
        first = ", ".join(f"{readable(d['train'])} = {readable(d['test'])}" for d in duplicates[:3])
        logger.warning(
            "%d train images are in the test set too (%s%s) and flatter the scores: see drop_test_duplicates",
            len({d["train"] for d in duplicates}),
            first,
            " …" if len(duplicates) > 3 else "",
        )


def readable(name: str) -> str:
    """A file name as text that can be written as UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
