"""Every parameter of translating and exporting changes what it says it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cyclegan.engines import export as exporting
from cyclegan.inference import translate as step
from cyclegan.inference.export import ExportConfig, export
from cyclegan.inference.translate import TranslateConfig, Translated, translate


@dataclass
class Desk:
    """A model, three pictures of 12×18, and what translating and exporting them was seen to do."""

    model: Path
    folder: Path
    asked: dict[str, Any] = field(default_factory=dict)
    """What the translator was asked to be, at the last translation."""
    exported: list[tuple[str, str]] = field(default_factory=list)
    runs: int = 0

    def translated(self, **changes: Any) -> Translated:
        """Translate into a new folder, `self.out`."""
        self.runs += 1
        return translate(str(self.model), str(self.folder / "in"), str(self.out), TranslateConfig(**changes))

    @property
    def out(self) -> Path:
        return self.folder / f"out{self.runs}"

    def files(self, **changes: Any) -> list[str]:
        """The files of an export; what is in them is tested elsewhere."""
        return [path.name for path in export(str(self.model), self.folder / "e", ExportConfig(**changes))]


@pytest.fixture
def desk(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(model, tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (18, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    load = step.load

    def watched(model: str, direction: Any, **options: Any) -> Any:
        desk.asked = {"direction": direction, **options}
        translator = load(model, direction, **(options | {"device": "cpu", "engine": "torch"}))
        assert (translator.tile, translator.overlap) == (options["tile"], options["overlap"])
        return translator

    def written(kind: str) -> Callable[..., None]:
        def write(generator: Any, direction: str, facts: Any, path: Path) -> None:
            desk.exported.append((kind, direction))
            path.write_bytes(b"")

        return write

    monkeypatch.setattr(step, "load", watched)
    monkeypatch.setattr(exporting, "write_onnx", written("onnx"))
    monkeypatch.setattr(exporting, "write_pt2", written("pt2"))
    return desk


def asks(name: str, value: Any, **more: Any) -> Callable[[Desk], None]:
    """The field reaches the translator, which has something else by default."""

    def check(desk: Desk) -> None:
        desk.translated()
        assert desk.asked[name] != value
        desk.translated(**{name: value}, **more)
        assert desk.asked[name] == value

    return check


def size(desk: Desk) -> None:
    for given, expected in ((0, (12, 18)), (24, (24, 36))):
        desk.translated(size=given)
        assert Image.open(desk.out / "0.png").size == expected


def overwrite(desk: Desk) -> None:
    desk.translated()
    for again, expected in ((False, (0, 3)), (True, (3, 0))):
        config = TranslateConfig(overwrite=again)
        done = translate(str(desk.model), str(desk.folder / "in"), str(desk.out), config)
        assert (done.written, done.skipped) == expected


def shards(desk: Desk) -> None:
    parts = []
    for shard in range(2):
        desk.translated(shard=shard, shards=2)
        parts.append(sorted(path.name for path in desk.out.iterdir()))
    assert parts == [["0.png", "2.png"], ["1.png"]]


def summary(desk: Desk) -> None:
    desk.translated()
    assert list(desk.folder.glob("*.json")) == []
    desk.translated(summary=str(desk.folder / "s.json"))
    assert json.loads((desk.folder / "s.json").read_text())["written"] == 3


def kind(desk: Desk) -> None:
    assert desk.files() == ["AtoB.onnx", "BtoA.onnx"]
    assert desk.files(format="pt2") == ["AtoB.pt2", "BtoA.pt2"]
    assert [kind for kind, _ in desk.exported] == ["onnx"] * 2 + ["pt2"] * 2


def one_direction(desk: Desk) -> None:
    assert desk.files(direction="BtoA") == ["BtoA.onnx"]
    assert desk.exported == [("onnx", "BtoA")]


TRANSLATE: dict[str, Callable[[Desk], None]] = {
    "direction": asks("direction", "BtoA"),
    "size": size,
    "tile": asks("tile", 16, overlap=4),
    "overlap": asks("overlap", 32),
    "overwrite": overwrite,
    "shard": shards,
    "shards": shards,
    "device": asks("device", "cpu:0"),
    "precision": asks("precision", "fp32"),
    "engine": asks("engine", "torch"),
    "summary": summary,
}
EXPORT: dict[str, Callable[[Desk], None]] = {"format": kind, "direction": one_direction}


@pytest.mark.parametrize(("config", "checks"), [(TranslateConfig, TRANSLATE), (ExportConfig, EXPORT)])
def test_no_field_is_without_a_test_of_what_it_does(config: Any, checks: dict[str, Any]) -> None:
    assert {one.name for one in fields(config)} == checks.keys()


@pytest.mark.parametrize("name", [name for name in TRANSLATE if name != "shards"])
def test_a_field_of_translating_changes_what_it_says(name: str, desk: Desk) -> None:
    TRANSLATE[name](desk)


@pytest.mark.parametrize("name", EXPORT)
def test_a_field_of_exporting_changes_what_it_says(name: str, desk: Desk) -> None:
    pytest.importorskip("onnxruntime")
    EXPORT[name](desk)
