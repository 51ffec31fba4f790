"""Fetch: two domains of images by one URI, laid out as trainA trainB testA testB."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from tyro.conf import Positional

from cyclegan.data.layout import DOMAINS, are_pairs, arrange, is_image, list_files
from cyclegan.data.version import SOURCE_FILE, directory_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.files import atomic_dir, sha256, write_json

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

    def __post_init__(self) -> None:
        if bool(self.a) != bool(self.b):
            raise UsageError("a and b belong together: give the folders of both domains.")
        if not 0 < self.test_share < 1:
            raise UsageError(f"test_share = {self.test_share}: it must lie between 0 and 1, both excluded.")
        if self.sha256 and (len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef")):
            raise UsageError(f"sha256 = {self.sha256!r}: it must be 64 hexadecimal digits.")


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


def redact(uri: str) -> str:
    """A URI without what may be secret: user and password, query and fragment."""
    parts = urlsplit(uri)
    if not parts.scheme or parts.scheme == "synthetic":
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def fetch(out: Path, config: FetchConfig) -> Source:
    """Write trainA trainB testA testB and source.json into the folder `out`.

    A failed fetch leaves a former `out` as it was. Raises UsageError for a source that is none, and
    CycleGANError when it cannot be had whole.
    """
    _guard(out)
    with atomic_dir(out) as folder:
        uri, archive_sha = _fill(folder, config)
        names = {domain: [n for n in list_files(folder / domain) if is_image(n)] for domain in DOMAINS}
        source = Source(
            uri=uri,
            version=directory_md5(folder),
            counts={domain: len(names[domain]) for domain in DOMAINS},
            paired=are_pairs(names["testA"], names["testB"]),
            sha256=archive_sha,
        )
        if config.version and source.version != config.version:
            raise CycleGANError(f"{uri} has the data version {source.version}, not {config.version}.")
        write_json(folder / SOURCE_FILE, asdict(source))
    counts = ", ".join(f"{domain} {count}" for domain, count in source.counts.items())
    logger.info("%s: %s, version %s", out, counts, source.version)
    return source


def _guard(out: Path) -> None:
    """Refuse to replace anything but a dataset, an empty folder or nothing."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder to write to.")
    if out.is_dir():
        others = [p.name for p in out.iterdir() if p.name not in {*DOMAINS, SOURCE_FILE}]
        if others:
            raise UsageError(
                f"{out} holds other files ('{sorted(others)[0]}') and would be replaced: give a new folder."
            )


def _fill(folder: Path, config: FetchConfig) -> tuple[str, str]:
    """Write the four domains into `folder`; returns the URI to record and the archive's SHA-256, if any."""
    if config.a:
        a, b = Path(config.a), Path(config.b)
        _from_two_folders(a, b, folder, config)
        return f"{a} + {b}", ""
    scheme = urlsplit(config.source).scheme
    if scheme == "synthetic":
        _draw(config.source, folder)
        return config.source, ""
    path = Path(config.source)
    if path.is_dir():
        _place(path, list_files(path), folder, config, copy=True)
        return str(path), ""
    if path.is_file():
        return str(path), _from_archive(path, folder, config)
    raise UsageError(f"There is no folder, archive or dataset '{redact(config.source)}'.")


def _draw(uri: str, folder: Path) -> None:
    from cyclegan.data.synthetic import draw_city

    parts = urlsplit(uri)
    if parts.path != "city":
        raise UsageError(f"There is no synthetic dataset '{parts.path}': synthetic:city is the one.")
    options = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in {"train", "test", "size", "seed"} or not value.isdecimal():
            raise UsageError(f"{uri}: '{name}={value}' is none of train, test, size, seed with a number.")
        options[name] = int(value)
    draw_city(folder, **options)


def _from_two_folders(a: Path, b: Path, folder: Path, config: FetchConfig) -> None:
    names = []
    for side, path in (("A", a), ("B", b)):
        if not path.is_dir():
            raise UsageError(f"There is no folder {path}.")
        names += [f"{side}/{name}" for name in list_files(path)]
    places = arrange(names, test_share=config.test_share, seed=config.seed, where=f"{a} + {b}")
    for place, name in places.items():
        side, _, below = name.partition("/")
        _copy((a if side == "A" else b) / below, folder / place)


def _from_archive(archive: Path, folder: Path, config: FetchConfig) -> str:
    from cyclegan.data.archives import unpack

    digest = sha256(archive)
    if config.sha256 and digest != config.sha256.lower():
        raise CycleGANError(f"{archive} has the SHA-256 {digest}, not {config.sha256.lower()}.")
    unpacked = folder / ".unpacked"
    unpacked.mkdir()
    names = unpack(archive, unpacked)
    _place(unpacked, names, folder, config, copy=False, where=str(archive))
    shutil.rmtree(unpacked)
    return digest


def _place(
    tree: Path, names: list[str], folder: Path, config: FetchConfig, *, copy: bool, where: str = ""
) -> None:
    places = arrange(names, test_share=config.test_share, seed=config.seed, where=where or str(tree))
    for place, name in places.items():
        if copy:
            _copy(tree / name, folder / place)
        else:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).rename(folder / place)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise CycleGANError(f"Cannot copy {source} to {target.parent}: {error.strerror}.") from None
