"""Preprocess: validate, orient, resize and pack the images of a raw folder into arrays on the disk."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from itertools import islice
from pathlib import Path
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
from cyclegan.data.preprocess.left_out import check_share, kept_rows, orphans, readable, report
from cyclegan.data.preprocess.repeats import across_train_and_test, by_test_image
from cyclegan.data.preprocess.reuse import Row, change_manifest, former_rows, write_rows
from cyclegan.data.source import domain_names, read_origin
from cyclegan.data.version import SOURCE_FILE, file_md5s, version_of
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.fields import recorded
from cyclegan.io.files import atomic_dir, guard_folder
from cyclegan.pixel_kind import alike

if TYPE_CHECKING:
    from cyclegan.data.deep import Levels
    from cyclegan.data.preprocess.packing import Outcome, Raster

logger = logging.getLogger(__name__)


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
    guard_folder(out, "the packed images", (), mark=MANIFEST_FILE)
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
    if paired:
        logger.info(
            "Test images of A and B have the same names and count as pairs; "
            "if that is by chance, pass --pairs no."
        )
    with atomic_dir(out.resolve()) as folder:  # resolved: a link to a larger disk stays a link
        outcomes = _pack(raw, folder, files, size, config, former_of)
        refused = {
            f"{domain}/{name}": outcome.reason
            for domain in SUBSETS
            for name, outcome in zip(files[domain], outcomes[domain], strict=True)
            if outcome.reason
        }
        check_share(refused, sum(map(len, files.values())), config.max_bad_share, raw)
        if paired:
            refused |= orphans(files, refused)
        deep = _deep(outcomes, config)
        rasters = {domain: Raster(size, kind) for domain, kind in kinds.items()}
        duplicates = across_train_and_test(folder, files, outcomes, refused, rasters)
        if config.drop_test_duplicates:
            refused |= {d["train"]: f"{d['kind']} duplicate of {d['test']}" for d in duplicates}
        report(refused, duplicates, dropped=config.drop_test_duplicates)
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
            rejected=[{"file": readable(name), "reason": refused[name]} for name in sorted(refused)],
            duplicates=by_test_image(duplicates),
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
    with ExitStack() as stack, warnings.catch_warnings():  # here, since it is not for single threads
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF and the like that cost no pixel
        for domain in SUBSETS:
            npy, raster = folder / f"{domain}.npy", Raster(size, kinds[domain[-1]])
            create(npy, len(files[domain]), raster)
            file = stack.enter_context(FileIO(npy, "r+"))
            jobs += [
                Job(
                    path=str(raw / domain / name),
                    npy=file,
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
        return {domain: list(islice(outcomes, len(files[domain]))) for domain in SUBSETS}


def _note_rows(
    folder: Path,
    files: Mapping[str, Sequence[str]],
    outcomes: Mapping[str, Sequence[Outcome]],
    refused: Mapping[str, str],
    md5s: Mapping[str, str],
) -> None:
    kept = {subset: kept_rows(subset, files[subset], refused) for subset in SUBSETS}
    md5 = {
        subset: [md5s.get(f"{subset}/{files[subset][row]}", "") for row in rows]
        for subset, rows in kept.items()
    }
    deep = {
        subset: {i: deep for i, row in enumerate(rows) if (deep := outcomes[subset][row].deep)}
        for subset, rows in kept.items()
    }
    write_rows(folder, md5, deep)


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


def _keep(
    folder: Path, domain: str, names: Sequence[str], refused: Mapping[str, str], raster: Raster
) -> Subset:
    from cyclegan.data.preprocess.packing import keep_rows

    rows = kept_rows(domain, names, refused)
    if not rows:
        raise CycleGANError(f"No usable image is left in {domain}: see the reasons above.")
    if len(rows) < len(names):
        keep_rows(folder / f"{domain}.npy", rows, raster)
    return {"count": len(rows), "names": [readable(names[row]) for row in rows]}
