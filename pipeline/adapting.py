"""A compiled pipeline with another image, without its cache, or without its retries."""

from __future__ import annotations

from pathlib import Path

import yaml


def write_adapted(
    file: Path, target: Path, *, image: str = "", caching: bool = True, retries: bool = True
) -> None:
    """Write the compiled pipeline `file` to `target`, changed as asked.

    `image`, where given, takes the place of every task's image; without `caching` no task is answered from
    the cache, those inside of blocks included, which the client's own switch leaves out; without `retries` a
    failure is final.
    """
    documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    spec = documents[0]
    if image:
        for executor in spec["deploymentSpec"]["executors"].values():
            executor["container"]["image"] = image
    for block in (spec["root"], *spec["components"].values()):
        for task in block.get("dag", {}).get("tasks", {}).values():
            if not caching and "cachingOptions" in task:
                task["cachingOptions"] = {}
            if not retries:
                task.pop("retryPolicy", None)
    target.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
