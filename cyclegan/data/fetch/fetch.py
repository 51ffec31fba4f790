"""Fetch: two domains of images by one URI, laid out as trainA trainB testA testB."""

from __future__ import annotations

import logging
from pathlib import Path

from cyclegan.data.config import FetchConfig
from cyclegan.data.layout.files import SUBSETS, is_image, list_files
from cyclegan.data.layout.pairs import are_pairs
from cyclegan.data.source import Source, domain_names, write_source
from cyclegan.data.version import SOURCE_FILE, directory_md5
from cyclegan.errors import CycleGANError
from cyclegan.io.files import atomic_dir, guard_folder
from cyclegan.io.tracked import refuse_tracked
from cyclegan.io.uri import printable

logger = logging.getLogger(__name__)


def fetch(out: Path, config: FetchConfig, *, within: Path | None = None) -> Source:
    """Write trainA trainB testA testB and source.json into the folder `out`.

    Where a source contains `out`, or `within`, a folder around it that holds results alone, that part is not
    fetched. A failed fetch leaves an existing `out` as it was. Raises UsageError for an unknown source, and
    CycleGANError when it cannot be fetched completely.
    """
    refuse_tracked(out, itself=True)
    guard_folder(out, "the images", {*SUBSETS, SOURCE_FILE})
    try:
        with atomic_dir(out.resolve()) as folder:  # resolved: a link to a larger disk stays a link
            source = _fetch(folder, out, within or out, config)
    except OSError as error:
        raise CycleGANError(f"Cannot write {out}: {error.strerror}.") from None
    counts = ", ".join(f"{domain} {count}" for domain, count in source.counts.items())
    logger.info("%s: %s, version %s", out, counts, source.version)
    return source


def _fetch(folder: Path, out: Path, results: Path, config: FetchConfig) -> Source:
    from cyclegan.data.fetch.origins import fill

    origin = fill(folder, results, config)
    names = {domain: [n for n in list_files(folder / domain) if is_image(n)] for domain in SUBSETS}
    source = Source(
        uri=printable(origin.uri),  # names of folders need not be UTF-8
        version=directory_md5(folder, at=out),
        counts={domain: len(names[domain]) for domain in SUBSETS},
        paired=are_pairs(names["testA"], names["testB"]),
        sha256=origin.sha256,
        names=domain_names(origin.names),
        served_by=origin.served_by,
    )
    if origin.served_by:
        logger.info("%s redirected to %s, which sent the archive.", origin.uri, origin.served_by)
    if config.version and source.version != config.version:
        if not origin.rearranged:
            raise CycleGANError(f"{origin.uri} has the data version {source.version}, not {config.version}.")
        logger.info(
            "%s: the files of version %s %s; the folder is now %s",
            *(origin.uri, config.version, origin.rearranged, source.version),
        )
    write_source(folder, source)
    return source
