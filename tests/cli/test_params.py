from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cyclegan.cli.main import parse
from cyclegan.cli.params import (
    about,
    config_from,
    load_layers,
    load_section,
    preset_file,
    preset_names,
    read_params,
)
from cyclegan.errors import UsageError
from cyclegan.io.uri import Address


@dataclass(frozen=True, kw_only=True)
class Config:
    lr: float = 1.0
    n: int = 1
    kind: Literal["a", "b", "off"] = "a"
    flip: bool = False


def test_values_take_the_fields_types(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train: {lr: 2e-4, n: 3, kind: b, flip: true}\nfetch:\n")
    assert load_section(path, "train", Config) == Config(lr=2e-4, n=3, kind="b", flip=True)
    path.write_text("train: {kind: off}\nfetch:\n")
    assert load_section(path, "train", Config).kind == "off"
    assert load_section(path, "fetch", Config) == Config()
    assert load_section(path, "evaluate", Config) == Config()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"learning_rate": 1}, "no parameter 'learning_rate'"),
        ({"n": "many"}, "n = 'many'"),
        ({"n": 1.5}, "n = 1.5"),
        ({"kind": "c"}, "'a', 'b' or 'off'"),
    ],
)
def test_a_wrong_value_is_named(values: dict, says: str) -> None:
    with pytest.raises(UsageError, match="Section 'x'") as error:
        config_from(Config, values, "Section 'x'")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: 3\n", "a: [", ""])
def test_a_broken_parameter_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"params\.yaml"):
        read_params(path)
    with pytest.raises(UsageError, match="absent"):
        read_params(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: {epochs: 1}\n", "section 'training', which no step reads; did you mean 'train'?"),
        ("Train: {epochs: 1}\n", "did you mean 'train'?"),
        ("7: {epochs: 1}\n", "the sections are fetch, preprocess, train"),
    ],
)
def test_a_misspelt_section_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_section(path, "train", Config)
    assert says in str(error.value)


def test_presets_say_what_they_are_for_and_fit_the_steps() -> None:
    from cyclegan.cli.commands import SECTIONS

    assert {"laptop", "laptop-photos", "maps", "sample"} <= set(preset_names())
    for name in preset_names():
        assert set(about(name)) == {"purpose", "cost"}
        for config, section in SECTIONS.items():
            load_section(preset_file(name), section, config)
    with pytest.raises(UsageError, match="did you mean 'laptop'"):
        preset_file("labtop")
    with pytest.raises(UsageError, match="cyclegan presets"):
        preset_file("../../params")


def test_a_preset_called_as_its_images_is_told_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)  # tyro checks all of its cache, not a tenth
    command = parse("run", ["--preset", "maps"])
    assert (command.preset, command.fetch.source) == ("maps", "maps")
    assert type(command.preset) is str and isinstance(command.fetch.source, Address)


def test_the_sample_preset_is_params_yaml() -> None:
    root = Path(__file__).resolve().parents[2]
    assert read_params(preset_file("sample")) == read_params(root / "params.yaml")


def test_a_later_file_overrules_single_fields(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("train: {n: 3, kind: b}\n")
    second.write_text("train: {n: 4}\n")
    assert load_layers([first, second], "train", Config) == Config(n=4, kind="b")
