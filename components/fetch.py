"""Component: images by URI into one artifact."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component
from cyclegan.data.config import FetchConfig


@component(FetchConfig)
def fetch(
    source: str,
    version: str,
    state: str,
    options: dict[str, Any],
    raw: dsl.Output[dsl.Dataset],
) -> NamedTuple("Fetched", [("data_version", str)]):  # type: ignore[valid-type]
    """Fetch two domains of images by URI.

    Args:
        state: Of the source, as `look` found it: part of the cache's key, and nothing else.
        raw: Folder, which KFP's page can list, of one zip: trainA trainB testA testB and source.json.

    Returns:
        data_version: What was found, a DVC directory md5.
    """
    import tempfile
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.fetch.archives import pack_zip
    from cyclegan.data.fetch.fetch import fetch as step

    begin(tracked=True)
    config = pick(FetchConfig, {"source": source, "version": version, "options": options}, "fetch")
    archive = Path(raw.path) / "images.zip"
    with tempfile.TemporaryDirectory() as folder:
        found = step(Path(folder) / "raw", config)
        pack_zip(Path(folder) / "raw", archive)
    size = archive.stat().st_size
    raw.metadata.update(uri=found.uri, data_version=found.version, size_bytes=size, **found.counts)
    return (found.version,)
