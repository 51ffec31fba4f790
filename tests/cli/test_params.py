from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cyclegan.cli.params import config_from, load_section, read_params
from cyclegan.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Config:
    lr: float = 1.0
    n: int = 1
    kind: Literal["a", "b", "off"] = "a"
    flip: bool = False


def test_values_take_the_fields_types(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("step: {lr: 2e-4, n: 3, kind: b, flip: true}\nother:\n")
    assert load_section(path, "step", Config) == Config(lr=2e-4, n=3, kind="b", flip=True)
    path.write_text("step: {kind: off}\nother:\n")
    assert load_section(path, "step", Config).kind == "off"
    assert load_section(path, "other", Config) == Config()
    assert load_section(path, "absent", Config) == Config()


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
