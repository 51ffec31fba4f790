"""A prepared folder: its arrays, the manifest that describes them, and a note of where they came from.

The manifest depends on the images, the parameters and the code alone, so that one data version gives the same
bytes on every machine. Where the images came from differs from one machine to the next; it is in
`provenance.json`, which is not part of the folder's version (`.dvcignore` names it).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from cyclegan.data.layout.files import SUBSETS
from cyclegan.data.source import FORMAT, Names, domain_names, read_origin
from cyclegan.errors import UsageError
from cyclegan.io.files import read_json, refuse_newer, write_json
from cyclegan.io.uri import data_name
from cyclegan.pixel_kind import Bits, PixelKind, all_rgb, can_be_channels

MANIFEST_FILE = "manifest.json"
PROVENANCE_FILE = "provenance.json"


class Subset(TypedDict):
    """One packed array: number of images and their file names, in the order of the rows."""

    count: int
    names: list[str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds; the fields of its manifest.json."""

    format: int = FORMAT
    """Of manifest.json and the arrays."""
    version: str
    """DVC's MD5 of the raw folder, '<32 hex>.dir'."""
    paired: bool
    """Whether row i of testA and row i of testB show the same."""
    height: int
    width: int
    domains: dict[str, Subset]
    """By subset: trainA, trainB, testA, testB."""
    names: Names = field(default_factory=dict)
    """What preprocess was told to call the domains; empty, and not written, where it was not."""
    rejected: list[dict[str, str]] = field(default_factory=list)
    """{"file", "reason"} of every image left out."""
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    """{"test", "exact", "near", "train"} of each test image that train images repeat: how many do, exactly
    and nearly, and the names of the first few."""
    config: dict[str, Any] = field(default_factory=dict)
    filter: str = ""
    """How images were resized."""
    decoding: str = ""
    """How files became pixels: the number of the rules and what they are."""
    channels: dict[str, int] = field(default_factory=lambda: {"A": 3, "B": 3})
    """By domain; not written, nor are `bits`, where all is RGB of 8 bits."""
    bits: Bits = 8
    """Of a channel: uint8 or uint16."""
    deep: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of each subset with images of more than 8 bits a channel: how many, their lowest and largest value, and
    the largest that their files declare."""

    @property
    def kinds(self) -> dict[str, PixelKind]:
        """Channels and bits of the images of A and B."""
        return {domain: PixelKind(channels, self.bits) for domain, channels in self.channels.items()}


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, opened and checked once: what training and evaluation read images from."""

    folder: Path
    manifest: Manifest
    uri: str = ""
    """Where the raw images came from, without credentials; empty if unknown."""
    names: Names = field(default_factory=lambda: {"A": "A", "B": "B"})
    """What domain A and B are called."""

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Open the folder that preprocess wrote.

        Raises UsageError, naming the file, if the manifest is missing, damaged or of a newer format, or if an
        array does not have the dtype, the shape and the length that the manifest says.
        """
        manifest = _read_manifest(folder)
        for subset in SUBSETS:
            _check_array(folder / f"{subset}.npy", manifest, subset)
        uri, found = read_origin(folder / PROVENANCE_FILE)  # missing after `dvc pull`
        return cls(folder, manifest, uri, domain_names(manifest.names, found))

    def array(self, subset: str) -> NDArray[Any]:
        """The images of 'trainA' … 'testB', N×H×W×C of `kinds`, mapped into memory; writes stay in memory."""
        return cast("NDArray[Any]", np.load(self.folder / f"{subset}.npy", mmap_mode="c"))

    @property
    def kinds(self) -> dict[str, PixelKind]:
        """Channels and bits of the images of A and B."""
        return self.manifest.kinds

    def count(self, subset: str) -> int:
        """The number of images of 'trainA' … 'testB'."""
        return self.manifest.domains[subset]["count"]

    @property
    def title(self) -> str:
        """What people call the dataset: 'horses → zebras', or the last part of its URI."""
        a, b = self.names["A"], self.names["B"]
        return data_name(self.uri) if (a, b) == ("A", "B") else f"{a} → {b}"

    @property
    def version(self) -> str:
        """The data version of the raw folder."""
        return self.manifest.version

    @property
    def paired(self) -> bool:
        """Whether row i of testA and row i of testB show the same."""
        return self.manifest.paired

    @property
    def height(self) -> int:
        """Of every image, in pixels."""
        return self.manifest.height

    @property
    def width(self) -> int:
        """Of every image, in pixels."""
        return self.manifest.width

    @property
    def domains(self) -> dict[str, Subset]:
        """Count and file names of trainA, trainB, testA and testB."""
        return self.manifest.domains


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into a prepared folder."""
    values = asdict(manifest)
    if not manifest.names:
        del values["names"]
    if all_rgb(manifest.kinds):
        del values["channels"], values["bits"]
    write_json(folder / MANIFEST_FILE, values)


def write_provenance(folder: Path, uri: str, names: Names) -> None:
    """Note where the images of a prepared folder came from, outside what its version covers."""
    write_json(folder / PROVENANCE_FILE, {"format": FORMAT, "uri": uri, "names": names})


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a prepared folder (no {MANIFEST_FILE}): run `cyclegan preprocess` first."
        )
    from pydantic import TypeAdapter  # takes 0.15 s, which a first preprocess can do without

    try:
        refuse_newer(read_json(path), FORMAT, str(path))
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError, RecursionError):
        raise UsageError(f"{path} is damaged: run `cyclegan preprocess` again.") from None
    subsets = [manifest.domains.get(subset, {"count": 0, "names": []}) for subset in SUBSETS]
    if min(manifest.height, manifest.width, *(subset["count"] for subset in subsets)) < 1:
        raise UsageError(
            f"{path} does not describe at least one image in each of {', '.join(SUBSETS)}: "
            "run `cyclegan preprocess` again."
        )
    channels = manifest.channels
    if set(channels) != {"A", "B"} or not all(map(can_be_channels, channels.values())):
        raise UsageError(f"{path} does not give the channels of A and B: run `cyclegan preprocess` again.")
    if any(len(subset["names"]) != subset["count"] for subset in subsets):
        raise UsageError(f"{path} does not name every image: run `cyclegan preprocess` again.")
    return manifest


def _check_array(path: Path, manifest: Manifest, subset: str) -> None:
    again = "run `cyclegan preprocess` again"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # the header is Python text, read by tokenizer, parser and numpy: each has its errors
        raise UsageError(f"{path} is missing or is not a whole .npy array: {again}.") from None
    count = manifest.domains[subset]["count"]
    kind = manifest.kinds[subset[-1]]
    wanted = (count, manifest.height, manifest.width, kind.channels)
    if getattr(array, "dtype", None) == np.dtype(kind.dtype) and array.shape == wanted:
        if array.flags.c_contiguous and path.stat().st_size == array.offset + array.nbytes:
            return
        raise UsageError(f"{path} holds pixels in another order, or more than its header says: {again}.")
    found = f"{getattr(array, 'dtype', type(array).__name__)} {'×'.join(map(str, array.shape))}"
    raise UsageError(
        f"{path} holds {found[:80]} and {MANIFEST_FILE} says {kind.dtype} {'×'.join(map(str, wanted))}: "
        f"{again}."
    )
