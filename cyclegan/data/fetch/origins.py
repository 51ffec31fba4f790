"""The kinds of source that `fetch` knows, each a function that fills a folder."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from cyclegan.data.layout.arrange import Arrangement, arrange, arrange_pairs
from cyclegan.data.layout.files import is_image, list_files
from cyclegan.data.source import Names, read_origin
from cyclegan.data.version import SOURCE_FILE
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.download import RetryPolicy, download
from cyclegan.io.files import LITTER, is_dir, is_file, sha256
from cyclegan.io.uri import path_of, redact, reveal

if TYPE_CHECKING:
    from cyclegan.data.config import FetchConfig

# where the authors of CycleGAN keep their datasets
OFFICIAL = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"
OFFICIAL_NAMES = (
    "ae_photos",
    "apple2orange",
    "cezanne2photo",
    "cityscapes",
    "facades",
    "horse2zebra",
    "iphone2dslr_flower",
    "maps",
    "monet2photo",
    "summer2winter_yosemite",
    "ukiyoe2photo",
    "vangogh2photo",
)


@dataclass(frozen=True)
class Origin:
    """Where a folder's content came from."""

    uri: str
    """Without credentials."""
    sha256: str = ""
    """Of the archive, if it came in one."""
    names: Names = field(default_factory=lambda: {"A": "A", "B": "B"})
    """What the domains are called."""
    served_by: str = ""
    """Host that sent the archive, where the one in `uri` redirected to it."""
    rearranged: str = ""
    """Why the folder's version differs from the checked one, in words that follow "the files"."""


def fill(folder: Path, results: Path, config: FetchConfig) -> Origin:
    """Write trainA trainB testA testB into the empty `folder`, from whatever kind of source `config` names.

    The folder `results` is not fetched along with a source around it. Raises UsageError for an unknown source
    or layout, CycleGANError where it cannot be fetched completely.
    """
    if config.a:
        return _from_two_folders(folder, results, config)
    source = reveal(config.source)
    scheme = source.partition(":")[0] if ":" in source else ""
    if scheme == "synthetic":
        _refuse_sha256(config, source)
        return _draw(folder, source)
    if scheme == "file":
        source, scheme = unquote(urlsplit(source).path), ""
    if scheme in {"http", "https", "s3"}:
        return _from_afar(folder, source, config)
    path = Path(source)
    if is_dir(path):
        return _from_folder(folder, results, path, config)
    if is_file(path):
        return _from_archive(folder, path, config, where=str(path))
    if source in OFFICIAL_NAMES:
        address = reveal(config.datasets_url) or os.environ.get("CYCLEGAN_DATASETS_URL") or OFFICIAL
        origin = _from_afar(folder, f"{address.rstrip('/')}/{source}.zip", config)
        a, _, b = source.partition("2")
        return replace(origin, names={"A": a, "B": b}) if b else origin
    raise UsageError(_unknown(source))


def _retry_policy(config: FetchConfig) -> RetryPolicy:
    return RetryPolicy(
        retries=config.retries, timeout=config.timeout, pause=config.retry_pause, max_bytes=config.max_bytes
    )


def _unknown(source: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(source, OFFICIAL_NAMES, n=1)
    hint = (
        f"; did you mean '{close[0]}'?"
        if close
        else f"; datasets known by name: {', '.join(OFFICIAL_NAMES)}."
    )
    return f"There is no folder, archive or dataset '{redact(source)}'{hint}"


def _draw(folder: Path, uri: str) -> Origin:
    from cyclegan.data.sample.city import draw_city

    parts = urlsplit(uri)
    if parts.path != "city":
        raise UsageError(f"There is no synthetic dataset '{parts.path}': the only one is synthetic:city.")
    options = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in {"train", "test", "size", "seed"} or not re.fullmatch(r"[0-9]{1,9}", value):
            raise UsageError(
                f"{uri}: unknown option '{name}={value}'; expected train, test, size or seed as an integer."
            )
        options[name] = int(value)
    draw_city(folder, **options)
    return Origin(uri, names={"A": "aerial", "B": "map"})


def _refuse_sha256(config: FetchConfig, where: str) -> None:
    """Raise UsageError where a SHA-256 is expected of what is not one file; nothing would check it."""
    if config.sha256:
        raise UsageError(f"sha256 belongs to an archive, but {where} is not one: leave sha256 out.")


def _from_two_folders(folder: Path, results: Path, config: FetchConfig) -> Origin:
    tops = {"A": Path(reveal(config.a)), "B": Path(reveal(config.b))}
    for top in tops.values():
        if not is_dir(top):
            raise UsageError(f"There is no folder {top}.")
    where = f"{tops['A']} + {tops['B']}"
    _refuse_sha256(config, where)
    _check_apart(tops["A"], tops["B"], results)
    names = []
    for side, top in tops.items():
        below = list_files(top)
        if not any(map(is_image, below)):
            raise UsageError(f"{top} holds no images ({len(below)} other files).")
        names += [f"{side}/{name}" for name in below]
    for place, name in _arrange(names, config, where).places.items():
        side, _, below_top = name.partition("/")
        _copy(tops[side] / below_top, folder / place)
    titles = {side: top.resolve().name for side, top in tops.items()}
    distinct = titles["A"] != titles["B"]
    return Origin(where, names=titles if distinct else {"A": "A", "B": "B"})


def _check_apart(a: Path, b: Path, results: Path) -> None:
    """Raise UsageError where an image would be of both domains, or a result be fetched the next time."""
    real_a, real_b, real_results = a.resolve(), b.resolve(), results.resolve()
    if real_a.is_relative_to(real_b) or real_b.is_relative_to(real_a):
        raise UsageError(f"The folders a = {a} and b = {b} overlap: pass two that have no images in common.")
    for name, top, real in (("a", a, real_a), ("b", b, real_b)):
        if real_results.is_relative_to(real):
            raise UsageError(
                f"{results} is inside {name} = {top}, the images to fetch: write to a folder elsewhere."
            )


def _from_folder(folder: Path, results: Path, path: Path, config: FetchConfig) -> Origin:
    from cyclegan.data.fetch.dvc_remote import has_version

    if config.version and has_version(path, config.version):
        return _from_dvc(folder, str(path), config)
    _refuse_sha256(config, str(path))
    arrangement = _arrange(list_files(path, leave_out=results), config, str(path))
    if config.side_by_side != "no":
        _cut_pairs(path, arrangement, folder, config, str(path))
    else:
        for place, name in arrangement.places.items():
            _copy(path / name, folder / place)
    found = arrangement.names
    named = found if found != {"A": "A", "B": "B"} else read_origin(path / SOURCE_FILE)[1]
    return Origin(str(path), names=named)


def _from_afar(folder: Path, uri: str, config: FetchConfig) -> Origin:
    """An archive, a prefix of objects, or a DVC remote, over http(s) or S3."""
    from cyclegan.data.fetch.archives import is_archive

    single = is_archive(path_of(uri))
    if config.version and not single:
        from cyclegan.data.fetch.dvc_remote import NoSuchVersion

        try:
            return _from_dvc(folder, uri, config)
        except NoSuchVersion:
            # a cloud-versioned remote holds the files under their own names; `fetch` compares the version
            if not (uri.startswith("s3:") and _holds_images(uri)):
                raise
            for left in folder.iterdir():
                shutil.rmtree(left)
            return _from_prefix(folder, uri, config)
    archive = folder / ".download"
    served_by = ""
    if not uri.startswith("s3:"):
        served_by = download(uri, archive, _retry_policy(config)).served_by
    elif single:
        from cyclegan.io.storage import open_store

        bucket_and_prefix, _, key = uri.rpartition("/")
        open_store(bucket_and_prefix).get(key, archive)
    else:
        return _from_prefix(folder, uri, config)
    origin = _from_archive(folder, archive, config, where=redact(uri))
    archive.unlink()
    return replace(origin, served_by=served_by)


def _holds_images(uri: str) -> bool:
    from cyclegan.io.storage import open_store

    return any(is_image(entry.key) for entry in open_store(uri).list())


def _from_prefix(folder: Path, uri: str, config: FetchConfig) -> Origin:
    from cyclegan.data.fetch.archives import safe_name
    from cyclegan.data.fetch.dvc_remote import in_parallel
    from cyclegan.io.storage import open_store

    store = open_store(uri)
    _refuse_sha256(config, store.uri)
    names = [entry.key for entry in store.list()]
    if not names:
        raise CycleGANError(f"There are no objects below {store.uri}/.")
    for name in names:
        if safe_name(name) != name:
            raise CycleGANError(f"{store.uri}: the key {name!r} cannot be a file's name.")
    arrangement = _arrange(names, config, store.uri)
    places = arrangement.places
    if config.version and all(place == name for place, name in places.items()):
        places = {name: name for name in names}  # other files, such as notes, are part of the version
    if config.side_by_side == "no":
        in_parallel(
            lambda place: store.get(places[place], folder / place), list(places), config.workers, store.uri
        )
    else:
        tree = folder / ".objects"
        in_parallel(
            lambda name: store.get(name, tree / name), list(places.values()), config.workers, store.uri
        )
        _cut_pairs(tree, arrangement, folder, config, store.uri)
        shutil.rmtree(tree)
    return Origin(store.uri, names=arrangement.names)


def _from_dvc(folder: Path, remote: str, config: FetchConfig) -> Origin:
    from cyclegan.data.fetch.dvc_remote import get_file, get_version

    if not config.version.endswith(".dir"):  # one file under DVC's control: an archive
        archive = folder / ".download"
        get_file(remote, config.version, archive, patience=_retry_policy(config))
        origin = _from_archive(folder, archive, config, where=f"{redact(remote)}: {config.version}")
        archive.unlink()
        return replace(origin, uri=redact(remote), rearranged="were unpacked")
    where = f"{redact(remote)}: version {config.version}"
    _refuse_sha256(config, where)
    tree = folder / ".version"
    tree.mkdir()
    names, exact = get_version(
        remote, config.version, tree, workers=config.workers, patience=_retry_policy(config)
    )
    arrangement = _arrange(names, config, where)
    places = arrangement.places
    if config.side_by_side != "no":
        _cut_pairs(tree, arrangement, folder, config, where)
        shutil.rmtree(tree)
        return Origin(redact(remote), rearranged="were cut in two")
    if any(place != name for place, name in places.items()) or SOURCE_FILE in names:
        why = "were rearranged"
    else:  # other files, such as notes, are part of what the version names
        places = {name: name for name in names}
        why = "" if exact else "have line ends that DVC 2 did not count"
        if not why and any(PurePosixPath(name).name in LITTER for name in names):
            why = "include what a file manager left there, which is not counted here"
    _move(tree, places, folder)
    return Origin(redact(remote), names=arrangement.names, rearranged=why)


def _from_archive(folder: Path, archive: Path, config: FetchConfig, where: str) -> Origin:
    from cyclegan.data.fetch.archives import Limits, unpack

    digest = sha256(archive)
    if config.sha256 and digest != config.sha256.lower():
        raise CycleGANError(f"{where} has the SHA-256 {digest}, not {config.sha256.lower()}.")
    tree = folder / ".unpacked"
    tree.mkdir()
    names = unpack(archive, tree, limits=Limits(max_bytes=config.max_bytes), where=where)
    arrangement = _arrange(names, config, where)
    if config.side_by_side != "no":
        _cut_pairs(tree, arrangement, folder, config, where)
        shutil.rmtree(tree)
    else:
        _move(tree, arrangement.places, folder)
    return Origin(where, digest, arrangement.names)


def _arrange(names: Sequence[str], config: FetchConfig, where: str) -> Arrangement:
    if config.side_by_side != "no":
        pairs = arrange_pairs(names, test_share=config.test_share, seed=config.seed, where=where)
        return Arrangement(pairs, {"A": "A", "B": "B"})
    return arrange(
        names,
        test_share=config.test_share,
        seed=config.seed,
        where=where,
        a_folder=config.a_folder,
        b_folder=config.b_folder,
    )


def _cut_pairs(tree: Path, pairs: Arrangement, folder: Path, config: FetchConfig, where: str) -> None:
    """Write both halves of each image as PNGs with one name, so that test pairs remain pairs."""
    from cyclegan.data.decode import open_image, to_rgb
    from cyclegan.data.errors import BadImage

    for place, name in pairs.places.items():
        subset, _, below = place.partition("/")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, of large images, damaged EXIF and the like
                image = to_rgb(open_image((tree / name).read_bytes()))
        except (BadImage, OSError) as error:
            raise CycleGANError(f"{where}: '{name}' cannot be cut in two: {error}.") from None
        middle = image.width // 2
        if image.width % 2 or not middle:
            raise CycleGANError(
                f"{where}: '{name}' is {image.width} pixels wide, not two halves of one width; "
                "does every image hold A and B side by side?"
            )
        halves = zip(config.side_by_side, (0, middle), strict=True)
        for side, left in halves:
            target = (folder / f"{subset}{side}" / below).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise UsageError(f"{where}: two images would both become {target.relative_to(folder)}.")
            image.crop((left, 0, left + middle, image.height)).save(target)


def _move(tree: Path, places: dict[str, str], folder: Path) -> None:
    for place, name in places.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).rename(folder / place)
    shutil.rmtree(tree)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise CycleGANError(f"Cannot copy {source} to {target.parent}: {error.strerror}.") from None
