"""A compiled pipeline with another image, without its cache, or without its retries."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pipeline.compiled.backends import VERSIONS, fit
from pipeline.compiled.documents import read_documents, write_documents


def write_adapted(
    file: Path,
    target: Path,
    *,
    image: str = "",
    caching: bool = True,
    fresh: Collection[str] = (),
    retries: bool = True,
    backend: str = VERSIONS[-1],
) -> list[str]:
    """Write the compiled pipeline `file` to `target`, changed as asked; returns what `backend` leaves out.

    `image`, where given, takes the place of every task's image; without `caching` no task is answered from
    the cache, those inside of blocks included, which the client's own switch leaves out, and those in `fresh`
    are not in any case; without `retries` a failure is final.
    """
    documents = read_documents(file)
    spec = documents[0]
    if image:
        for executor in spec["deploymentSpec"]["executors"].values():
            executor["container"]["image"] = image
    for block in (spec["root"], *spec["components"].values()):
        for name, task in block.get("dag", {}).get("tasks", {}).items():
            if (not caching or name in fresh) and "cachingOptions" in task:
                task["cachingOptions"] = {}
            if not retries:
                task.pop("retryPolicy", None)
    lost = fit(documents, backend)
    write_documents(documents, target)
    return lost
