"""Registered models by address: translating, exporting."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.export import ExportConfig, export
from cyclegan.inference.translator import load
from cyclegan.registry.config import RegisterConfig
from cyclegan.registry.register import register

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)


@pytest.mark.usefixtures("without_onnx")
def test_a_registered_pair_is_found_by_each_of_its_addresses(mlflow_server, make_model, tmp_path):
    name = f"city-{uuid.uuid4().hex[:8]}"
    first, second = make_model(0, 5.0), make_model(1, 6.0)
    config, out = RegisterConfig(name=name), tmp_path / "r.json"
    register(*first, out, config)
    other = register(*second, out, config)
    champion = {direction: load(first[0], direction)(IMAGE) for direction in ("AtoB", "BtoA")}
    challenger = load(second[0], "AtoB")(IMAGE)

    for address, direction in [
        (f"models:/{name}", None),
        (f"models:/{name}@champion", "AtoB"),
        (f"models:/{name}-AtoB@champion", None),
        (f"models:/{name}-AtoB/1", None),
    ]:
        assert np.array_equal(load(address, direction)(IMAGE), champion["AtoB"])
    for address, direction in [(f"models:/{name}", "BtoA"), (f"models:/{name}-BtoA@champion", None)]:
        translator = load(address, direction)
        assert translator.direction == "BtoA"
        assert np.array_equal(translator(IMAGE), champion["BtoA"])
    for address in (f"models:/{name}@challenger", f"models:/{name}/2", f"runs:/{other.run_id}"):
        assert np.array_equal(load(address)(IMAGE), challenger)

    with pytest.raises(UsageError, match="is a generator BtoA, not AtoB"):
        load(f"models:/{name}-BtoA@champion", "AtoB")
    with pytest.raises(CycleGANError, match="nothing-here"):
        load("models:/nothing-here")
    with pytest.raises(UsageError, match="not a model address"):
        load("models:/a/b/c")

    (path,) = export(f"models:/{name}-BtoA@champion", tmp_path / "out", ExportConfig(format="pt2"))
    assert path.name == "BtoA.pt2"


def test_without_tracking_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    with pytest.raises(UsageError, match="needs MLflow"):
        load("models:/cyclegan@champion")
