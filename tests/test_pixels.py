"""Bytes to [-1, 1] and back: the same by torch and by numpy, and written down once."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import torch

from cyclegan.pixels import (
    to_integer_array,
    to_integers,
    to_uint8,
    to_uint8_array,
    to_unit,
    to_unit_array,
)

PACKAGE = Path(__file__).resolve().parents[1] / "cyclegan"
EVERY = np.arange(256, dtype=np.uint8).reshape(1, 8, 32, 1).repeat(3, axis=3)


def test_every_byte_comes_back_and_both_libraries_agree_to_the_bit() -> None:
    planes = torch.from_numpy(EVERY).permute(0, 3, 1, 2)
    unit = to_unit(planes)
    assert (unit.min(), unit.max()) == (-1, 1)
    assert np.array_equal(unit.permute(0, 2, 3, 1).numpy(), to_unit_array(EVERY))
    assert np.array_equal(to_uint8(unit), EVERY)
    assert np.array_equal(to_uint8_array(to_unit_array(EVERY)), EVERY)


def test_every_value_of_sixteen_bits_comes_back_too() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).reshape(1, 128, 128, 4)
    unit = to_unit(torch.from_numpy(every).permute(0, 3, 1, 2))
    assert (unit.min(), unit.max()) == (-1, 1)
    assert np.array_equal(unit.permute(0, 2, 3, 1).numpy(), to_unit_array(every))
    assert np.array_equal(to_integers(unit, 16), every)
    assert np.array_equal(to_integer_array(to_unit_array(every), 16), every)
    beyond = torch.tensor([-1.5, 1.5]).view(1, 1, 1, 2)
    assert to_integers(beyond, 16).ravel().tolist() == [0, 65535]


def test_values_between_bytes_are_rounded_to_the_nearest_and_those_beyond_clamped() -> None:
    between = np.linspace(-1.2, 1.2, 3 * 1000, dtype=np.float32).reshape(1, 3, 10, 100)
    by_torch = to_uint8(torch.from_numpy(between)).transpose(0, 3, 1, 2)
    exact = np.clip((between.astype(np.float64) + 1) * 127.5, 0, 255)
    assert np.abs(by_torch - exact).max() <= 0.5001
    assert np.array_equal(by_torch, to_uint8_array(between.copy()))


def test_no_other_module_converts() -> None:
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    numbers = {
        name
        for name, tree in trees.items()
        if any(isinstance(node, ast.Constant) and node.value in (127.5, 32767.5) for node in ast.walk(tree))
    }
    assert numbers == {"pixels.py"}
