"""Component: raw images into packed arrays."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(
    raw: dsl.Input[dsl.Dataset],
    version: str,
    load_size: int,
    options: str,
    prepared: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Validate, orient, resize and pack the images.

    Args:
        raw: Zip that fetch wrote.
        version: Data version that fetch found; part of the cache key, which does not see into artifacts.
        load_size: Side in pixels to which images are resized.
        options: Further fields of PreprocessConfig as a JSON object.
        prepared: Arrays trainA trainB testA testB, manifest.json and provenance.json.
        metrics: Images taken of each domain, and images rejected.

    Returns:
        SHA-256 of the manifest, which decides the content.
    """
    import json
    import tempfile
    from pathlib import Path

    from cyclegan.cli.params import config_from
    from cyclegan.data.config import PreprocessConfig
    from cyclegan.data.fetch.archives import unpack_zip
    from cyclegan.data.preprocess.preprocess import preprocess as step
    from cyclegan.io.files import sha256

    fields = {"load_size": load_size} | json.loads(options)
    config = config_from(PreprocessConfig, fields, "preprocess")
    with tempfile.TemporaryDirectory() as folder:
        unpack_zip(Path(raw.path), Path(folder) / "raw")
        found = step(Path(folder) / "raw", Path(prepared.path), config)
    for domain, facts in found.domains.items():
        metrics.log_metric(domain, facts["count"])
    metrics.log_metric("rejected", len(found.manifest.rejected))
    prepared.metadata.update(uri=found.uri, version=found.version)
    return sha256(Path(prepared.path) / "manifest.json")
