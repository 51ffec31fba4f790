"""Component: images by URI into one artifact."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fetch(source: str, version: str, options: str, raw: dsl.Output[dsl.Dataset]) -> str:
    """Fetch two domains of images by URI.

    Args:
        source: Where the images are: synthetic:city, a folder, an archive, https://, s3:// or a DVC remote.
        version: DVC directory md5 that the images must have; empty takes them as they are.
        options: Further fields of FetchConfig as a JSON object.
        raw: One uncompressed zip of trainA trainB testA testB and source.json.

    Returns:
        The data version that was found, a DVC directory md5.
    """
    import json
    import tempfile
    from pathlib import Path

    from cyclegan.cli.params import config_from
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.fetch.archives import pack_zip
    from cyclegan.data.fetch.fetch import fetch as step

    fields = {"source": source, "version": version} | json.loads(options)
    config = config_from(FetchConfig, fields, "fetch")
    with tempfile.TemporaryDirectory() as folder:
        found = step(Path(folder) / "raw", config)
        pack_zip(Path(folder) / "raw", Path(raw.path))
    raw.metadata.update(uri=found.uri, version=found.version)
    return found.version
