"""Parameters of fetch, preprocess and inspect; imports nothing heavy."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from cyclegan.errors import UsageError
from cyclegan.fields import about_rows, indifferent, later
from cyclegan.io.uri import hide_secrets, printable
from cyclegan.pixel_kind import LARGEST_CHANNELS, PixelKind, can_be_channels

LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Where images come from."""

    source: Annotated[Positional[str], arg(metavar="[SOURCE]")] = "synthetic:city"
    """A folder, an archive, https://…zip, s3://bucket/prefix/, a dataset's name such as maps, a DVC remote
    (with version), or synthetic:city?train=100&test=32&size=128&seed=0."""
    version: str = ""
    """Data version to fetch, '<32 hex>.dir' as in data.dvc: needed for a DVC remote, else verified."""
    sha256: str = ""
    """Expected SHA-256 of the archive."""
    a: str = ""
    """Instead of source: a plain folder of images for domain A …"""
    b: str = ""
    """… and one for domain B."""
    a_folder: str = ""
    """Which folders of the source hold domain A, as a pattern such as monet_jpg or */horse …"""
    b_folder: str = ""
    """… and which hold domain B."""
    side_by_side: Literal["no", "AB", "BA"] = "no"
    """Every image of the source is a pair, A on the left (AB) or B on the left (BA), as pix2pix has them."""
    test_share: float = 0.1
    """Share of each domain that becomes its test set where the source has none, in (0, 1)."""
    seed: int = 0
    """Decides which images become the test set."""
    datasets_url: str = ""
    """Base URL of NAME.zip for datasets known by name; else CYCLEGAN_DATASETS_URL, else their authors'."""
    workers: int = 16
    """Transfers at a time."""
    retries: int = 5
    """Attempts in a row without progress before a download fails."""
    timeout: float = 30.0
    """Seconds of silence after which a connection counts as broken."""
    retry_pause: float = 0.5
    """Seconds before the first retry; doubles with each."""
    max_bytes: int = 100 << 30
    """Refuse archives of more bytes than this, packed or unpacked."""

    def __post_init__(self) -> None:
        hide_secrets(self, "source", "datasets_url", "a", "b")
        if bool(self.a) != bool(self.b):
            raise UsageError("a and b belong together: set both.")
        for name, value in (("a", self.a), ("b", self.b)):
            if "://" in value:
                raise UsageError(
                    f"{name} = {value}: a and b are folders; for an address use source, with a_folder and "
                    "b_folder where its folders have other names."
                )
        if bool(self.a_folder) != bool(self.b_folder):
            raise UsageError("a_folder and b_folder belong together: set both.")
        if self.side_by_side != "no" and (self.a or self.a_folder):
            raise UsageError(
                "side_by_side takes one source of whole pairs: leave out a, b, a_folder and b_folder."
            )
        if not self.source and not self.a:
            raise UsageError("source is empty: pass a folder, an archive, a URI or a dataset's name.")
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share = {self.test_share}: it must be between 0 and 1, both excluded.")
        if self.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            raise UsageError(f"sha256 = {self.sha256!r}: it must be 64 hexadecimal digits.")
        if self.version and not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", self.version):
            raise UsageError(f"version = {self.version!r}: it must be an MD5 as in data.dvc, '<32 hex>.dir'.")
        for name in ("workers", "timeout", "max_bytes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} = {getattr(self, name)}: it must be above 0.")
        if self.timeout > 86400:
            raise UsageError(f"timeout = {self.timeout}: it must be at most a day, 86400 seconds.")
        for name in ("retries", "retry_pause"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} = {getattr(self, name)}: it must not be negative.")


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How raw images become arrays of one size."""

    load_size: int = 286
    """Side of the packed images in pixels; training crops its own size out of it."""
    load_width: int = 0
    """Width of the packed images if they are not square, such as video frames; load_size is then their
    height. 0: square."""
    aspect: Literal["squash", "crop", "keep"] = "squash"
    """How images of other shapes are brought to that size. squash: stretch them, as the papers do; crop: cut
    out the middle; keep: don't resize, all images must have one size."""
    min_size: int = 16
    """Images with a side shorter than this, in pixels, are refused."""
    max_pixels: int = 100_000_000
    """Images with more pixels than this are refused before they are decoded."""
    black: float = 0.0
    """Value that becomes 0 in images of more than 8 bits a channel."""
    white: float = 0.0
    """Value that becomes 255, or 65535 with bits = 16, in images of more than 8 bits a channel, such as 4095
    for 12 bits in 16-bit files; 0: the largest value of the file's own type."""
    percentile: float = 0.0
    """Above 0: scale each image of more than 8 bits from this percentile of its values to 100 minus it,
    without black and white."""
    channels: str = later("3")
    """Channels of the images; 3 with 8 bits: whatever the files hold becomes RGB. With others, files keep
    their channels and values, and must have that many: 4, or 2,1 where A has two and B one."""
    bits: int = later(8)
    """Bits of a channel as packed: 8, or 16 for TIFF and PNG of more than 8."""
    max_bad_share: float = indifferent(0.1, pixels=False)
    """Fail when more than this share of the images, in [0, 1], is refused."""
    drop_test_duplicates: bool = about_rows(False)
    """Drop train images that are also, exactly or nearly, in the test set of the same domain."""
    pairs: Literal["auto", "no"] = about_rows("auto")
    """auto: test images of the same name in A and B show the same scene; no: the names agree by chance."""
    workers: int = indifferent(0, recorded=False)
    """Threads; 0: one per core that the machine or container makes available."""
    names: str = indifferent("", recorded=False)
    """Names of the domains, A first, such as horses,zebras; empty: the names of their folders."""
    version: str = indifferent("", recorded=False)
    """Data version to record instead of the one computed from the files."""

    def __post_init__(self) -> None:
        for name in ("load_size", "min_size", "max_pixels"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: it must be at least 1.")
        if self.load_width < 0:
            raise UsageError(f"load_width = {self.load_width}: it must be 0 (square) or more.")
        for name in ("load_size", "load_width"):
            if getattr(self, name) > 8192:
                raise UsageError(f"{name} = {getattr(self, name)}: it must be at most 8192.")
        if self.aspect == "keep" and self.load_width:
            raise UsageError(f"load_width = {self.load_width}: with aspect = keep images are not resized.")
        if self.max_pixels > 178_000_000:
            raise UsageError(f"max_pixels = {self.max_pixels}: Pillow decodes at most 178000000.")
        if self.white and self.white <= self.black:
            raise UsageError(f"white = {self.white:g}: it must be above black = {self.black:g}.")
        if not 0 <= self.percentile < 50:
            raise UsageError(f"percentile = {self.percentile:g}: it must be at least 0 and below 50.")
        if self.percentile and (self.black or self.white):
            raise UsageError(
                f"percentile = {self.percentile:g}: it replaces black and white, pass one or the other."
            )
        if not 0 <= self.max_bad_share <= 1:
            raise UsageError(f"max_bad_share = {self.max_bad_share}: it must be between 0 and 1.")
        if self.workers < 0:
            raise UsageError(f"workers = {self.workers}: it must be 0 (all cores) or more.")
        if self.bits not in (8, 16):
            raise UsageError(f"bits = {self.bits}: it must be 8 or 16.")
        self.kinds()
        if self.names and not self.domain_names:
            raise UsageError(
                f"names = {reprlib.repr(self.names)}: two different names are needed, as in horses,zebras."
            )
        if any(len(name) > LONGEST_NAME for name in self.domain_names.values()):
            raise UsageError(
                f"names = {reprlib.repr(self.names)}: a name can have {LONGEST_NAME} characters at most, "
                "since it stands above every picture."
            )

    @property
    def domain_names(self) -> dict[str, str]:
        """`names` by domain, {"A": "horses", "B": "zebras"}; empty where two different ones are not given."""
        parts = [printable(part.strip()) for part in self.names.split(",")]
        whole = len(parts) == 2 and all(parts) and parts[0] != parts[1]
        return dict(zip("AB", parts, strict=True)) if whole else {}

    def kinds(self) -> dict[str, PixelKind]:
        """What the pixels of domain A and B become. Raises UsageError for channels that cannot be read."""
        parts = [part.strip() for part in self.channels.split(",")]
        if len(parts) > 2 or not all(re.fullmatch("[0-9]{1,3}", part) for part in parts):
            raise UsageError(f"channels = {self.channels[:40]!r}: pass one number, or two as in 2,1.")
        numbers = [int(part) for part in parts]
        if not all(map(can_be_channels, numbers)):
            raise UsageError(f"channels = {self.channels}: each must be from 1 to {LARGEST_CHANNELS}.")
        return {domain: PixelKind(numbers[i % len(numbers)], self.bits) for i, domain in enumerate("AB")}

    def size(self) -> tuple[int, int] | None:
        """Height and width of the packed images; None where they keep their own."""
        return None if self.aspect == "keep" else (self.load_size, self.load_width or self.load_size)


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """How a dataset is inspected."""

    samples: int = 12
    """Pictures of each domain on the page."""
    examples: int = 12
    """Pictures shown of each kind of problem."""
    min_size: int = 16
    """Images with a side shorter than this, in pixels, are reported as unusable."""
    max_pixels: int = 100_000_000
    """Images with more pixels than this are reported as unusable."""
    workers: int = 0
    """Threads; 0: one per core that the machine or container makes available."""

    def __post_init__(self) -> None:
        for name in ("samples", "examples", "workers"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} = {getattr(self, name)}: it must not be negative.")
        if self.min_size < 1:
            raise UsageError(f"min_size = {self.min_size}: it must be at least 1.")
        if not 1 <= self.max_pixels <= 178_000_000:
            raise UsageError(f"max_pixels = {self.max_pixels}: it must be between 1 and 178000000.")
