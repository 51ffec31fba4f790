"""Preprocess: validate, orient, resize and pack the images of a raw folder into arrays on the disk."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.layout.files import SUBSETS, is_image, list_files
from cyclegan.data.layout.pairs import are_pairs, stem_key
from cyclegan.data.prepared import (
    MANIFEST_FILE,
    Manifest,
    Prepared,
    Subset,
    write_manifest,
    write_provenance,
)
from cyclegan.data.preprocess.reuse import Row, change_manifest, former_rows, write_rows
from cyclegan.data.source import domain_names, read_origin
from cyclegan.data.version import SOURCE_FILE, file_md5s, version_of
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.fields import recorded
from cyclegan.io.files import atomic_dir
from cyclegan.pixel_kind import alike

if TYPE_CHECKING:
    from cyclegan.data.deep import Levels
    from cyclegan.data.preprocess.packing import Outcome, Raster

logger = logging.getLogger(__name__)

EXAMPLES = 3  # train images named in the manifest for each test image that they repeat


def preprocess(raw: Path, out: Path, config: PreprocessConfig) -> Prepared:
    """Pack the images of `raw` (trainA trainB testA testB) into `out`.

    Writes trainA.npy … testB.npy, uint8 N×H×W×3 or as `channels` and `bits` say, and manifest.json; the
    same images and settings give the same bytes on any machine, whatever the number of workers. Where the
    images came from is noted separately, in provenance.json. Rows are ordered by file stem; where test A and
    B are pairs, row i of one is the truth of row i of the other. Does nothing when `out` already holds this
    result.
    Raises UsageError for a raw folder without the four domains, and CycleGANError when too many images are
    bad or the disk is full.
    """
    from cyclegan.data.decode import FILTER
    from cyclegan.data.preprocess.packing import Raster

    decoding = _decoding(config)
    files = _find_images(raw)
    _guard(out)
    md5s = {} if config.version else file_md5s(raw)
    version = config.version or version_of(md5s)
    settings = recorded(config)
    uri, found = read_origin(raw / SOURCE_FILE)
    names = domain_names(config.domain_names, found)
    if (former := _former_result(out, version, settings, (FILTER, decoding))) is not None:
        logger.info("%s already holds this version with these settings", out)
        manifest = dataclasses.replace(former.manifest, names=config.domain_names)
        if manifest != former.manifest:
            change_manifest(out, manifest)
        if (former.uri, former.names) != (uri, names):
            write_provenance(out, uri, names)
        return Prepared(out, manifest, uri, names)
    size = config.size() or _own_size(raw, files, config)
    packed = former_rows(out, settings, (FILTER, decoding), size) if md5s else {}
    kinds = config.kinds()
    former_of = {
        name: row
        for name, md5 in md5s.items()
        for domain in ("AB" if alike(kinds) else name.partition("/")[0][-1:])
        if (row := packed.get((domain, md5)))
    }
    if former_of:
        logger.info("%d images are packed in %s already", len(former_of), out)
    paired = config.pairs == "auto" and are_pairs(files["testA"], files["testB"])
    with atomic_dir(out.resolve()) as folder:  # resolved: a link to a larger disk stays a link
        outcomes = _pack(raw, folder, files, size, config, former_of)
        refused = {
            f"{domain}/{name}": outcome.reason
            for domain in SUBSETS
            for name, outcome in zip(files[domain], outcomes[domain], strict=True)
            if outcome.reason
        }
        _check_share(refused, sum(map(len, files.values())), config.max_bad_share, raw)
        if paired:
            refused |= _orphans(files, refused)
        deep = _deep(outcomes, config)
        rasters = {domain: Raster(size, kind) for domain, kind in kinds.items()}
        duplicates = _across_train_and_test(folder, files, outcomes, refused, rasters)
        if config.drop_test_duplicates:
            refused |= {d["train"]: f"{d['kind']} duplicate of {d['test']}" for d in duplicates}
        _report(refused, duplicates, dropped=config.drop_test_duplicates)
        domains: dict[str, Subset] = {}
        for domain in SUBSETS:
            domains[domain] = _keep(folder, domain, files[domain], refused, rasters[domain[-1]])
        manifest = Manifest(
            version=version,
            paired=paired,
            height=size[0],
            width=size[1],
            domains=domains,
            names=config.domain_names,
            rejected=[{"file": _readable(name), "reason": refused[name]} for name in sorted(refused)],
            duplicates=_groups(duplicates),
            config=settings,
            filter=FILTER,
            decoding=decoding,
            deep=deep,
            channels={domain: kind.channels for domain, kind in kinds.items()},
            bits=16 if config.bits == 16 else 8,
        )
        write_manifest(folder, manifest)
        if md5s:
            _note_rows(folder, files, outcomes, refused, md5s)
        write_provenance(folder, uri, names)
    logger.info("%s: %s", out, ", ".join(f"{domain} {domains[domain]['count']}" for domain in SUBSETS))
    return Prepared(out, manifest, uri, names)


def _decoding(config: PreprocessConfig) -> str:
    """By which rules files become pixels."""
    from cyclegan.data.channels.read import RULES as AS_THEY_ARE
    from cyclegan.data.decode import RULES

    used = {RULES if kind.is_rgb else AS_THEY_ARE for kind in config.kinds().values()}
    return "; ".join(sorted(used))


def _levels(config: PreprocessConfig) -> Levels:
    from cyclegan.data.deep import Levels

    return Levels(black=config.black, white=config.white, percentile=config.percentile)


def _find_images(raw: Path) -> dict[str, list[str]]:
    """The image files of each domain, ordered by stem."""
    if not raw.is_dir():
        raise UsageError(f"There is no folder {raw}: `cyclegan fetch` makes one.")
    files = {}
    for domain in SUBSETS:
        if not (raw / domain).is_dir():
            hint = f"`cyclegan fetch {raw} --out …` arranges other layouts and divides train from test"
            raise UsageError(f"{raw} has no folder {domain}; {hint}.")
        names = list_files(raw / domain)
        files[domain] = sorted(filter(is_image, names), key=lambda name: (stem_key(name), name))
        if not files[domain]:
            raise UsageError(f"{raw / domain} holds no images ({len(names)} other files).")
        if len(files[domain]) < len(names):
            logger.info(
                "%s: ignored %d files that are not images", raw / domain, len(names) - len(files[domain])
            )
    return files


def _guard(out: Path) -> None:
    """Refuse to replace a folder that preprocess did not write."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: pass a folder to write to.")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise UsageError(f"{out} holds other files and would be replaced: pass an empty or a new folder.")


def _former_result(
    out: Path, version: str, settings: Mapping[str, Any], method: tuple[str, str]
) -> Prepared | None:
    try:
        former = Prepared.open(out)
    except UsageError:
        return None
    manifest = former.manifest
    found = (manifest.version, manifest.config, (manifest.filter, manifest.decoding))
    return former if found == (version, settings, method) else None


def _own_size(raw: Path, files: Mapping[str, Sequence[str]], config: PreprocessConfig) -> tuple[int, int]:
    from cyclegan.data.preprocess.packing import own_size

    kinds = config.kinds()
    paths = ((str(raw / subset / name), kinds[subset[-1]]) for subset in SUBSETS for name in files[subset])
    size = own_size(paths, config, _levels(config))
    if size is None:
        raise CycleGANError(f"No image in {raw} can be read.")
    logger.info("The images keep the size of the first: %dx%d.", size[1], size[0])
    return size


def _pack(
    raw: Path,
    folder: Path,
    files: Mapping[str, Sequence[str]],
    size: tuple[int, int],
    config: PreprocessConfig,
    former: Mapping[str, Row],
) -> dict[str, list[Outcome]]:
    from cyclegan.data.preprocess.packing import Job, Raster, create, pack_image
    from cyclegan.data.preprocess.workers import for_each

    levels, kinds = _levels(config), config.kinds()
    jobs = []
    for domain in SUBSETS:
        npy, raster = folder / f"{domain}.npy", Raster(size, kinds[domain[-1]])
        create(npy, len(files[domain]), raster)
        jobs += [
            Job(
                path=str(raw / domain / name),
                npy=str(npy),
                row=row,
                raster=raster,
                aspect=config.aspect,
                min_size=config.min_size,
                max_pixels=config.max_pixels,
                levels=levels,
                former=former.get(f"{domain}/{name}"),
            )
            for row, name in enumerate(files[domain])
        ]
    outcomes = for_each(pack_image, jobs, config.workers, "preprocess")
    with warnings.catch_warnings():  # here, since it is not for single threads
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF and the like that cost no pixel
        return {domain: list(islice(outcomes, len(files[domain]))) for domain in SUBSETS}


def _note_rows(
    folder: Path,
    files: Mapping[str, Sequence[str]],
    outcomes: Mapping[str, Sequence[Outcome]],
    refused: Mapping[str, str],
    md5s: Mapping[str, str],
) -> None:
    kept = {subset: _kept_rows(subset, files[subset], refused) for subset in SUBSETS}
    md5 = {
        subset: [md5s.get(f"{subset}/{files[subset][row]}", "") for row in rows]
        for subset, rows in kept.items()
    }
    deep = {
        subset: {i: deep for i, row in enumerate(rows) if (deep := outcomes[subset][row].deep)}
        for subset, rows in kept.items()
    }
    write_rows(folder, md5, deep)


def _kept_rows(subset: str, names: Sequence[str], refused: Mapping[str, str]) -> list[int]:
    """The rows, as packed first, of the images that were not refused."""
    return [row for row, name in enumerate(names) if f"{subset}/{name}" not in refused]


def _deep(outcomes: Mapping[str, Sequence[Outcome]], config: PreprocessConfig) -> dict[str, dict[str, float]]:
    """What the images of more than 8 bits hold; warns where their files' type says little of it."""
    from cyclegan.data.deep import dark

    found = {}
    for subset, results in outcomes.items():
        deep = [outcome.deep for outcome in results if outcome.deep]
        if not deep:
            continue
        largest, scale = max(high for _, high, _ in deep), max(top for _, _, top in deep)
        lowest = min(low for low, _, _ in deep)
        found[subset] = {"images": len(deep), "lowest": lowest, "largest": largest, "scale": scale}
        if not (config.white or config.percentile) and (hint := dark(largest, scale)):
            logger.warning("%s: %s", subset, hint)
    return found


def _check_share(refused: Mapping[str, str], total: int, limit: float, raw: Path) -> None:
    if len(refused) > limit * total:
        reasons = Counter((PurePosixPath(name).suffix.lower(), reason) for name, reason in refused.items())
        first = dict.fromkeys(reasons, "")
        for name, reason in reversed(list(refused.items())):
            first[PurePosixPath(name).suffix.lower(), reason] = name
        kinds = [
            f"{_readable(first[kind])}: {kind[1]}"
            if count == 1
            else f"{count} {kind[0]} files ({_readable(first[kind])} …): {kind[1]}"
            for kind, count in reasons.most_common(3)
        ]
        raise CycleGANError(
            f"{len(refused)} of {total} images in {raw} are bad, more than max_bad_share = {limit:g}: "
            f"{'; '.join(kinds)}{' …' if len(reasons) > 3 else ''}."
        )


def _orphans(files: Mapping[str, Sequence[str]], refused: Mapping[str, str]) -> dict[str, str]:
    """Test images whose other half was refused: without them row i would no longer meet row i."""
    orphans = {}
    for name_a, name_b in zip(files["testA"], files["testB"], strict=True):
        a, b = f"testA/{name_a}", f"testB/{name_b}"
        if (a in refused) != (b in refused):
            orphans[b if a in refused else a] = f"its pair {_readable(a if a in refused else b)} was left out"
    return orphans


def _across_train_and_test(
    folder: Path,
    files: Mapping[str, Sequence[str]],
    outcomes: Mapping[str, Sequence[Outcome]],
    refused: Mapping[str, str],
    rasters: Mapping[str, Raster],
) -> list[dict[str, str]]:
    """Train images that show what a test image of the same domain shows, from the arrays as packed first."""
    import numpy as np

    from cyclegan.data.duplicates import SIDE, find_pairs
    from cyclegan.data.preprocess.packing import row_digest

    found = []
    for side in "AB":
        subsets = (f"train{side}", f"test{side}")
        kept = {subset: _kept_rows(subset, files[subset], refused) for subset in subsets}
        small = {subset: [outcomes[subset][row].thumbnail for row in rows] for subset, rows in kept.items()}
        both = set.intersection(*map(set, small.values()))
        sets = []
        for subset, rows in kept.items():
            npy = folder / f"{subset}.npy"
            # whole images are compared only where their thumbnails agree
            digests = [
                row_digest(npy, row, rasters[side]) if thumbnail in both else thumbnail
                for row, thumbnail in zip(rows, small[subset], strict=True)
            ]
            thumbnails = np.frombuffer(b"".join(small[subset]), np.uint8).reshape(-1, SIDE, SIDE, 3)
            sets.append(([f"{subset}/{files[subset][row]}" for row in rows], digests, thumbnails))
        (train, train_digests, train_small), (test, test_digests, test_small) = sets
        for pair in find_pairs(train_small, train_digests, test_small, test_digests):
            kind = "exact" if pair.exact else "near"
            found.append({"train": train[pair.first], "test": test[pair.second], "kind": kind})
    return found


def _groups(duplicates: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """By test image: how many train images show the same, exactly and nearly, and the first of them."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for duplicate in duplicates:
        groups.setdefault(duplicate["test"], []).append(duplicate)
    return [
        {
            "test": _readable(test),
            "exact": sum(found["kind"] == "exact" for found in group),
            "near": sum(found["kind"] == "near" for found in group),
            "train": [_readable(found["train"]) for found in group[:EXAMPLES]],
        }
        for test, group in sorted(groups.items())
    ]


def _report(refused: Mapping[str, str], duplicates: Sequence[Mapping[str, str]], *, dropped: bool) -> None:
    for name, reason in list(refused.items())[:20]:
        logger.info("left out: %s: %s", _readable(name), reason)
    if len(refused) > 20:
        logger.info("left out: %d more, all in %s", len(refused) - 20, MANIFEST_FILE)
    if duplicates and not dropped:
        first = ", ".join(f"{_readable(d['train'])} = {_readable(d['test'])}" for d in duplicates[:3])
        logger.warning(
            "%d train images are in the test set too (%s%s) and flatter the scores: see drop_test_duplicates",
            len({d["train"] for d in duplicates}),
            first,
            " …" if len(duplicates) > 3 else "",
        )


def _keep(
    folder: Path, domain: str, names: Sequence[str], refused: Mapping[str, str], raster: Raster
) -> Subset:
    from cyclegan.data.preprocess.packing import keep_rows

    rows = _kept_rows(domain, names, refused)
    if not rows:
        raise CycleGANError(f"No usable image is left in {domain}: see the reasons above.")
    if len(rows) < len(names):
        keep_rows(folder / f"{domain}.npy", rows, raster)
    return {"count": len(rows), "names": [_readable(names[row]) for row in rows]}


def _readable(name: str) -> str:
    """A file name as text that can be written as UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
