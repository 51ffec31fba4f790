"""`python -m tools.fuzz`: tries all classes and prints a table; exits with 1 if anything was found."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from tools.fuzz.guard import KINDS, run_guarded
from tools.fuzz.targets import CLASSES


def main() -> int:
    """Run; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--only", default="", help="one class, by a part of its name")
    parser.add_argument("--share", type=float, default=1.0, help="of each class's mutations")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["CYCLEGAN_TRACKING"] = "off"
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.disable(logging.CRITICAL)
    titles = ("tried", *KINDS, "slowest")
    print("| class | " + " | ".join(titles) + " |\n|---|" + "--:|" * len(titles))
    total, found = 0, []
    for name, (make, count) in CLASSES.items():
        if given.only not in name:
            continue
        outcome = run_guarded(name, make, max(1, round(count * given.share)), given.seed, given.first)
        tried = sum(outcome.counts[kind] for kind in KINDS if kind != "growth")
        cells = [tried, *(outcome.counts[kind] for kind in KINDS), f"{outcome.slowest:.2f} s"]
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)
        total += tried
        found += [f"{name}: {where}: {text}" for where, text in sorted(outcome.examples.items())]
    print(f"\n{total} mutations, {len(found)} kinds of failure")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
