"""Every parameter of inspect changes what it says it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cyclegan.data.config import InspectConfig
from cyclegan.data.inspect import page
from cyclegan.data.inspect.inspect import inspect
from cyclegan.data.inspect.records import Inspection
from tests.data.conftest import count_threads


@dataclass
class Desk:
    """A dataset, and what the page about it was filled with."""

    raw: Path
    picture: Callable[..., Image.Image]
    patch: pytest.MonkeyPatch
    shown: dict[str, Any] = field(default_factory=dict)

    def look(self, **changes: Any) -> Inspection:
        return inspect(self.raw, self.raw.parent / "page.html", InspectConfig(**{"workers": 1, **changes}))


@pytest.fixture
def desk(
    tmp_path: Path, make_tree: Callable[..., Path], picture: Callable[..., Image.Image], monkeypatch: Any
) -> Desk:
    found = Desk(make_tree(tmp_path / "data", {"trainA": 15, "trainB": 3}), picture, monkeypatch)
    monkeypatch.setattr(page.page, "write_page", lambda *names, **values: found.shown.update(values))
    return found


def samples(desk: Desk) -> None:
    for changes, expected in (({}, (12, 3)), ({"samples": 2}, (2, 2)), ({"samples": 0}, (0, 0))):
        desk.look(**changes)
        assert tuple(map(len, desk.shown["samples"].values())) == expected


def examples(desk: Desk) -> None:
    for i in range(14):
        Image.new("RGB", (24, 20), (3 * i, 0, 99)).save(desk.raw / "trainB" / f"flat{i}.png")
        twin = desk.raw / "trainA" / f"twin{i}.png"
        twin.write_bytes((desk.raw / "trainA" / f"{i}.png").read_bytes())
    for changes, expected in (({}, 12), ({"examples": 3}, 3)):
        found = desk.look(**changes)
        assert len(found.flat) == 14
        assert len(desk.shown["flat"]) == len(desk.shown["duplicates"]["within"]) == expected
        assert desk.shown["duplicate_counts"]["within"] >= 14


def max_pixels(desk: Desk) -> None:
    desk.picture(7, (50, 20)).save(desk.raw / "trainA" / "large.png")
    assert desk.look().rejected == desk.look(max_pixels=1000).rejected == []
    ((name, reason),) = desk.look(max_pixels=999).rejected
    assert name == "trainA/large.png"
    assert reason.startswith("50x20 is ")


def min_size(desk: Desk) -> None:
    desk.picture(7, (50, 15)).save(desk.raw / "trainA" / "low.png")
    assert desk.look().rejected == [("trainA/low.png", "50x15 is smaller than 16 pixels")]
    assert desk.look(min_size=15).rejected == []


def threads(desk: Desk) -> None:
    started = count_threads(desk.patch)
    for count in (0, 2, 1):  # the last one in this thread
        desk.look(workers=count)
    assert started == [5, 2]


INSPECT: dict[str, Callable[[Desk], None]] = {
    "samples": samples,
    "examples": examples,
    "min_size": min_size,
    "max_pixels": max_pixels,
    "workers": threads,
}


def test_no_field_is_without_a_test_of_what_it_does() -> None:
    assert {one.name for one in fields(InspectConfig)} == INSPECT.keys()


@pytest.mark.parametrize("name", INSPECT)
def test_a_field_of_inspect_changes_what_it_says(name: str, desk: Desk) -> None:
    INSPECT[name](desk)
