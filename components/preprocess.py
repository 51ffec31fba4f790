"""Component: raw images into packed arrays."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component
from cyclegan.data.config import PreprocessConfig


@component(PreprocessConfig)
def preprocess(
    raw: dsl.Input[dsl.Dataset],
    data_version: str,
    load_size: int,
    options: dict[str, Any],
    prepared: dsl.Output[dsl.Dataset],
) -> NamedTuple("Prepared", [("prepared_digest", str)]):  # type: ignore[valid-type]
    """Validate, orient, resize and pack the images.

    Args:
        raw: Folder that fetch wrote.
        data_version: What fetch found; part of the cache key, which does not see into artifacts.
        prepared: Arrays trainA trainB testA testB, manifest.json and provenance.json.

    Returns:
        prepared_digest: SHA-256 of the manifest, which decides the content.
    """
    import tempfile
    from pathlib import Path

    from cyclegan.cluster.arguments import pick
    from cyclegan.cluster.settings import begin
    from cyclegan.data.config import PreprocessConfig
    from cyclegan.data.fetch.archives import unpack_zip
    from cyclegan.data.preprocess.preprocess import preprocess as step
    from cyclegan.io.files import sha256

    begin()
    config = pick(PreprocessConfig, locals(), "preprocess")
    with tempfile.TemporaryDirectory() as folder:
        unpack_zip(Path(raw.path) / "images.zip", Path(folder) / "raw")
        found = step(Path(folder) / "raw", Path(prepared.path), config)
    counts = {domain: facts["count"] for domain, facts in found.domains.items()}
    prepared.metadata.update(uri=found.uri, data_version=found.version, **counts)
    prepared.metadata.update(height=found.height, width=found.width, rejected=len(found.manifest.rejected))
    return (sha256(Path(prepared.path) / "manifest.json"),)
