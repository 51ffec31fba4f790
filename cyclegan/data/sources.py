"""Fetch: two domains of images by one URI, laid out as trainA trainB testA testB."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from cyclegan.data.layout import DOMAINS, are_pairs, is_image, list_files
from cyclegan.data.version import SOURCE_FILE, directory_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.files import atomic_dir, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Where images come from."""

    source: Positional[str] = "synthetic:city"
    """A folder, an archive, https://…zip, s3://bucket/prefix/, a dataset's name such as maps, a DVC remote
    (with version), or synthetic:city?train=100&test=32&size=128&seed=0."""
    version: str = ""
    """The data version to get, '<32 hex>.dir' as in data.dvc: source is a DVC remote, or must have it."""
    sha256: str = ""
    """Expected SHA-256 of the archive."""
    a: str = ""
    """Instead of source: a plain folder of images for domain A …"""
    b: str = ""
    """… and one for domain B."""
    test_share: float = 0.1
    """Share of each domain that becomes its test set where the source has none, in (0, 1)."""
    seed: int = 0
    """Decides which images become the test set."""
    datasets_url: str = ""
    """Where the datasets known by name lie as NAME.zip; else CYCLEGAN_DATASETS_URL, else their authors'."""
    workers: int = 16
    """Transfers at a time."""
    retries: int = 5
    """Attempts in a row that may bring nothing new before a download fails."""
    timeout: float = 30.0
    """Seconds of silence after which a connection counts as broken."""
    retry_pause: float = 0.5
    """Seconds before the first new attempt; doubles with each."""
    max_bytes: int = 100 << 30
    """Refuse archives that are, or become, larger than this."""

    def __post_init__(self) -> None:
        if bool(self.a) != bool(self.b):
            raise UsageError("a and b belong together: give the folders of both domains.")
        if not self.source and not self.a:
            raise UsageError("source is empty: give a folder, an archive, a URI or a dataset's name.")
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share = {self.test_share}: it must lie between 0 and 1, both excluded.")
        if self.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            raise UsageError(f"sha256 = {self.sha256!r}: it must be 64 hexadecimal digits.")
        if self.version and not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", self.version):
            raise UsageError(f"version = {self.version!r}: it must be an MD5 as in data.dvc, '<32 hex>.dir'.")
        for name in ("workers", "timeout", "max_bytes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} = {getattr(self, name)}: it must be above 0.")
        for name in ("retries", "retry_pause"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} = {getattr(self, name)}: it must not be negative.")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was fetched; the content of source.json."""

    uri: str
    """Where it came from, without credentials."""
    version: str
    """DVC's MD5 of the folder, '<32 hex>.dir'."""
    counts: dict[str, int]
    """Images in trainA, trainB, testA and testB."""
    paired: bool
    """Whether test A and B hold the same file stems, an `_A` or `_B` ending aside."""
    sha256: str = ""
    """SHA-256 of the archive that it came in."""


def fetch(out: Path, config: FetchConfig) -> Source:
    """Write trainA trainB testA testB and source.json into the folder `out`.

    A failed fetch leaves a former `out` as it was. Raises UsageError for a source that is none, and
    CycleGANError when it cannot be had whole.
    """
    _guard(out)
    try:
        with atomic_dir(out.resolve()) as folder:  # resolved: a link to a larger disk stays a link
            source = _fetch(folder, config)
    except OSError as error:
        raise CycleGANError(f"Cannot write {out}: {error.strerror}.") from None
    counts = ", ".join(f"{domain} {count}" for domain, count in source.counts.items())
    logger.info("%s: %s, version %s", out, counts, source.version)
    return source


def _guard(out: Path) -> None:
    """Refuse to replace anything but a dataset, an empty folder or nothing."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder to write to.")
    if out.is_dir():
        others = sorted(p.name for p in out.iterdir() if p.name not in {*DOMAINS, SOURCE_FILE})
        if others:
            raise UsageError(
                f"{out} holds other files ('{others[0]}') and would be replaced: give a new folder."
            )


def _fetch(folder: Path, config: FetchConfig) -> Source:
    from cyclegan.data.origins import fill

    origin = fill(folder, config)
    names = {domain: [n for n in list_files(folder / domain) if is_image(n)] for domain in DOMAINS}
    source = Source(
        uri=origin.uri,
        version=directory_md5(folder),
        counts={domain: len(names[domain]) for domain in DOMAINS},
        paired=are_pairs(names["testA"], names["testB"]),
        sha256=origin.sha256,
    )
    if config.version and source.version != config.version:
        if not origin.rearranged:
            raise CycleGANError(f"{origin.uri} has the data version {source.version}, not {config.version}.")
        logger.info(
            "the files of version %s were rearranged; the folder is now %s", config.version, source.version
        )
    write_json(folder / SOURCE_FILE, asdict(source))
    return source
