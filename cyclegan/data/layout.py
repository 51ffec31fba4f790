"""Which files of a tree are images of which domain, for all common layouts."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from cyclegan.errors import UsageError

logger = logging.getLogger(__name__)

SUBSETS = ("trainA", "trainB", "testA", "testB")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"}
    | {".heic", ".heif", ".ppm", ".pgm", ".pnm"}
)
MAX_DEPTH = 6

_ROLES = {
    "traina": "trainA",
    "trainb": "trainB",
    "testa": "testA",
    "testb": "testB",
    "a": "A",
    "b": "B",
    "domaina": "A",
    "domainb": "B",
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "vala": "valA",
    "valb": "valB",
    "validationa": "valA",
    "validationb": "valB",
}
# Files that hold images and are not images, and what to do about them
_HOLDERS = {
    ".parquet": "Hugging Face's parquet files: save their images into two folders",
    ".tfrec": "TFRecords: take the folders of images instead",
    ".tfrecord": "TFRecords: take the folders of images instead",
    ".zip": "archives inside: unpack them",
    ".tar": "archives inside: unpack them",
    ".cr2": "camera raw: develop it to TIFF or JPEG",
    ".nef": "camera raw: develop it to TIFF or JPEG",
    ".arw": "camera raw: develop it to TIFF or JPEG",
    ".dng": "camera raw: develop it to TIFF or JPEG",
    ".dcm": "DICOM: convert it to TIFF",
    ".nii": "NIfTI: convert its slices to TIFF",
    ".mp4": "video: extract its frames",
    ".npy": "arrays: save them as images",
}


def is_image(name: str) -> bool:
    """Whether a relative POSIX path is an image by its suffix and lies below nothing hidden."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    """Hidden files and folders, and what macOS leaves in archives (`._1.jpg`, `__MACOSX`)."""
    return any(part.startswith(".") or part.upper() == "__MACOSX" for part in name.split("/"))


def list_files(folder: Path) -> list[str]:
    """All files below `folder` as sorted relative POSIX paths; linked folders are followed, once."""
    names: list[str] = []
    seen = {folder.resolve()}
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            try:
                real = (Path(parent) / name).resolve()
            except (OSError, RuntimeError):  # a link that leads to itself
                continue
            if real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        below = "" if parent == str(folder) else f"{Path(parent).relative_to(folder).as_posix()}/"
        names += [f"{below}{file}" for file in files if not _loops(f"{parent}/{file}")]
    return sorted(names)


def _loops(path: str) -> bool:
    """Whether this is a link that leads to itself, which can be neither read nor named as missing."""
    if not os.path.islink(path):  # noqa: PTH114 - a Path of every file takes longer than reading it
        return False
    try:
        Path(path).stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def stem_key(name: str) -> str:
    """What names a picture in both domains: the path less its suffix and an `_A` or `_B` ending."""
    return re.sub(r"_[AB]$", "", posixpath.splitext(name)[0])


def are_pairs(names_a: Collection[str], names_b: Collection[str]) -> bool:
    """Whether two domains hold the same pictures by name, each once."""
    a, b = {stem_key(name) for name in names_a}, {stem_key(name) for name in names_b}
    return bool(a) and a == b and len(a) == len(names_a) and len(b) == len(names_b)


def split(names: Sequence[str], test_share: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide names into train and test, test being `test_share` of them and at least one.

    At least two out of ten or more, since with one test image no model can be evaluated.
    The choice depends on the seed and the stems alone, so two domains of the same stems are divided alike and
    test pairs remain pairs.
    """
    count = min(max(2 if len(names) >= 10 else 1, round(test_share * len(names))), len(names) - 1)

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{stem_key(name)}".encode("utf-8", "surrogateescape")).digest()

    test = set(sorted(names, key=draw)[: max(count, 0)])
    return [name for name in names if name not in test], sorted(test)


def _role(name: str) -> str | None:
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower())) if not re.search(r"\d", name) else None


def _is_split(name: str) -> bool:
    """Whether a folder's name says train or test, as `train2017` does, and not a domain."""
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower()), "") in {"train", "test", "val"}


def _domain_of(parts: tuple[str, ...]) -> tuple[str, int] | None:
    """The domain that a path's first folders name, and how many of them: ('trainA', 1), ('testB', 2), …"""
    first = _role(parts[0]) if parts else None
    if first in {"train", "test", "val"}:
        second = _role(parts[1]) if len(parts) > 1 else None
        return (first + second, 2) if second in {"A", "B"} else None
    return (first, 1) if first else None


def _kinds(names: Collection[str]) -> str:
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))


def _complete(domains: Collection[str]) -> bool:
    return {"trainA", "trainB"} <= set(domains) or {"A", "B"} <= set(domains)


Domains = dict[str, dict[str, str]]
"""{domain: {path below its folder: name}}; domains are trainA … valB, or A and B."""


@dataclass(frozen=True)
class Found:
    """The domains of a tree and what their folders call them."""

    domains: Domains
    names: dict[str, str]


def find_domains(names: Collection[str], where: str, *, a_folder: str = "", b_folder: str = "") -> Found:
    """The images of each domain, from the topmost folder that has both.

    `a_folder` and `b_folder` are patterns of the domains' folders (`*` for any part of a path, in any case);
    without them the folders are `trainA trainB`, `train/A train/B`, `A B`, two folders of any names in train,
    or two folders in all. Raises UsageError, naming `where`, as `arrange` does.
    """
    images = sorted(filter(is_image, names))
    if a_folder:
        return _by_pattern(images, {"A": a_folder, "B": b_folder}, where)
    found = _by_role(images, where) or _by_two_folders(images, where)
    if not found:
        raise UsageError(f"{where} {_nothing_found(names, images)}")
    return found


def _add(domains: Domains, domain: str, below: str, name: str, where: str) -> None:
    former = domains.setdefault(domain, {}).setdefault(below, name)
    if former != name:
        raise UsageError(f"{where}: '{former}' and '{name}' would both become {domain}/{below}.")


def _by_role(images: Sequence[str], where: str) -> Found | None:
    for depth in range(MAX_DEPTH):
        found: dict[tuple[str, ...], Domains] = {}
        for name in images:
            parts = PurePosixPath(name).parts
            if len(parts) <= depth + 1 or not (domain := _domain_of(parts[depth:-1])):
                continue
            below = "/".join(parts[depth + domain[1] :])
            _add(found.setdefault(parts[:depth], {}), domain[0], below, name, where)
        complete = [base for base, domains in found.items() if _complete(domains)]
        if len(complete) > 1:
            both = " and ".join(f"'{'/'.join(base)}'" for base in sorted(complete)[:2])
            raise UsageError(f"{where} holds more than one dataset, {both}: pass the folder of one of them.")
        if complete:
            return Found(found[complete[0]], {"A": "A", "B": "B"})
    return None


def _by_two_folders(images: Sequence[str], where: str) -> Found | None:
    """Domains by name, A the first alphabetically: `train/horse train/zebra`, or `monet_jpg photo_jpg`."""
    for depth in range(MAX_DEPTH):
        inside = [parts for name in images if len(parts := PurePosixPath(name).parts) > depth + 1]
        if len(inside) < len(images) or len({parts[:depth] for parts in inside}) != 1:
            return None  # images beside the folders, or several datasets
        folders = sorted({parts[depth] for parts in inside})
        if len(folders) == 1:
            continue
        splits = [folder for folder in folders if _is_split(folder)]
        domains: Domains = {}
        if splits == folders:
            if any(len(parts) <= depth + 2 for parts in inside):
                return None
            sides = sorted({parts[depth + 1] for parts in inside})
            train = {parts[depth + 1] for parts in inside if _role(parts[depth]) == "train"}
            if len(sides) != 2 or set(sides) != train:
                return None
            skip = 2
        elif len(folders) == 2 and not splits:
            sides, skip = folders, 1
        else:
            return None
        for parts in inside:
            side = "AB"[sides.index(parts[depth + skip - 1])]
            split = _role(parts[depth]) if skip == 2 else ""
            _add(domains, f"{split}{side}", "/".join(parts[depth + skip :]), "/".join(parts), where)
        return Found(domains, dict(zip("AB", map(_plain, sides), strict=True)))
    return None


def _by_pattern(images: Sequence[str], patterns: dict[str, str], where: str) -> Found:
    domains: Domains = {}
    found: dict[str, str] = {}
    for name in images:
        parts = PurePosixPath(name).parts
        for side, pattern in patterns.items():
            place = next((i for i in range(1, len(parts)) if _matches(parts[:i], pattern)), 0)
            if not place:
                continue
            others = (*parts[: place - 1], *parts[place:-1])
            tested = {role for part in others if (role := _role(part)) in {"test", "val"}}
            kind = _role(parts[place - 1]) or ""
            split = "test" if "test" in tested or kind.startswith("test") else "val" if tested else "train"
            below = "/".join(part for part in parts[place:] if not _is_split(part))
            _add(domains, f"{split}{side}", below, name, where)
            found.setdefault(side, _plain(parts[place - 1]))
            break
    for side, pattern in patterns.items():
        if f"train{side}" not in domains:
            raise UsageError(
                f"{where} has no images to train on in a folder that matches '{pattern}'; {_folders(images)}."
            )
    return Found(domains, found)


def _matches(parts: tuple[str, ...], pattern: str) -> bool:
    pattern = pattern.strip("/").lower()
    path = "/".join(parts).lower()
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


def _plain(folder: str) -> str:
    """A folder's name as the name of a domain: `monet_jpg` is monet."""
    return re.sub(r"[_-](jpe?g|png|images?)$", "", folder, flags=re.IGNORECASE) or folder


def _folders(images: Sequence[str]) -> str:
    """Where the images are, in words."""
    folders = Counter(PurePosixPath(name).parent.as_posix() for name in images)
    shown = ", ".join(f"{'.' if folder == '.' else folder}/ ({n})" for folder, n in folders.most_common(6))
    return f"its images are in {shown}{' …' if len(folders) > 6 else ''}" if images else "it has no images"


def _nothing_found(names: Collection[str], images: Sequence[str]) -> str:
    if not images:
        kinds = {PurePosixPath(name).suffix.lower() for name in names if not _is_hidden(name)}
        hints = "; ".join(dict.fromkeys(hint for suffix, hint in _HOLDERS.items() if suffix in kinds))
        what = f"holds no images; it has {_kinds(names) or 'no files'}"
        return f"{what} ({hints})." if hints else f"{what}."
    if len({PurePosixPath(name).parent for name in images}) == 1:
        return (
            f"has no folders trainA and trainB (or A and B) of images; {_folders(images)}: if each is "
            "a pair side by side, pass --side-by-side AB; if the other domain is elsewhere, pass --a and --b."
        )
    return (
        f"has no folders trainA and trainB (or A and B) of images; {_folders(images)}: tell the domains' "
        "folders with --a-folder and --b-folder."
    )


@dataclass(frozen=True)
class Arrangement:
    """Where every image goes, {place: name} with places like 'trainA/sub/1.jpg', and the domains' names."""

    places: dict[str, str]
    names: dict[str, str]


def arrange(
    names: Collection[str],
    *,
    test_share: float,
    seed: int,
    where: str,
    a_folder: str = "",
    b_folder: str = "",
) -> Arrangement:
    """Find the domains in a tree of relative POSIX paths and give every image its place.

    The layouts are those of `find_domains`, at any depth and in any case. Validation images become the test
    set where there is no other; where there is neither, `test_share` of each domain does. Raises UsageError,
    naming `where` and the folders found, when there is no such layout or more than one.
    """
    found = find_domains(names, where, a_folder=a_folder, b_folder=b_folder)
    domains = found.domains
    places: dict[str, str] = {}
    for side in "AB":
        train = domains.get(f"train{side}", domains.get(side, {}))
        test = domains.get(f"test{side}", {})
        if not test and (test := domains.get(f"val{side}", {})):
            logger.info("%s: the %d validation images of %s become test%s", where, len(test), side, side)
        if not test:
            if len(train) < 2:
                raise UsageError(
                    f"{where}: domain {side} has only {len(train)} image; at least 2 are needed."
                )
            kept, taken = split(sorted(train), test_share, seed)
            logger.info("%s has no test%s: holding out %d of %d images", where, side, len(taken), len(train))
            train, test = {below: train[below] for below in kept}, {below: train[below] for below in taken}
        places |= {f"train{side}/{below}": name for below, name in train.items()}
        places |= {f"test{side}/{below}": name for below, name in test.items()}
    if found.names != {"A": "A", "B": "B"}:
        logger.info("%s: A is %s, B is %s", where, found.names["A"], found.names["B"])
    if left_out := _left_out(set(names) - set(places.values())):
        logger.info("%s: ignored: %s", where, left_out)
    return Arrangement(places, found.names)


def _left_out(names: Collection[str]) -> str:
    """What was not taken, by folder and reason."""
    hidden = sum(map(_is_hidden, names))
    folders = Counter(PurePosixPath(name).parent.as_posix() for name in names if is_image(name))
    others = [name for name in names if not is_image(name) and not _is_hidden(name)]
    parts = [f"{count} images in {folder}/" for folder, count in folders.most_common(5)]
    parts += [_kinds(others)] if others else []
    parts += [f"{hidden} hidden files"] if hidden else []
    return ", ".join(parts)


def arrange_pairs(names: Collection[str], *, test_share: float, seed: int, where: str) -> dict[str, str]:
    """Place images that show A and B side by side: {'train/1.jpg' or 'test/1.jpg': name}.

    Folders train, val and test count as such; without test (or val) a share is held out. Raises UsageError if
    there are fewer than 2 images, or two of one place.
    """
    images = sorted(filter(is_image, names))
    found: Domains = {}
    for name in images:
        parts = PurePosixPath(name).parts
        roles = [role for part in parts[:-1] if (role := _role(part)) in {"train", "test", "val"}]
        below = "/".join(part for part in parts if _role(part) not in {"train", "test", "val"})
        _add(found, roles[0] if roles else "train", below, name, where)
    train, test = found.get("train", {}), found.get("test", found.get("val", {}))
    if not test and len(train) > 1:
        kept, taken = split(sorted(train), test_share, seed)
        train, test = {below: train[below] for below in kept}, {below: train[below] for below in taken}
    if not train or not test:
        raise UsageError(f"{where} has {len(images)} images side by side; at least 2 are needed.")
    return {f"train/{below}": n for below, n in train.items()} | {f"test/{b}": n for b, n in test.items()}
