"""Which images of a tree are of which domain, by the names of their folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from cyclegan.data.layout.files import count_suffixes, is_hidden, is_image
from cyclegan.errors import UsageError

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
    ".tfrec": "TFRecords: use folders of images instead",
    ".tfrecord": "TFRecords: use folders of images instead",
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


def role_of(name: str) -> str | None:
    """What a folder's name says: train, test, val, A, B, or both at once (trainA … valB); None for others."""
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower())) if not re.search(r"\d", name) else None


def _is_split(name: str) -> bool:
    """Whether a folder's name says train or test, as `train2017` does, and not a domain."""
    return _ROLES.get(re.sub(r"[^a-z]", "", name.lower()), "") in {"train", "test", "val"}


def _domain_of(parts: tuple[str, ...]) -> tuple[str, int] | None:
    """The domain that a path's first folders name, and how many of them: ('trainA', 1), ('testB', 2), …"""
    first = role_of(parts[0]) if parts else None
    if first in {"train", "test", "val"}:
        second = role_of(parts[1]) if len(parts) > 1 else None
        return (first + second, 2) if second in {"A", "B"} else None
    return (first, 1) if first else None


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
    or two folders in all; folders train, test and val inside `A B` or inside two folders count too. Raises
    UsageError, naming `where`, as `arrange` does.
    """
    images = sorted(filter(is_image, names))
    if a_folder:
        return _by_pattern(images, {"A": a_folder, "B": b_folder}, where)
    found = _by_role(images, where) or _by_two_folders(images, where)
    if not found:
        raise UsageError(f"{where} {_nothing_found(names, images)}")
    return Found(_with_splits(found.domains, where), found.names)


def _with_splits(domains: Domains, where: str) -> Domains:
    """Domains A and B by the folders train, test and val inside them, where all images of one are in such."""
    if domains.keys() != {"A", "B"}:
        return domains
    divided: Domains = {}
    for side, names in domains.items():
        splits = {below: _split_inside(below) for below in names}
        roles = {role for role, _ in splits.values()}
        if "" in roles or "train" not in roles:
            continue
        for below, (role, rest) in splits.items():
            add_image(divided, f"{role}{side}", rest, names[below], where)
    if not divided:
        return domains
    return {f"train{side}": names for side, names in domains.items()} | divided


def _split_inside(below: str) -> tuple[str, str]:
    """The first of a path's folders that is train, test or val ('' for none), and the path without it."""
    *folders, name = PurePosixPath(below).parts
    for i, folder in enumerate(folders):
        if (role := role_of(folder)) in {"train", "test", "val"}:
            return role, "/".join([*folders[:i], *folders[i + 1 :], name])
    return "", below


def add_image(domains: Domains, domain: str, below: str, name: str, where: str) -> None:
    """Note `name` as the image `below` of `domain`; UsageError, naming `where`, if another one is there."""
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
            add_image(found.setdefault(parts[:depth], {}), domain[0], below, name, where)
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
            train = {parts[depth + 1] for parts in inside if role_of(parts[depth]) == "train"}
            if len(sides) != 2 or set(sides) != train:
                return None
            skip = 2
        elif len(folders) == 2 and not splits:
            sides, skip = folders, 1
        else:
            return None
        for parts in inside:
            side = "AB"[sides.index(parts[depth + skip - 1])]
            split = role_of(parts[depth]) if skip == 2 else ""
            add_image(domains, f"{split}{side}", "/".join(parts[depth + skip :]), "/".join(parts), where)
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
            tested = {role for part in others if (role := role_of(part)) in {"test", "val"}}
            kind = role_of(parts[place - 1]) or ""
            split = "test" if "test" in tested or kind.startswith("test") else "val" if tested else "train"
            below = "/".join(part for part in parts[place:] if not _is_split(part))
            add_image(domains, f"{split}{side}", below, name, where)
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
        kinds = {PurePosixPath(name).suffix.lower() for name in names if not is_hidden(name)}
        hints = "; ".join(dict.fromkeys(hint for suffix, hint in _HOLDERS.items() if suffix in kinds))
        what = f"holds no images; it has {count_suffixes(names) or 'no files'}"
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
