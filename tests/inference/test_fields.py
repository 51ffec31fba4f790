"""Every parameter of translating, exporting and importing changes what it says it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.engines import export as exporting
from cyclegan.engines.pixel_graph import Form
from cyclegan.errors import CycleGANError
from cyclegan.inference import import_reference as importing
from cyclegan.inference import translate as step
from cyclegan.inference.config import ImportConfig
from cyclegan.inference.export import ExportConfig, export
from cyclegan.inference.translate import TranslateConfig, Translated, translate
from cyclegan.model import Model, load_model
from cyclegan.networks import ResnetGenerator


@dataclass
class Desk:
    """A model, three pictures of 12×18, and what translating and exporting them was seen to do."""

    model: Path
    folder: Path
    asked: dict[str, Any] = field(default_factory=dict)
    """What the translator was asked to be, at the last translation."""
    exported: list[tuple[str, str]] = field(default_factory=list)
    forms: list[Any] = field(default_factory=list)
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
        def write(generator: Any, direction: str, facts: Any, weights: str, path: Path, form: Any) -> float:
            desk.exported.append((kind, direction))
            desk.forms.append(form)
            path.write_bytes(b"")
            path.with_suffix(".bin").write_bytes(b"")
            return 0.0

        return write

    monkeypatch.setattr(step, "load", watched)
    for kind in ("onnx", "openvino", "pt2"):
        monkeypatch.setattr(exporting, f"write_{kind}", written(kind))
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
    if find_spec("openvino"):
        assert desk.files(format="openvino", direction="AtoB") == ["AtoB.xml"]
        assert desk.exported[-1] == ("openvino", "AtoB")


def one_direction(desk: Desk) -> None:
    assert desk.files(direction="BtoA") == ["BtoA.onnx"]
    assert desk.exported == [("onnx", "BtoA")]


def pixels(desk: Desk) -> None:
    assert desk.files(direction="AtoB", images="uint8") == ["AtoB-uint8.onnx"]
    assert desk.forms == [Form("uint8", "fp32")]


def half(desk: Desk) -> None:
    assert desk.files(direction="AtoB", precision="fp16", images="uint8") == ["AtoB-uint8-fp16.onnx"]
    assert desk.forms == [Form("uint8", "fp16")]


def max_pixels(desk: Desk) -> None:
    assert desk.translated(max_pixels=12 * 18).written == 3
    with pytest.raises(CycleGANError, match="None of the 3 images"):
        desk.translated(max_pixels=12 * 18 - 1)


def metadata(desk: Desk) -> None:
    for path in (desk.folder / "in").iterdir():
        Image.open(path).save(path, dpi=(144, 144))
    for given, expected in (("drop", None), ("keep", 144)):
        desk.translated(metadata=given)
        found = Image.open(desk.out / "0.png").info.get("dpi")
        assert (found and round(found[0])) == expected


def alpha(desk: Desk) -> None:
    picture = Image.open(desk.folder / "in" / "0.png").convert("RGBA")
    picture.putpixel((3, 4), (9, 9, 9, 77))
    picture.save(desk.folder / "in" / "0.png")
    for given, expected in (("drop", "RGB"), ("keep", "RGBA")):
        desk.translated(alpha=given)
        assert Image.open(desk.out / "0.png").mode == expected
        assert Image.open(desk.out / "1.png").mode == "RGB"
    assert Image.open(desk.out / "0.png").getpixel((3, 4))[3] == 77


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
    "max_pixels": max_pixels,
    "metadata": metadata,
    "alpha": alpha,
    "summary": summary,
}


def imported(desk: Desk, **changes: Any) -> Model:
    """A model of the generators in the files `1` and `2`, whose name is the bias of the last layer."""
    desk.runs += 1
    importing.import_weights(desk.out, ImportConfig(**{"AtoB": "1", "BtoA": "2", **changes}))
    return load_model(desk.out)


def file_of(direction: str) -> Callable[[Desk], None]:
    def check(desk: Desk) -> None:
        for source in "34":
            model = imported(desk, **{direction: source})
            expected = {"AtoB": "1", "BtoA": "2", direction: source}
            for name, generator in (("AtoB", model.AtoB), ("BtoA", model.BtoA)):
                assert next(reversed(list(generator.parameters()))).eq(int(expected[name])).all()
                assert model.config["train"][f"imported_{name}"] == expected[name]

    return check


def image_size(desk: Desk) -> None:
    assert imported(desk).config["image_size"] == 256
    assert imported(desk, image_size=64).config["image_size"] == 64


IMPORT: dict[str, Callable[[Desk], None]] = {
    "AtoB": file_of("AtoB"),
    "BtoA": file_of("BtoA"),
    "image_size": image_size,
}
EXPORT: dict[str, Callable[[Desk], None]] = {
    "format": kind,
    "direction": one_direction,
    "images": pixels,
    "precision": half,
}


@pytest.mark.parametrize(
    ("config", "checks"), [(TranslateConfig, TRANSLATE), (ExportConfig, EXPORT), (ImportConfig, IMPORT)]
)
def test_no_field_is_without_a_test_of_what_it_does(config: Any, checks: dict[str, Any]) -> None:
    assert {one.name for one in fields(config)} == checks.keys()


@pytest.mark.parametrize("name", [name for name in TRANSLATE if name != "shards"])
def test_a_field_of_translating_changes_what_it_says(name: str, desk: Desk) -> None:
    TRANSLATE[name](desk)


@pytest.mark.parametrize("name", EXPORT)
def test_a_field_of_exporting_changes_what_it_says(name: str, desk: Desk) -> None:
    pytest.importorskip("onnxruntime")
    EXPORT[name](desk)


@pytest.mark.parametrize("name", IMPORT)
def test_a_field_of_importing_changes_what_it_says(
    name: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generator(state: str, where: str) -> ResnetGenerator:
        found = ResnetGenerator(blocks=1, width=4)
        torch.nn.init.constant_(next(reversed(list(found.parameters()))), int(state))
        return found

    monkeypatch.setattr(importing, "load_state_dict", lambda source, **rest: source)
    monkeypatch.setattr(importing, "reference_resnet", generator)
    monkeypatch.setattr(importing, "with_dropout", lambda state: False)
    IMPORT[name](desk)
