"""Pictures of two domains that belong together by their names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection


def stem_key(name: str) -> str:
    """What names a picture in both domains: the path less its suffix and an `_A` or `_B` ending."""
    return re.sub(r"_[AB]$", "", posixpath.splitext(name)[0])


def are_pairs(names_a: Collection[str], names_b: Collection[str]) -> bool:
    """Whether two domains hold the same pictures by name, each once."""
    a, b = {stem_key(name) for name in names_a}, {stem_key(name) for name in names_b}
    return bool(a) and a == b and len(a) == len(names_a) and len(b) == len(names_b)
