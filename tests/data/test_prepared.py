"""A prepared folder is opened and checked once; whatever does not fit is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cyclegan.data.layout.files import SUBSETS
from cyclegan.data.prepared import Prepared
from cyclegan.data.source import read_origin
from cyclegan.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for count, subset in enumerate(SUBSETS, 1):
        np.save(tmp_path / f"{subset}.npy", np.full((count, 6, 5, 3), count, np.uint8))
    domains = {
        subset: {"count": count, "names": [f"{i}.png" for i in range(count)]}
        for count, subset in enumerate(SUBSETS, 1)
    }
    manifest = {"format": 1, "version": "v", "paired": False, "height": 6, "width": 5, "domains": domains}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def change(folder: Path, edit: Callable[[Any], object]) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    edit(values)
    (folder / "manifest.json").write_text(json.dumps(values))


def test_arrays_and_names(folder: Path) -> None:
    prepared = Prepared.open(folder)
    assert (prepared.height, prepared.width, prepared.version, prepared.paired) == (6, 5, "v", False)
    assert [prepared.count(subset) for subset in SUBSETS] == [1, 2, 3, 4]
    array = prepared.array("testA")
    assert (array.shape, array.dtype) == ((3, 6, 5, 3), np.uint8)
    array[:] = 99  # private to this process
    assert (prepared.array("testA") == 3).all()


def test_a_manifest_of_the_future(folder: Path) -> None:
    change(folder, lambda m: m.update(format=2))
    said = r"manifest\.json has format 2 and this version reads up to 1: update"
    with pytest.raises(UsageError, match=said):
        Prepared.open(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(height=0),
        lambda m: m.update(height=True),
        lambda m: m.update(width="5"),
        lambda m: m.update(height=6.0),
        lambda m: m.update(config=None),
        lambda m: m.update(paired=0),
        lambda m: m.pop("version"),
        lambda m: m.update(domains=[]),
        lambda m: m["domains"].pop("testB"),
        lambda m: m["domains"]["trainA"].update(count=-1),
        lambda m: m["domains"]["trainA"].update(count=2),
        lambda m: m["domains"]["trainB"]["names"].pop(),
        lambda m: m["domains"]["trainB"].update(names=None),
        lambda m: m.update(rejected=[1]),
    ],
)
def test_a_manifest_that_cannot_be(folder: Path, edit: Callable[[Any], object]) -> None:
    change(folder, edit)
    with pytest.raises(UsageError, match=r"manifest\.json .*run `cyclegan preprocess` again") as error:
        Prepared.open(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "1e999", "\x00"])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"manifest\.json is damaged"):
        Prepared.open(folder)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 6, 5, 3), np.float32), "holds float32 1×6×5×3 and manifest.json says uint8 1×6×5×3"),
        (np.zeros((1, 6, 5, 3), np.int8), "holds int8"),
        (np.zeros((1, 6, 5, 3), bool), "holds bool"),
        (np.zeros((1, 6, 5, 1), np.uint8), "holds uint8 1×6×5×1"),
        (np.zeros((1, 5, 6, 3), np.uint8), "holds uint8 1×5×6×3"),
        (np.zeros((2, 6, 5, 3), np.uint8), "holds uint8 2×6×5×3"),
        (np.zeros((1, 6, 5, 3), object), "not a whole"),
    ],
)
def test_an_array_that_does_not_fit(folder: Path, array: np.ndarray, message: str) -> None:
    np.save(folder / "trainA.npy", array)
    with pytest.raises(UsageError, match=r"trainA\.npy .*run `cyclegan preprocess` again") as error:
        Prepared.open(folder)
    assert message in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 100, 200])
def test_an_array_cut_short(folder: Path, keep: int) -> None:
    path = folder / "testB.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UsageError, match=r"testB\.npy is missing or is not a whole"):
        Prepared.open(folder)


def test_what_is_no_prepared_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match=r"is not a prepared folder \(no manifest\.json\)"):
            Prepared.open(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"uri": 3, "names": [1]}', '{"names": {"A": 5}}'])
def test_a_damaged_note_of_the_origin_costs_nothing(folder: Path, text: str) -> None:
    (folder / "provenance.json").write_text(text)
    prepared = Prepared.open(folder)
    assert (prepared.uri, prepared.names) == ("", {"A": "A", "B": "B"})


@pytest.mark.parametrize("name", ["source.json", "provenance.json"])
def test_a_note_of_a_newer_format_is_refused_and_a_damaged_one_passed_over(tmp_path: Path, name: str) -> None:
    note = tmp_path / name
    note.write_text('{"format": 1, "uri": "mine", "names": {"A": "horse"}}')
    assert read_origin(note) == ("mine", {"A": "horse", "B": "B"})
    note.write_text('{"format": 2, "uri": ["mine"]}')
    with pytest.raises(UsageError, match=rf"{name} has format 2 and this version reads up to 1: update"):
        read_origin(note)
    note.write_text("{")
    assert read_origin(note) == ("", {"A": "A", "B": "B"})
